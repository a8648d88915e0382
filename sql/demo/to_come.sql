-- Which devices the steps still to come are assigned to
--
-- Row:
--   sequence  text     name of the sequence
--   device    text     name of the device
--   status    text     online or offline
--   waiting   integer  people whose step is still to come
-- Locks: none
select
    s.name::text as sequence,
    d.device_name::text as device,
    d.status::text as status,
    count(*)::integer as waiting
from sequence_contacts as sc
inner join sequences as s on sc.sequence_id = s.id
inner join user_devices as d on sc.assigned_device_id = d.id
where sc.status = 'active'
group by s.name, s.id, d.device_name, d.id, d.status
order by s.name desc, s.id, d.device_name;
