-- How far behind the service is: what is due, the oldest of it, the last tick that came to a good end (distributed)
--
-- Parameters:
--   now   timestamptz  the instant of the transaction
--   user  uuid         only contacts of this user; ticks are everybody's
-- Gates: gates/steps.sql, gates/devices.sql under strict of all devices, no messages counted
-- Row:
--   backlog     integer      contacts due now, but those who wait since their sequence, user or device is paused
--   on_pause    integer      contacts due now who wait for that reason
--   oldest_due  timestamptz  since when the first of the backlog is due
--   oldest_age  interval     the same, as an age
--   enrolled    boolean      whether anybody is active in a sequence, due or not
--   last_tick   timestamptz  end of the last tick that came to a good end: not paused, stopped or failed
--   tick_age    interval     the same, as an age
--   paused_at   timestamptz  since when commands that write are paused; null: they are not
--   paused_by   text         by whom
--   paused_why  text         what for
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?user} \else \set user '' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'no' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with due_row as materialized (
    -- Each node counts its own.
    select
        sc.sequence_id,
        sc.assigned_device_id,
        count(*) as number,
        min(sc.next_trigger_time) filter (where isfinite(sc.next_trigger_time)) as oldest
    from sequence_contacts as sc
    where sc.status = 'active' and sc.next_trigger_time <= :'now'::timestamptz
    group by sc.sequence_id, sc.assigned_device_id
),

paused as materialized (
    select s.sequence_id as id
    from unnest(:'steps'::uuid [], :'step_sequences'::uuid [], :'step_pauses'::text []) as s (id, sequence_id, pause)
    where s.id is null and s.pause is not null
    union all
    select d.id
    from unnest(:'devices'::uuid [], :'device_pauses'::text []) as d (id, pause)
    where d.pause is not null
)

select
    due.backlog,
    due.on_pause,
    due.oldest as oldest_due,
    :'now'::timestamptz - due.oldest as oldest_age,
    enrolled.is_anybody as enrolled,
    ticked.last as last_tick,
    :'now'::timestamptz - ticked.last as tick_age,
    p.paused_at,
    p.os_user || '@' || p.host as paused_by,
    p.why as paused_why
from (
    select
        coalesce(sum(r.number) filter (where not waits.is_paused), 0)::integer as backlog,
        coalesce(sum(r.number) filter (where waits.is_paused), 0)::integer as on_pause,
        min(r.oldest) filter (where not waits.is_paused)::timestamptz as oldest
    from due_row as r
    inner join sequences as s on r.sequence_id = s.id
    cross join lateral (
        select
            r.sequence_id in (select paused.id from paused)
            or coalesce(r.assigned_device_id in (select paused.id from paused), false) as is_paused
    ) as waits
    where
        s.id = any(:'active_sequences'::uuid [])
        and (nullif(:'user', '')::uuid is null or s.user_id = nullif(:'user', '')::uuid)
) as due
cross join (
    select max(late.finished_at) as last
    from (
        -- Ticks overlap, but the last to end is one of the last to begin: these are found by their index.
        select r.finished_at
        from seqdev.run as r
        where
            r.command = 'tick'
            and r.finished_at is not null
            -- As in sql/journal/list.sql.
            and (r.exit_code is null or r.exit_code in (0, 3, 141))
        order by r.started_at desc
        limit 1000
    ) as late
) as ticked
cross join (
    select count(*) > 0 as is_anybody
    from (
        select true
        from sequence_contacts as sc
        where sc.status = 'active'
        limit 1
    ) as one
) as enrolled
left join seqdev.pause as p on p.resumed_at is null;
