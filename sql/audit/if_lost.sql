-- What would be lost with a device: its people, what is due, and whether the user's other devices can take it
--
-- Parameters:
--   now     timestamptz  the instant of the transaction
--   device  uuid         the device
-- Gates: gates/steps.sql, gates/devices.sql under strict of its user's devices, all their messages counted
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
--   restricted_devices  integer  of these: devices that may open no new chats
--   new_chats      integer  people who come from another device that these may take in a day; null: any number
--   fits           boolean  whether in flight and due fit into the room, within the hour and the day, and its people
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?device} \else \set device '' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'all' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
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
    where sc.status = 'active' and s.id = any(:'active_sequences'::uuid [])
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
    where sc.status = 'active' and s.id = any(:'active_sequences'::uuid [])
),

load as materialized (
    select d.*
    from unnest(
        :'devices'::uuid [], :'device_users'::uuid [], :'device_reasons'::text [], :'device_rooms'::integer [],
        :'in_flight'::integer [], :'sent_in_day'::integer [], :'most_in_day'::integer [], :'new_rooms'::integer [],
        :'new_reasons'::text []
    ) as d (id, user_id, reason, room, flying, day, most_in_day, new_room, new_reason)
    inner join lost on d.user_id = lost.user_id
),

elsewhere as (
    select
        count(*)::integer as devices,
        coalesce(sum(load.room), 0)::integer as room_1h,
        coalesce(sum(greatest(0, load.most_in_day - load.flying - load.day)), 0)::integer as room_24h,
        (count(*) filter (where load.new_reason = 'device_restricted'))::integer as restricted,
        case when bool_and(load.new_room is not null) then sum(load.new_room)::integer end as new_chats
    from load
    inner join lost on load.id <> lost.id
    -- One that is full now is available.
    where load.reason is null or load.reason = 'device_full'
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
    coalesce(lost.device_name, '')::text as device,
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
    elsewhere.restricted as restricted_devices,
    elsewhere.new_chats,
    load.flying + work.due_1h <= elsewhere.room_1h
    and load.flying + work.due_24h <= elsewhere.room_24h
    and coalesce(load.flying + work.due_24h <= elsewhere.new_chats, true) as fits
from lost
inner join load on lost.id = load.id
cross join work
cross join elsewhere;
