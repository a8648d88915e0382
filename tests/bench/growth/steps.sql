-- A sequence of 500 steps, a day apart, and people at every place in it, on a database that growth/fill.sql has filled
--
-- Variables: people (how many)
\set ON_ERROR_STOP on
\if :{?people} \else \set people 100 \endif
set timezone = 'UTC';

insert into sequences (id, user_id, name, status, is_active, trigger)
values (md5('long')::uuid, md5('user 0')::uuid, 'long', 'active', true, 'LONG_1');

insert into sequence_steps (
    id, sequence_id, day_number, trigger, next_trigger, trigger_delay_hours, is_entry_point, message_type, content
)
select
    md5('long ' || day)::uuid,
    md5('long')::uuid,
    day,
    'LONG_' || day,
    case when day = 500 then '' else 'LONG_' || day + 1 end,
    24,
    day = 1,
    'text',
    'Words of the message of day ' || day
from generate_series(1, 500) as day;

insert into leads (user_id, device_id, name, phone, trigger)
select md5('user 0')::uuid, md5('device 0')::uuid, 'Person ' || n, '6016' || lpad(n::text, 8, '0'), 'LONG_1'
from generate_series(0, :people - 1) as n;

create temporary table walk as
select
    n,
    day,
    '6016' || lpad(n::text, 8, '0') as phone,
    md5('long ' || n || ' ' || day)::uuid as id,
    day = last as waits,
    now() - interval '1 hour' - interval '1 day' * (last - day - 1) as at
from
    generate_series(0, :people - 1) as n,
    lateral (select 1 + n * 499 / :people as last) as place,
    lateral generate_series(1, last) as day;

insert into sequence_contacts (
    id, sequence_id, contact_phone, contact_name, current_step, status, current_trigger, next_trigger_time,
    completed_at, assigned_device_id, processing_device_id, sequence_stepid, user_id
)
select
    id,
    md5('long')::uuid,
    phone,
    'Person ' || n,
    day,
    case when waits then 'active' else 'completed' end,
    'LONG_' || day,
    at,
    case when not waits then at end,
    md5('device 0')::uuid,
    case when not waits then md5('device 0')::uuid end,
    md5('long ' || day)::uuid,
    md5('user 0')::uuid
from walk;

insert into broadcast_messages (
    id, user_id, device_id, sequence_id, sequence_stepid, recipient_phone, recipient_name, content, media_url, status,
    scheduled_at, sent_at, created_at
)
select
    md5('seqdev message ' || id)::uuid,
    md5('user 0')::uuid,
    md5('device 0')::uuid,
    md5('long')::uuid,
    md5('long ' || day)::uuid,
    phone,
    'Person ' || n,
    'Words of a message',
    '',
    'sent',
    at,
    at + interval '20 seconds',
    at
from walk
where not waits
order by at;

analyze leads, sequences, sequence_steps, sequence_contacts, broadcast_messages;
checkpoint;
