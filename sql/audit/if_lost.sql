-- What would be lost with a device: its people, what is due, and whether the user's other devices can take it
--
-- Parameters:
--   now            timestamptz  the instant of the transaction
--   device         uuid         the device
--   active         text[]       values of sequences.status that count as active
--   online         text[]       values of user_devices.status that count as online
--   max_in_flight  integer      messages of a device in flight
--   max_per_hour   integer      messages of a device sent in 60 minutes, plus those in flight
--   max_per_day    integer      messages of a device sent in 24 hours, plus those in flight
-- Row:
--   device         text     its name
--   device_id      uuid     the device
--   status         text     as the host has it
--   people         integer  people with a step still to come from it
--   enrolments     integer  the same, each as often as there are sequences they are in
--   in_flight      integer  messages queued on it that have not left
--   due_1h         integer  steps due by an hour from now, overdue ones too
--   due_24h        integer  steps due by a day from now, overdue ones too
--   other_devices  integer  available devices of the same user, without this one
--   room_1h        integer  messages that these may still take now, under their limits
--   room_24h       integer  the same, under the limit of a day only
--   fits           boolean  whether in flight and due fit into the room, within the hour and the day
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?device} \else \set device '' \endif
\if :{?active} \else \set active '{active}' \endif
\if :{?online} \else \set online '{online}' \endif
\if :{?max_in_flight} \else \set max_in_flight '50' \endif
\if :{?max_per_hour} \else \set max_per_hour '80' \endif
\if :{?max_per_day} \else \set max_per_day '800' \endif
with lost as materialized (
    select d.*
    from user_devices as d
    where d.id = nullif(:'device', '')::uuid
),

coming as materialized (
    select
        sc.sequence_id,
        sc.contact_phone,
        sc.next_trigger_time
    from lost
    inner join sequences as s on lost.user_id = s.user_id
    inner join sequence_contacts as sc on s.id = sc.sequence_id and lost.id = sc.assigned_device_id
    where sc.status = 'active' and s.is_active and s.status = any(:'active'::text [])
    union all
    -- Contacts without an assigned device are their lead's.
    select
        sc.sequence_id,
        sc.contact_phone,
        sc.next_trigger_time
    from lost
    inner join sequences as s on lost.user_id = s.user_id
    inner join sequence_contacts as sc on s.id = sc.sequence_id and sc.assigned_device_id is null
    inner join leads as l on s.user_id = l.user_id and sc.contact_phone = l.phone and lost.id = l.device_id
    where sc.status = 'active' and s.is_active and s.status = any(:'active'::text [])
),

load as materialized (
    select
        d.id,
        flying.messages as flying,
        sent.hour,
        sent.day
    from lost
    inner join user_devices as d on lost.user_id = d.user_id
    cross join lateral (
        select count(*)::integer as messages
        from broadcast_messages as m
        where
            m.device_id = d.id
            and m.status in ('pending', 'queued', 'processing')
            and (m.scheduled_at is null or m.scheduled_at <= :'now'::timestamptz)
    ) as flying
    cross join lateral (
        select
            count(*) filter (where m.sent_at > :'now'::timestamptz - interval '60 minutes')::integer as hour,
            count(*)::integer as day
        from broadcast_messages as m
        where
            m.device_id = d.id
            and m.sent_at > :'now'::timestamptz - interval '24 hours'
            and m.status not in ('pending', 'queued', 'processing', 'failed')
    ) as sent
    where
        d.id = lost.id
        or d.status = any(:'online'::text [])
        and not exists (
            select 1
            from device_load_balance as b
            where b.device_id = d.id and not b.is_available
        )
),

elsewhere as (
    select
        count(*)::integer as devices,
        coalesce(sum(greatest(0, least(
            :'max_in_flight'::integer - load.flying,
            :'max_per_hour'::integer - load.flying - load.hour,
            :'max_per_day'::integer - load.flying - load.day
        ))), 0)::integer as room_1h,
        coalesce(sum(greatest(0, :'max_per_day'::integer - load.flying - load.day)), 0)::integer as room_24h
    from load
    inner join lost on load.id <> lost.id
),

work as (
    select
        count(distinct coming.contact_phone)::integer as people,
        count(distinct coming.sequence_id || ' ' || coming.contact_phone)::integer as enrolments,
        count(*) filter (
            where coming.next_trigger_time <= :'now'::timestamptz + interval '1 hour'
        )::integer as due_1h,
        count(*) filter (
            where coming.next_trigger_time <= :'now'::timestamptz + interval '24 hours'
        )::integer as due_24h
    from coming
)

select
    lost.device_name::text as device,
    lost.id as device_id,
    lost.status::text as status,
    work.people,
    work.enrolments,
    load.flying as in_flight,
    work.due_1h,
    work.due_24h,
    elsewhere.devices as other_devices,
    elsewhere.room_1h,
    elsewhere.room_24h,
    load.flying + work.due_1h <= elsewhere.room_1h
    and load.flying + work.due_24h <= elsewhere.room_24h as fits
from lost
inner join load on lost.id = load.id
cross join work
cross join elsewhere;
