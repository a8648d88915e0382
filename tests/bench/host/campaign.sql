-- A campaign's messages, queued in one transaction and marked as sent in another
--
-- Variables: first (number of its first message)
\set ON_ERROR_STOP on
\if :{?first} \else \set first 0 \endif
insert into broadcast_messages (
    id, user_id, device_id, campaign_id, recipient_phone, recipient_name, content, status, scheduled_at, created_at
)
select
    md5('campaign of the host ' || :first + n)::uuid,
    l.user_id,
    l.device_id,
    7,
    l.phone,
    l.name,
    'Words of a message',
    'pending',
    now(),
    now()
from generate_series(0, 9999) as n
inner join leads as l on l.phone = '6010' || lpad(((:first + n)::bigint * 7919 % (select count(*) from leads))::text, 8, '0');

update broadcast_messages
set status = 'sent', sent_at = now()
where id in (select md5('campaign of the host ' || :first + n)::uuid from generate_series(0, 9999) as n);
