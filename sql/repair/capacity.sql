-- What a plan does to the devices that get people: who comes, what is due there already, what they may still send
--
-- What is due is of running sequences, and of rows that name the device: who has none waits for the lead's.
--
-- Parameters:
--   now      timestamptz  the instant of the transaction
--   targets  uuid[]       devices that get people
--   people   integer[]    how many each of them gets
-- Gates: gates/steps.sql, gates/devices.sql under strict of these devices
-- Row:
--   device_id  uuid     the device
--   device     text     its name
--   people     integer  people who come
--   due        integer  rows that are due there now, without them
--   room       integer  messages that it may still take now, under all its limits
--   an_hour    integer  messages that it may send in an hour
--   reason     text     why it may not send now; null: it may
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?targets} \else \set targets '{}' \endif
\if :{?people} \else \set people '{}' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with due as materialized (
    select
        sc.assigned_device_id as device_id,
        count(*)::integer as people
    from sequence_contacts as sc
    where
        sc.status = 'active'
        and sc.assigned_device_id = any(:'targets'::uuid [])
        and sc.next_trigger_time <= :'now'::timestamptz
        and sc.sequence_id = any(:'active_sequences'::uuid [])
    group by sc.assigned_device_id
)

select
    target.id as device_id,
    coalesce(d.device_name, left(d.id::text, 0))::text as device,
    target.people,
    coalesce(due.people, 0) as due,
    g.room,
    g.an_hour,
    g.reason
from unnest(:'targets'::uuid [], :'people'::integer []) as target (id, people)
inner join unnest(
    :'devices'::uuid [], :'device_reasons'::text [], :'device_rooms'::integer [], :'most_in_hour'::integer []
) as g (id, reason, room, an_hour) on target.id = g.id
left join user_devices as d on target.id = d.id
left join due on target.id = due.device_id
order by target.people desc, target.id;
