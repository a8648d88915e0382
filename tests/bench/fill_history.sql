-- Weeks of history for the audits' benchmark, on a database that fill.sql has given users, devices, sequences
--
-- Each person has done the first two steps and waits for the third. What was done is up to 60 days old, most of
-- it new: a tenth within the last hour. The messages of campaigns are spread evenly over those days. One person
-- in a thousand has trouble of each kind: another device, no message, long overdue, no assigned device.
--
-- Variables: people, campaigns (numbers of people, and of messages of campaigns)
\set ON_ERROR_STOP on
\if :{?people} \else \set people 1000 \endif
\if :{?campaigns} \else \set campaigns 1000 \endif
set timezone = 'UTC';
set synchronous_commit = off;

create temporary table person as
select
    n,
    '6010' || lpad(n::text, 8, '0') as phone,
    now() - interval '60 days' * power((hashint8(n)::bigint & 1048575) / 1048576.0, 3) as done,
    d.devices,
    'device ' || n % d.devices as device,
    'user ' || n % d.devices % d.users as owner,
    n % d.devices % d.users as sequence
from
    generate_series(0, :people - 1) as n,
    (
        select
            count(*) as devices,
            count(distinct user_id) as users
        from user_devices
    ) as d;

insert into leads (user_id, device_id, name, phone, trigger)
select md5(owner)::uuid, md5(device)::uuid, 'Person ' || n, phone, 'WARM'
from person;

insert into sequence_contacts (
    id, sequence_id, contact_phone, contact_name, current_step, status, current_trigger, next_trigger_time,
    completed_at, assigned_device_id, processing_device_id, sequence_stepid, user_id
)
select
    md5('contact ' || n || ' ' || day)::uuid,
    md5('sequence ' || sequence)::uuid,
    phone,
    'Person ' || n,
    day,
    case when day < 3 then 'completed' else 'active' end,
    case day when 1 then 'WARM' else 'WARM_' || day end,
    case
        when day < 3 then done - (2 - day) * interval '1 day'
        when n % 1000 = 3 then done
        else now() + (hashint8(n)::bigint & 1023) * interval '1 minute'
    end,
    case when day < 3 then done - (2 - day) * interval '1 day' end,
    case when n % 1000 <> 4 then md5(device)::uuid end,
    case when day < 3 then md5(device)::uuid end,
    md5('step ' || sequence || ' ' || day)::uuid,
    md5(owner)::uuid
from person, generate_series(1, 3) as day;

-- In the order of time, as a live queue grows.
insert into broadcast_messages (
    id, user_id, device_id, campaign_id, sequence_id, sequence_stepid, recipient_phone, recipient_name, content, status,
    scheduled_at, sent_at, created_at
)
select
    id,
    md5(owner)::uuid,
    md5(sender)::uuid,
    campaign,
    case when campaign is null then md5('sequence ' || sequence)::uuid end,
    case when campaign is null then md5('step ' || sequence || ' ' || day)::uuid end,
    phone,
    'Person ' || n,
    'Words of a message',
    'sent',
    at,
    at + interval '20 seconds',
    at
from (
    select
        p.*,
        day,
        null::integer as campaign,
        case when n % 1000 = 1 then 'device ' || (n + devices / 2) % devices else device end as sender,
        md5('seqdev message ' || md5('contact ' || n || ' ' || day)::uuid)::uuid as id,
        done - (2 - day) * interval '1 day' as at
    from person as p, generate_series(1, 2) as day
    where n % 1000 <> 2
    union all
    select
        p.*,
        null,
        m % 50,
        device,
        md5('campaign message ' || m)::uuid,
        now() - interval '60 days' * m / :campaigns
    from generate_series(1, :campaigns) as m
    inner join person as p on m % :people = p.n
) as message
order by at;

vacuum analyze;
checkpoint;
