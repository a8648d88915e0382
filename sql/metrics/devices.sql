-- How many messages each device may take now
--
-- A look into an index for each device and limit, as a tick has it: no look at contacts, whose number does not matter.
--
-- Gates: gates/devices.sql under strict of all devices, counted up to the limits
-- Row:
--   device        text     its name
--   device_id     uuid     the device
--   availability  text     available, away or gone, by its status
--   room          integer  messages that it may take now under its limits; 0 where it may not send
-- Locks: none
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'limit' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
select
    coalesce(d.device_name::text, '') as device,
    d.id as device_id,
    case when g.is_online then 'available' when g.is_gone then 'gone' else 'away' end as availability,
    case when g.reason is null then g.room else 0 end as room
from unnest(
    :'devices'::uuid [], :'device_reasons'::text [], :'device_rooms'::integer [], :'is_online'::boolean [],
    :'is_gone'::boolean []
) as g (id, reason, room, is_online, is_gone)
inner join user_devices as d on g.id = d.id
order by d.device_name, d.id;
