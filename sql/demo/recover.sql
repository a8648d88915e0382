-- Every device of the demo is online again
--
-- Locks: the rows of the devices
update user_devices
set status = 'online'
where status <> 'online';
