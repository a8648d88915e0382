-- Reject the lines whose device was deleted since they were judged
--
-- Run where the database has refused the leads: the foreign key of the device is the one to say so.
--
-- Needs:
--   leads/outcome.sql
-- Locks: none
update pg_temp.lead_outcome as o
set
    outcome = 'unknown_device',
    rejected = true,
    lead_id = null,
    device_id = null
where
    o.outcome in ('new', 'update')
    and o.device_id is not null
    and o.device_id not in (select d.id from user_devices as d);
