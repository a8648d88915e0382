-- People who are due, on a database that fill_history.sql has filled
--
-- Variables: due (their number)
\set ON_ERROR_STOP on
\if :{?due} \else \set due 1000 \endif
set timezone = 'UTC';
set synchronous_commit = off;

insert into leads (user_id, device_id, name, phone, trigger)
select
    d.user_id,
    d.id,
    'Person ' || n,
    '6019' || lpad(n::text, 8, '0'),
    'WARM'
from generate_series(0, :due - 1) as n
inner join user_devices as d on d.id = md5('device ' || n % (select count(*) from user_devices))::uuid;

insert into sequence_contacts (
    id, sequence_id, contact_phone, contact_name, current_step, status, current_trigger, next_trigger_time,
    assigned_device_id, sequence_stepid, user_id
)
select
    md5('due ' || n)::uuid,
    s.id,
    '6019' || lpad(n::text, 8, '0'),
    'Person ' || n,
    1,
    'active',
    'WARM',
    now() - interval '1 minute' * (1 + n % 60),
    d.id,
    st.id,
    d.user_id
from generate_series(0, :due - 1) as n
inner join user_devices as d on d.id = md5('device ' || n % (select count(*) from user_devices))::uuid
inner join sequences as s on d.user_id = s.user_id
inner join sequence_steps as st on s.id = st.sequence_id and st.day_number = 1;

vacuum analyze;
checkpoint;
