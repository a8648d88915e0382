-- Every device as it stands: what waits for it, what it sends, how long that takes
--
-- Goes by index from the device to its work; unlike audit/devices.sql it does not count who was ever assigned, so that
-- it can be asked every few seconds.
--
-- Parameters:
--   now   timestamptz  the instant of the transaction
--   user  uuid         only devices of this user
-- Gates: gates/steps.sql, gates/devices.sql under strict of all devices, all their messages counted
-- Row:
--   device          text         its name
--   device_id       uuid         the device
--   status          text         as the host has it
--   state           text         paused, device_gone, device_offline, device_full, device_restricted; online: none of them
--   due             integer      contacts due now
--   in_flight       integer      messages pending, queued or processing
--   most_in_flight  integer      of those, its limit
--   sent_hour       integer      messages sent in the last 60 minutes
--   most_hour       integer      of those, plus those in flight, its limit
--   sent_day        integer      messages sent in the last 24 hours
--   most_day        integer      of those, plus those in flight, its limit: that of its warm-up where it has one
--   oldest_due      timestamptz  since when the first of them is due
--   drain           interval     until all of that is sent, at the pace of the last hour; null: it stands
--   pause           text         that it is paused, until when, and why; null: it is not
--   user_id         uuid         whose it is
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?user} \else \set user '' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'all' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with due_row as materialized (
    select
        sc.assigned_device_id as device_id,
        sc.sequence_id,
        sc.next_trigger_time
    from sequence_contacts as sc
    where
        sc.status = 'active'
        and sc.next_trigger_time <= :'now'::timestamptz
        -- Each device by the index of who is due.
        and sc.assigned_device_id in (
            select device.id
            from user_devices as device
            where nullif(:'user', '')::uuid is null or device.user_id = nullif(:'user', '')::uuid
        )
    union all
    -- Contacts without an assigned device are their lead's.
    select
        l.device_id,
        sc.sequence_id,
        sc.next_trigger_time
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    inner join leads as l on s.user_id = l.user_id and sc.contact_phone = l.phone
    where
        sc.status = 'active'
        and sc.assigned_device_id is null
        and sc.next_trigger_time <= :'now'::timestamptz
),

due as materialized (
    select
        r.device_id,
        count(*)::integer as contacts,
        min(r.next_trigger_time) filter (where isfinite(r.next_trigger_time))::timestamptz as oldest
    from due_row as r
    where r.sequence_id = any(:'active_sequences'::uuid [])
    group by r.device_id
)

select
    coalesce(d.device_name, '')::text as device,
    d.id as device_id,
    d.status::text as status,
    coalesce(g.reason, case when g.new_reason = 'device_restricted' then g.new_reason end, 'online') as state,
    coalesce(due.contacts, 0) as due,
    g.in_flight,
    g.most_in_flight,
    g.an_hour as sent_hour,
    g.most_in_hour as most_hour,
    g.a_day as sent_day,
    g.most_in_day as most_day,
    due.oldest as oldest_due,
    case
        when coalesce(due.contacts, 0) + g.in_flight = 0 then interval '0'
        when g.an_hour > 0 and g.is_online
            then (coalesce(due.contacts, 0) + g.in_flight) * interval '1 hour' / g.an_hour
    end as drain,
    g.pause,
    d.user_id
from unnest(
    :'devices'::uuid [], :'device_reasons'::text [], :'new_reasons'::text [], :'is_online'::boolean [],
    :'in_flight'::integer [], :'sent_in_hour'::integer [], :'sent_in_day'::integer [],
    :'most_in_flight'::integer [], :'most_in_hour'::integer [], :'most_in_day'::integer [], :'device_pauses'::text []
) as g (
    id, reason, new_reason, is_online, in_flight, an_hour, a_day, most_in_flight, most_in_hour, most_in_day, pause
)
inner join user_devices as d on g.id = d.id
left join due on d.id = due.device_id
order by coalesce(due.contacts, 0) desc, g.in_flight desc, d.device_name, d.id;
