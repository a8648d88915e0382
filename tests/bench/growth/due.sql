-- People who are due for their first step, on a database that growth/fill.sql has filled
--
-- Variables: first (number of the first of them), people (how many)
\set ON_ERROR_STOP on
\if :{?first} \else \set first 0 \endif
\if :{?people} \else \set people 100 \endif
set timezone = 'UTC';

create temporary table person as
select
    p.n,
    '6019' || lpad(p.n::text, 8, '0') as phone,
    d.id as device_id,
    d.user_id,
    s.id as sequence_id,
    st.id as step_id
from generate_series(:first, :first + :people - 1) as p (n)
cross join (select count(*) as devices from user_devices where device_name like 'device%') as many
inner join user_devices as d on d.id = md5('device ' || p.n % many.devices)::uuid
inner join sequences as s on d.user_id = s.user_id and s.trigger = 'WARM'
inner join sequence_steps as st on s.id = st.sequence_id and st.day_number = 1;

insert into leads (user_id, device_id, name, phone, trigger)
select user_id, device_id, 'Person ' || n, phone, 'WARM'
from person;

insert into sequence_contacts (
    id, sequence_id, contact_phone, contact_name, current_step, status, current_trigger, next_trigger_time,
    assigned_device_id, sequence_stepid, user_id
)
select
    md5('due ' || n)::uuid,
    sequence_id,
    phone,
    'Person ' || n,
    1,
    'active',
    'WARM',
    now() - interval '1 minute' * (1 + n % 60),
    device_id,
    step_id,
    user_id
from person;

checkpoint;
