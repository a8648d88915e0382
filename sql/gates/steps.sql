-- Whether each step may be sent, and what follows it
--
-- Decided once a transaction, from small tables alone; a tick asks before its locks, which need the answer. The row
-- goes on to other statements as it is: they take these columns as parameters of the same names, and hold none of
-- these rules. A new reason why a step is not sent is a line of a case expression.
--
-- The n-th elements of all arrays but active_sequences belong together. Besides its steps each sequence has an element
-- without a step, which tells of a contact whose step does not exist.
--
-- Parameters:
--   now            timestamptz  the instant of the transaction
--   active         text[]    values of sequences.status that count as active
--   default_delay  interval  when a step is due whose trigger_delay_hours is empty, zero or negative
--   of_policy      text      only sequences of users with this device policy count as active; empty: of all users
--   usual_policy   text      the policy of users for whom no rule sets another
--   priority       boolean   sequences.priority counts, where there is such a column
-- Gates: gates/windows.sql
-- Row:
--   steps             text  uuid[]: the step; null: none of the sequence's
--   step_sequences    text  uuid[]: its sequence
--   step_users        text  uuid[]: the sequence's user
--   step_reasons      text  text[]: why it is not sent: sequence_inactive, paused, step_missing, no_content, outside_window;
--                           null: it is
--   step_faults       text  text[]: of these, the reason that is the step's own, also where the sequence is inactive
--   step_pauses       text  text[]: which of its sequence and user is paused, until when, and why; null: none
--   step_pause_ends   text  text[]: the instant of UTC when that ends; null: when somebody resumes it
--   entry_triggers    text  text[]: the trigger by which it enters its sequence; null: it is no entry step
--   next_triggers     text  text[]: its next_trigger, null where that is blank
--   next_steps        text  uuid[]: the step of the same sequence that next_trigger names; null: none
--   next_step_days    text  integer[]: the day of that step
--   next_step_hours   text  numeric[]: hours after this step at which that one is due
--   active_sequences  text  uuid[]: the sequences that are active; not by steps, each of them once
--   priorities        text  jsonb: by its id, the priority of each active sequence of a user who has several of them:
--                           the highest goes first where a device has not room for all
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?active} \else \set active '{active}' \endif
\if :{?default_delay} \else \set default_delay '24 hours' \endif
\if :{?of_policy} \else \set of_policy '' \endif
\if :{?usual_policy} \else \set usual_policy 'queue' \endif
\if :{?priority} \else \set priority 'false' \endif
\if :{?shut_steps} \else \ir ../gates/windows.sql \endif
with paused as materialized (
    select p.*
    from (
        select
            r.scope,
            r.scope_id,
            r.scope || ' paused ' || r.value as words,
            -- In UTC. What names no instant has no end.
            substring(
                r.value from
                '^until ([0-9]{4}-(?:0[1-9]|1[0-2])-(?:[0-2][0-9]|3[01])T(?:[01][0-9]|2[0-3])(?::[0-5][0-9]){2}Z)'
            ) as ends
        from seqdev.rule as r
        where r.name = 'paused' and r.value is not null
    ) as p
    where coalesce(p.ends > to_char(:'now'::timestamptz at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), true)
),

