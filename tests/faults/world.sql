-- The host's tables before a fault: users with the same phones, their devices, people at every stage.
--
-- %(users)s users, of %(people)s people each. Every phone begins with 60199, every name and text with CANARY: none of
-- them may be found where it does not belong. A copy of each table is in the schema "was".
insert into users (id) select md5('user ' || u)::uuid from generate_series(1, %(users)s) u;

insert into user_devices (id, user_id, device_name, phone, status)
select md5('device ' || u || d)::uuid, md5('user ' || u)::uuid, 'device ' || u || d, '60199999' || u || d,
    case d when 4 then 'offline' else 'online' end
from generate_series(1, %(users)s) u, generate_series(1, 4) d;

insert into sequences (id, user_id, name)
select md5(name || u)::uuid, md5('user ' || u)::uuid, name || ' ' || u
from generate_series(1, %(users)s) u, unnest(array['warm', 'solo', 'chain']) name;

insert into sequence_steps
    (id, sequence_id, day_number, trigger, next_trigger, trigger_delay_hours, is_entry_point, content)
select md5(s.name || day || u)::uuid, md5(s.name || u)::uuid, day, own, next, 0, day = 1, 'CANARY-TEXT ' || own
from generate_series(1, %(users)s) u, (values
    ('warm', 1, 'WARM', 'WARM_2'), ('warm', 2, 'WARM_2', ''), ('solo', 1, 'SOLO', 'CHAIN'), ('chain', 1, 'CHAIN', '')
) s (name, day, own, next);

-- Of ten people five are due in "warm", two in "solo", two are to be enrolled, one carries no trigger of ours.
create temporary table person as
select u, i, '60199' || lpad(i::text, 7, '0') as phone,
    case when i %% 10 < 5 then 'warm' when i %% 10 < 7 then 'solo' when i %% 10 < 9 then 'new' else 'none' end as kind,
    md5('device ' || u || 1 + i %% 4)::uuid as device
from generate_series(1, %(users)s) u, generate_series(1, %(people)s) i;

insert into leads (id, user_id, device_id, phone, name, trigger)
select md5('lead ' || u || i)::uuid, md5('user ' || u)::uuid, device, phone, 'CANARY-NAME ' || i,
    case kind when 'solo' then 'SOLO,KEEP' when 'none' then 'KEEP' else 'WARM,KEEP' end
from person;

insert into sequence_contacts
    (id, sequence_id, sequence_stepid, contact_phone, contact_name, assigned_device_id, next_trigger_time, user_id)
select md5('contact ' || u || i)::uuid, md5(kind || u)::uuid, md5(kind || 1 || u)::uuid, phone, 'CANARY-NAME ' || i,
    case when i %% 7 > 0 then device end, now() at time zone 'UTC' - i * interval '1 second' - interval '1 minute',
    md5('user ' || u)::uuid
from person
where kind in ('warm', 'solo');

-- Written to by another device than the assigned one: the first step is behind them, some messages have failed.
insert into leads (id, user_id, device_id, phone, name, trigger)
select md5('lead past ' || u || i)::uuid, md5('user ' || u)::uuid, md5('device ' || u || 1)::uuid,
    '601991' || lpad(i::text, 6, '0'), 'CANARY-NAME past', 'WARM'
from generate_series(1, %(users)s) u, generate_series(1, 12) i;

insert into sequence_contacts (id, sequence_id, sequence_stepid, contact_phone, contact_name, assigned_device_id,
    next_trigger_time, user_id, status, completed_at, processing_device_id)
select md5('past ' || u || i || step)::uuid, md5('warm' || u)::uuid, md5('warm' || step || u)::uuid,
    '601991' || lpad(i::text, 6, '0'), 'CANARY-NAME past', md5('device ' || u || 1)::uuid,
    now() at time zone 'UTC' + (step - 1) * interval '20 hours', md5('user ' || u)::uuid,
    case step when 1 then 'completed' else 'active' end, case step when 1 then now() at time zone 'UTC' end,
    case step when 1 then md5('device ' || u || 2)::uuid end
from generate_series(1, %(users)s) u, generate_series(1, 12) i, generate_series(1, 2) step;

insert into broadcast_messages (id, user_id, device_id, sequence_id, sequence_stepid, recipient_phone, content,
    status, error_message, sent_at, scheduled_at, created_at)
select md5('seqdev message ' || id)::uuid, user_id, processing_device_id, sequence_id, sequence_stepid, contact_phone,
    'CANARY-TEXT WARM', case when contact_phone ~ '[05]$' then 'failed' else 'sent' end, 'CANARY-TEXT error',
    now() at time zone 'UTC' - interval '20 minutes', now() at time zone 'UTC' - interval '20 minutes',
    now() at time zone 'UTC' - interval '20 minutes'
from sequence_contacts where status = 'completed';

-- Left behind by another processor, and what can never be sent.
update sequence_contacts
set processing_device_id = assigned_device_id, processing_started_at = now() at time zone 'UTC' - interval '1 hour'
where contact_phone ~ '^601991' and status = 'active' and contact_phone ~ '3$';

insert into sequence_contacts (id, sequence_id, sequence_stepid, contact_phone, assigned_device_id, next_trigger_time)
values
(md5('bad 1')::uuid, md5('warm1')::uuid, md5('warm11')::uuid, ' ', md5('device 11')::uuid, now() - interval '1 day'),
(md5('bad 2')::uuid, md5('warm1')::uuid, null, '601992000001', md5('device 11')::uuid, now() - interval '1 day'),
(md5('bad 3')::uuid, md5('warm1')::uuid, md5('warm11')::uuid, '601992000002', null, now() - interval '1 day');

-- Not ours: the host's campaigns.
insert into broadcast_messages (id, user_id, device_id, campaign_id, recipient_phone, content, status, sent_at)
select md5('campaign ' || u || i)::uuid, md5('user ' || u)::uuid, md5('device ' || u || 1 + i %% 4)::uuid, 7,
    '601993' || lpad(i::text, 6, '0'), 'CANARY-TEXT campaign', 'sent', now() at time zone 'UTC' - interval '2 days'
from generate_series(1, %(users)s) u, generate_series(1, 20) i;

create schema was;
create table was.users as table users;
create table was.user_devices as table user_devices;
create table was.sequences as table sequences;
create table was.sequence_steps as table sequence_steps;
create table was.leads as table leads;
create table was.sequence_contacts as table sequence_contacts;
create table was.broadcast_messages as table broadcast_messages;
create unique index on was.leads (id);
create unique index on was.sequence_contacts (id);
create unique index on was.broadcast_messages (id);
analyze;
