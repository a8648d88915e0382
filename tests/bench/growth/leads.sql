-- Leads to enrol, on a database that growth/fill.sql has filled
--
-- Variables: first (number of the first of them), people (how many)
\set ON_ERROR_STOP on
\if :{?first} \else \set first 0 \endif
\if :{?people} \else \set people 100 \endif

insert into leads (user_id, device_id, name, phone, trigger)
select
    d.user_id,
    d.id,
    'Person ' || p.n,
    '6018' || lpad(p.n::text, 8, '0'),
    'WARM'
from generate_series(:first, :first + :people - 1) as p (n)
cross join (select count(*) as devices from user_devices where device_name like 'device%') as many
inner join user_devices as d on d.id = md5('device ' || p.n % many.devices)::uuid;

checkpoint;
