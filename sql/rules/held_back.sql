-- What is due of a sequence, a device or a user, by its age: what waits while that is paused
--
-- Whatever the device policy says then, or another pause. Reads the rows that are due, of all.
--
-- Parameters:
--   now       timestamptz  the instant of the transaction
--   scope     text         sequence, device, user
--   scope_id  uuid         which
-- Gates: gates/steps.sql
-- Row:
--   due      integer      contacts that are due
--   in_hour  integer      of these: due for an hour, at most
--   in_day   integer      of these: due for longer, and a day at most
--   longer   integer      of these: due for longer than a day
--   oldest   timestamptz  since when the first of them is due
--   pending  integer      messages that wait in the queue, and that no sender has begun
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?scope} \else \set scope 'sequence' \endif
\if :{?scope_id} \else \set scope_id '00000000-0000-0000-0000-000000000000' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
select
    due.*,
    queued.pending
from (
    select
        count(*)::integer as due,
        (count(*) filter (where aged.age <= interval '1 hour'))::integer as in_hour,
        (count(*) filter (where aged.age > interval '1 hour' and aged.age <= interval '1 day'))::integer as in_day,
        (count(*) filter (where (aged.age <= interval '1 day') is not true))::integer as longer,
        min(aged.due_at) as oldest
    from (
        select
            case when isfinite(sc.next_trigger_time) then sc.next_trigger_time::timestamptz end as due_at,
            case
                when isfinite(sc.next_trigger_time) then :'now'::timestamptz - sc.next_trigger_time::timestamptz
            end as age
        from sequence_contacts as sc
        inner join sequences as s on sc.sequence_id = s.id
        left join leads as l
            on sc.assigned_device_id is null and s.user_id = l.user_id and sc.contact_phone = l.phone
        where
            sc.status = 'active'
            and sc.next_trigger_time <= :'now'::timestamptz
            and s.id = any(:'active_sequences'::uuid [])
            and case :'scope'::text
                when 'sequence' then s.id
                when 'user' then s.user_id
                when 'device' then coalesce(sc.assigned_device_id, l.device_id)
            end = :'scope_id'::uuid
    ) as aged
) as due
cross join (
    select count(*)::integer as pending
    from broadcast_messages as m
    where
        m.status in ('pending', 'queued', 'processing')
        and m.status = 'pending'
        and case :'scope'::text
            when 'sequence' then m.sequence_id
            when 'user' then m.user_id
            when 'device' then m.device_id
        end = :'scope_id'::uuid
) as queued;
