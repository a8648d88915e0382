-- How far behind the service is: what is due, the oldest of it, the last tick that came to a good end
--
-- Parameters:
--   now   timestamptz  the instant of the transaction
--   user  uuid         only contacts of this user; ticks are everybody's
-- Gates: gates/steps.sql
-- Row:
--   backlog     integer      contacts due now
--   oldest_due  timestamptz  since when the first of them is due
--   oldest_age  interval     the same, as an age
--   last_tick   timestamptz  end of the last tick that came to a good end: not paused, stopped or failed
--   tick_age    interval     the same, as an age
--   paused_at   timestamptz  since when commands that write are paused; null: they are not
--   paused_by   text         by whom
--   paused_why  text         what for
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?user} \else \set user '' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
with recursive assigned (device_id) as (
    -- Each assigned device once, by hopping from one to the next in the index.
    (
        select sc.assigned_device_id
        from sequence_contacts as sc
        where sc.status = 'active' and sc.assigned_device_id is not null
        order by sc.assigned_device_id
        limit 1
    )
    union all
    select (
        select sc.assigned_device_id
        from sequence_contacts as sc
        where sc.status = 'active' and sc.assigned_device_id > a.device_id
        order by sc.assigned_device_id
        limit 1
    )
    from assigned as a
    where a.device_id is not null
),

due_row as materialized (
    select sc.*
    from assigned
    cross join lateral (
        select
            c.sequence_id,
            c.next_trigger_time
        from sequence_contacts as c
        where
            c.status = 'active'
            and c.assigned_device_id = assigned.device_id
            and c.next_trigger_time <= :'now'::timestamptz
        offset 0
    ) as sc
    union all
    select
        sc.sequence_id,
        sc.next_trigger_time
    from sequence_contacts as sc
    where
        sc.status = 'active'
        and sc.assigned_device_id is null
        and sc.next_trigger_time <= :'now'::timestamptz
)

select
    due.backlog,
    due.oldest as oldest_due,
    :'now'::timestamptz - due.oldest as oldest_age,
    ticked.last as last_tick,
    :'now'::timestamptz - ticked.last as tick_age,
    p.paused_at,
    p.os_user || '@' || p.host as paused_by,
    p.why as paused_why
from (
    select
        count(*)::integer as backlog,
        min(r.next_trigger_time) filter (where isfinite(r.next_trigger_time))::timestamptz as oldest
    from due_row as r
    inner join sequences as s on r.sequence_id = s.id
    where
        s.id = any(:'active_sequences'::uuid [])
        and (nullif(:'user', '')::uuid is null or s.user_id = nullif(:'user', '')::uuid)
) as due
cross join (
    select max(r.finished_at) as last
    from seqdev.run as r
    where
        r.command = 'tick'
        and r.finished_at is not null
        -- As in sql/journal/list.sql.
        and (r.exit_code is null or r.exit_code in (0, 3, 141))
) as ticked
left join seqdev.pause as p on p.resumed_at is null;
