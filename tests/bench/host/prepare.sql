-- Messages that wait to be sent, and a counter for the host's work, on a database that fill_history.sql has filled
\set ON_ERROR_STOP on
set timezone = 'UTC';
set synchronous_commit = off;
create sequence host_work cache 100;

insert into broadcast_messages (
    id, user_id, device_id, recipient_phone, recipient_name, content, status, scheduled_at, created_at
)
select
    md5('pending ' || n)::uuid,
    l.user_id,
    l.device_id,
    l.phone,
    l.name,
    'Words of a message',
    'pending',
    now(),
    now()
from generate_series(1, 500000) as n
inner join leads as l on l.phone = '6010' || lpad((n::bigint * 7919 % (select count(*) from leads))::text, 8, '0');

vacuum analyze;
checkpoint;
