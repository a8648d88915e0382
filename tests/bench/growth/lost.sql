-- A lost device, and the people whom it owns, on a database that growth/fill.sql has filled
--
-- Its user has other devices. The people wait for their first step, tomorrow.
--
-- Variables: number (of the device), people (how many)
\set ON_ERROR_STOP on
\if :{?number} \else \set number 0 \endif
\if :{?people} \else \set people 100 \endif
set timezone = 'UTC';

update user_devices
set device_name = 'lost before'
where device_name = 'lost';

insert into user_devices (id, user_id, device_name, status)
values (md5('lost ' || :number)::uuid, md5('user 0')::uuid, 'lost', 'offline');

insert into leads (user_id, device_id, name, phone, trigger)
select
    md5('user 0')::uuid,
    md5('lost ' || :number)::uuid,
    'Person ' || p.n,
    '6017' || :number || lpad(p.n::text, 7, '0'),
    'WARM'
from generate_series(0, :people - 1) as p (n);

insert into sequence_contacts (
    id, sequence_id, contact_phone, contact_name, current_step, status, current_trigger, next_trigger_time,
    assigned_device_id, sequence_stepid, user_id
)
select
    md5('lost ' || :number || ' ' || p.n)::uuid,
    md5('sequence 0')::uuid,
    '6017' || :number || lpad(p.n::text, 7, '0'),
    'Person ' || p.n,
    1,
    'active',
    'WARM',
    now() + interval '1 day',
    md5('lost ' || :number)::uuid,
    md5('step 0 1')::uuid,
    md5('user 0')::uuid
from generate_series(0, :people - 1) as p (n);

checkpoint;
