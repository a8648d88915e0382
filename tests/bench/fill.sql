-- Rows for the benchmark, on a database made by "seqdev db init": due and waiting contacts of healthy devices
--
-- Always the same rows: ids are hashes of a number. Each user has one sequence of three steps, a day apart;
-- each contact is a lead of the device that it is assigned to. Due contacts are at the first step.
--
-- Variables: users, devices, due, waiting (numbers of rows)
\set ON_ERROR_STOP on
\if :{?users} \else \set users 5 \endif
\if :{?devices} \else \set devices 50 \endif
\if :{?due} \else \set due 1000 \endif
\if :{?waiting} \else \set waiting 0 \endif
set timezone = 'UTC';

insert into users (id)
select md5('user ' || n)::uuid
from generate_series(0, :users - 1) as n;

insert into user_devices (id, user_id, device_name, status)
select
    md5('device ' || n)::uuid,
    md5('user ' || n % :users)::uuid,
    'device ' || n,
    'online'
from generate_series(0, :devices - 1) as n;

insert into sequences (id, user_id, name, status, is_active, trigger)
select
    md5('sequence ' || n)::uuid,
    md5('user ' || n)::uuid,
    'sequence ' || n,
    'active',
    true,
    'WARM'
from generate_series(0, :users - 1) as n;

insert into sequence_steps (
    id, sequence_id, day_number, trigger, next_trigger, trigger_delay_hours, is_entry_point, message_type, content
)
select
    md5('step ' || n || ' ' || day)::uuid,
    md5('sequence ' || n)::uuid,
    day,
    case day when 1 then 'WARM' else 'WARM_' || day end,
    case day when 3 then '' else 'WARM_' || day + 1 end,
    24,
    day = 1,
    'text',
    repeat('Words of the message of day ' || day || '. ', 5)
from generate_series(0, :users - 1) as n, generate_series(1, 3) as day;

insert into leads (user_id, device_id, name, phone, trigger)
select
    md5('user ' || n % :devices % :users)::uuid,
    md5('device ' || n % :devices)::uuid,
    'Person ' || n,
    '6010' || lpad(n::text, 8, '0'),
    'WARM'
from generate_series(0, :due + :waiting - 1) as n;

insert into sequence_contacts (
    id, sequence_id, contact_phone, contact_name, current_step, status, current_trigger, next_trigger_time,
    assigned_device_id, sequence_stepid, user_id
)
select
    md5('contact ' || n)::uuid,
    md5('sequence ' || n % :devices % :users)::uuid,
    '6010' || lpad(n::text, 8, '0'),
    'Person ' || n,
    1,
    'active',
    'WARM',
    now() + case when n < :due then - interval '1 minute' else interval '1 day' end
    * (1 + hashint4(n)::bigint & 63),
    md5('device ' || n % :devices)::uuid,
    md5('step ' || n % :devices % :users || ' 1')::uuid,
    md5('user ' || n % :devices % :users)::uuid
from generate_series(0, :due + :waiting - 1) as n;

-- As autovacuum leaves a host's tables. (It marks no page as all visible of rows that were committed asynchronously.)
vacuum analyze;
checkpoint;