gate as materialized (
    select
        st.step_id,
        st.sequence_id,
        st.user_id,
        case
            when not coalesce(st.is_active and st.status = any(:'active'::text []), false) then 'sequence_inactive'
            when :'of_policy'::text <> '' and :'of_policy'::text <> coalesce(ruled.value, :'usual_policy'::text)
                then 'sequence_inactive'
            when own_pause.words is not null or owners_pause.words is not null then 'paused'
            when flaw.fault is not null then flaw.fault
            when st.step_id = any(:'shut_steps'::uuid []) then 'outside_window'
        end as reason,
        flaw.fault,
        nullif(concat_ws('; ', own_pause.words, owners_pause.words), '') as pauses,
        case
            when own_pause.scope_id is null or own_pause.ends < owners_pause.ends then owners_pause.ends
            when owners_pause.scope_id is null or owners_pause.ends is not null then own_pause.ends
        end as pause_ends,
        case when st.is_entry_point and st.trigger ~ '\S' then st.trigger end as entry_trigger,
        case when st.next_trigger ~ '\S' then st.next_trigger end as next_trigger,
        nx.id as next_step,
        nx.day_number as next_day,
        -- Zero and less mean the default to the host, too.
        case
            when nx.trigger_delay_hours > 0 then nx.trigger_delay_hours
            else extract(epoch from :'default_delay'::interval) / 3600
        end as next_hours
    from (
        select
            own.id as step_id,
            own.is_entry_point,
            own.trigger,
            own.next_trigger,
            own.content,
            own.media_url,
            s.id as sequence_id,
            s.user_id,
            s.is_active,
            s.status
        from sequences as s
        inner join sequence_steps as own on s.id = own.sequence_id
        union all
        select
            null,
            null,
            null,
            null,
            null,
            null,
            s.id,
            s.user_id,
            s.is_active,
            s.status
        from sequences as s
    ) as st
    cross join lateral (
        select
            case
                when st.step_id is null then 'step_missing'
                when not (coalesce(st.content ~ '\S', false) or coalesce(st.media_url ~ '\S', false)) then 'no_content'
            end as fault
    ) as flaw
    left join seqdev.rule as ruled on ruled.name = 'policy' and ruled.scope = 'user' and st.user_id = ruled.scope_id
    left join paused as own_pause on own_pause.scope = 'sequence' and st.sequence_id = own_pause.scope_id
    left join paused as owners_pause on owners_pause.scope = 'user' and st.user_id = owners_pause.scope_id
    left join (
        select distinct on (n.sequence_id, n.trigger) n.*
        from sequence_steps as n
        where n.trigger ~ '\S'
        order by n.sequence_id, n.trigger, n.day_number, n.id
    ) as nx on st.sequence_id = nx.sequence_id and st.next_trigger = nx.trigger
),

-- What comes first where a device has not room for all; no number counts as 0.
priority as materialized (
    select
        told.id,
        told.number,
        min(told.number) over (partition by told.user_id) as lowest,
        max(told.number) over (partition by told.user_id) as highest
    from (
        select
            gate.sequence_id as id,
            gate.user_id,
            coalesce(substring(
                (
                    -- Where the host has no such column, its name is found further out.
                    select priority::text
                    from (select s.*) as host
                ) from '^-?[0-9]{1,9}'
            )::integer, 0) as number
        from (select null::text as priority) as missing
        cross join sequences as s
        inner join gate on s.id = gate.sequence_id
        where :'priority'::boolean and gate.step_id is null and gate.reason <> 'sequence_inactive'
    ) as told
)

select
    coalesce(array_agg(gate.step_id), '{}')::text as steps,
    coalesce(array_agg(gate.sequence_id), '{}')::text as step_sequences,
    coalesce(array_agg(gate.user_id), '{}')::text as step_users,
    coalesce(array_agg(gate.reason), '{}')::text as step_reasons,
    coalesce(array_agg(gate.fault), '{}')::text as step_faults,
    coalesce(array_agg(gate.pauses), '{}')::text as step_pauses,
    coalesce(array_agg(gate.pause_ends), '{}')::text as step_pause_ends,
    coalesce(array_agg(gate.entry_trigger), '{}')::text as entry_triggers,
    coalesce(array_agg(gate.next_trigger), '{}')::text as next_triggers,
    coalesce(array_agg(gate.next_step), '{}')::text as next_steps,
    coalesce(array_agg(gate.next_day), '{}')::text as next_step_days,
    coalesce(array_agg(gate.next_hours), '{}')::text as next_step_hours,
    coalesce(
        array_agg(gate.sequence_id) filter (where gate.step_id is null and gate.reason <> 'sequence_inactive'), '{}'
    )::text as active_sequences,
    coalesce(
        (
            select jsonb_object_agg(p.id, p.number)
            from priority as p
            where p.lowest < p.highest
        ), '{}'
    )::text as priorities
from gate
\gset
