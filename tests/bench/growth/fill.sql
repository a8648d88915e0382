-- A host that has grown for years, for make bench-growth, on a database that fill.sql has given users, devices, sequences
--
-- However many contacts there are, as much is new: of the last thousand days, the last ten have seen "daily" people a day
-- do their latest step, and three times as many messages of campaigns; the days before share the rest. A third of the
-- people wait for their last step; nobody is due. Trouble is as much at any size: of the newest people, a hundred were
-- written to by another device, a hundred have no message, and a hundred no assigned device.
--
-- The indexes that no key needs are made after the rows: make bench-growth sees to it.
--
-- Variables: contacts (rows; as many messages of each are made: 3), daily (people)
\set ON_ERROR_STOP on
\if :{?contacts} \else \set contacts 30000 \endif
\if :{?daily} \else \set daily 100 \endif
set timezone = 'UTC';
set synchronous_commit = off;
set work_mem = '256MB';

-- The third step comes three years after the second: those who wait for it are not due, and not late either.
update sequence_steps
set trigger_delay_hours = 24 * 365 * 3
where day_number = 3;

-- The first tick: what was done before it was another processor's work.
insert into seqdev.run (id, command, arguments, started_at, finished_at, counts, version, exit_code)
values (md5('run')::uuid, 'tick', '', now() - interval '1100 days', now() - interval '1100 days', '{}', '1.0.0', 0);

create unlogged table person as
select
    p.n,
    p.n % 3 = 0 as waits,
    '6010' || lpad(p.n::text, 8, '0') as phone,
    now() - interval '1 day' * case
        when p.n < 10 * :daily then (p.n + 1.0) / :daily
        else 10 + 990.0 * (p.n - 10 * :daily) / (:contacts / 3 - 10 * :daily)
    end as done,
    md5('device ' || p.n % d.devices)::uuid as device_id,
    md5('device ' || (p.n + d.users) % d.devices)::uuid as other_id,
    md5('user ' || p.n % d.devices % d.users)::uuid as user_id,
    md5('sequence ' || p.n % d.devices % d.users)::uuid as sequence_id,
    p.n % d.devices % d.users as sequence
from
    generate_series(0, :contacts / 3 - 1) as p (n),
    (
        select
            count(*) as devices,
            count(distinct user_id) as users
        from user_devices
    ) as d;

insert into leads (user_id, device_id, name, phone, trigger)
select user_id, device_id, 'Person ' || n, phone, case when waits then 'WARM' end
from person;

-- In the order of time, as a live table grows.
insert into sequence_contacts (
    id, sequence_id, contact_phone, contact_name, current_step, status, current_trigger, next_trigger_time,
    completed_at, assigned_device_id, processing_device_id, sequence_stepid, user_id
)
select
    md5('contact ' || n || ' ' || day)::uuid,
    sequence_id,
    phone,
    'Person ' || n,
    day,
    case when day = 3 and waits then 'active' else 'completed' end,
    case day when 1 then 'WARM' else 'WARM_' || day end,
    case when day = 3 and waits then done + interval '24 hours' * 365 * 3 else at end,
    case when day = 3 and waits then null else at end,
    case when n between 200 and 299 then null else device_id end,
    case when day = 3 and waits then null else device_id end,
    md5('step ' || sequence || ' ' || day)::uuid,
    user_id
from person, generate_series(1, 3) as day, lateral (
    -- The latest step that is done, at "done"; the one before it, a day earlier.
    select done - (case when waits then 2 else 3 end - day) * interval '1 day' as at
) as step
order by step.at;

insert into broadcast_messages (
    id, user_id, device_id, campaign_id, sequence_id, sequence_stepid, recipient_phone, recipient_name, content, media_url,
    status, scheduled_at, sent_at, created_at
)
select
    id,
    user_id,
    sender_id,
    campaign,
    sequence_id,
    step_id,
    phone,
    'Person ' || n,
    'Words of a message',
    '',
    'sent',
    at,
    at + interval '20 seconds',
    at
from (
    select
        p.n,
        p.user_id,
        case when p.n < 100 then p.other_id else p.device_id end as sender_id,
        p.phone,
        p.sequence_id,
        md5('step ' || p.sequence || ' ' || day)::uuid as step_id,
        null::integer as campaign,
        md5('seqdev message ' || md5('contact ' || p.n || ' ' || day)::uuid)::uuid as id,
        p.done - (case when p.waits then 2 else 3 end - day) * interval '1 day' as at
    from person as p, generate_series(1, 3) as day
    where not (day = 3 and p.waits) and p.n not between 100 and 199
    union all
    select
        p.n,
        p.user_id,
        p.device_id,
        p.phone,
        null,
        null,
        m % 50,
        md5('campaign message ' || p.n || ' ' || m)::uuid,
        p.done - interval '1 minute' * (m % 3)
    from person as p, generate_series(1, case when p.waits then 7 else 6 end) as m
) as message
order by at;

drop table person;
