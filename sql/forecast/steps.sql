-- The steps of active sequences, as a forecast goes through them: from when on each is sent, and what follows it
--
-- Instants are ticks from now: an instant counts from the next tick on.
--
-- Parameters:
--   users  uuid[]       only these users; empty: all
--   now    timestamptz  the instant of the forecast
--   hours  integer      how far to look
--   every  interval     time from tick to tick
-- Gates: gates/windows.sql within that time, gates/steps.sql
-- Row:
--   place        integer  the place of the step in the arrays of gates/steps.sql
--   user_id      uuid     the sequence's user
--   sequence_id  uuid     its sequence
--   step_id      uuid     the step; null: none of the sequence's
--   reason       text     why it is not sent in that time; null: it is
--   begins       integer  it is sent from this tick on, when a pause ends
--   win          text     its window; null: always open
--   next_place   integer  the step that follows; null: none
--   delay        integer  ticks after this one at which that is due, as soon as a whole hour has passed
--   turn         integer  who is in a sequence of a lower number goes first, where not all can
-- Locks: none
\if :{?users} \else \set users '{}' \endif
\if :{?now} \else \set now 'now' \endif
\if :{?hours} \else \set hours '336' \endif
\if :{?every} \else \set every '1 minute' \endif
\if :{?within} \else \set within '14 days' \endif
\if :{?change_windows} \else \ir ../gates/windows.sql \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
with recursive step as materialized (
    select
        s.user_id,
        s.sequence_id,
        s.id,
        s.entry_trigger,
        s.next_id,
        s.next_hours,
        s.place::integer as place,
        timed.win,
        case when pause.is_over then s.fault else s.reason end as reason,
        case when pause.is_over then ceil(extract(epoch from s.pause_ends::timestamptz - :'now'::timestamptz) / extract(epoch from :'every'::interval)) else 0 end as begins
    from unnest(
        :'step_users'::uuid [], :'step_sequences'::uuid [], :'steps'::uuid [], :'step_reasons'::text [],
        :'step_faults'::text [], :'step_pause_ends'::text [], :'entry_triggers'::text [], :'next_steps'::uuid [],
        :'next_step_hours'::numeric []
    ) with ordinality as s (
        user_id, sequence_id, id, reason, fault, pause_ends, entry_trigger, next_id, next_hours, place
    )
    left join unnest(:'timed_steps'::uuid [], :'timed_windows'::text []) as timed (id, win) on s.id = timed.id
    cross join lateral (
        -- A step that is paused only for a while begins when that ends.
        select
            coalesce(
                s.reason = 'paused'
                and s.pause_ends::timestamptz < :'now'::timestamptz + :'hours'::integer * interval '1 hour', false
            ) as is_over
    ) as pause
    where
        (:'users'::uuid [] = '{}' or s.user_id = any(:'users'::uuid []))
        and coalesce(s.reason <> 'sequence_inactive', true)
),

-- Who comes to a step again has been there: the steps go in a circle, and end.
walked (place, path) as (
    select
        step.place,
        array[step.place]
    from step
    where step.entry_trigger is not null
    union all
    select
        next_step.place,
        walked.path || next_step.place
    from walked
    inner join step on walked.place = step.place
    inner join step as next_step on step.next_id = next_step.id
    where next_step.place <> all(walked.path)
)

select
    step.place,
    step.user_id,
    step.sequence_id,
    step.id as step_id,
    step.reason,
    least(step.begins, 1000000000)::integer as begins,
    step.win,
    next_step.place as next_place,
    (
        greatest(1, least(100000, ceil(step.next_hours))) * 3600 / extract(epoch from :'every'::interval)
    )::integer as delay,
    case
        when :'priorities'::jsonb = '{}' then 0
        else -coalesce((:'priorities'::jsonb ->> step.sequence_id::text)::integer, 0)
    end as turn
from step
left join step as next_step
    on
        step.next_id = next_step.id
        and not exists (
            select 1
            from walked
            where walked.place = step.place and next_step.place = any(walked.path)
        )
order by step.place;
