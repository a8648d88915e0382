-- An ordinary day: two devices lose their connection, and a campaign fills a third
--
-- Parameters:
--   offline  text[]   names of the devices that go offline
--   full     text     name of the device that gets a campaign's messages
--   most     integer  messages of the campaign
-- Locks: the rows of the devices that go offline
\if :{?offline} \else \set offline '{}' \endif
\if :{?full} \else \set full '' \endif
\if :{?most} \else \set most '50' \endif
with lost as (
    update user_devices
    set status = 'offline'
    where device_name = any(:'offline'::text [])
)

insert into broadcast_messages (
    user_id, device_id, campaign_id, recipient_phone, content, status, scheduled_at, created_at
)
select
    d.user_id,
    d.id,
    1,
    '6011560' || lpad(n::text, 5, '0'),
    'Our spring catalogue is here.',
    'pending',
    now(),
    now()
from user_devices as d
cross join generate_series(1, :'most'::integer) as n
where d.device_name = :'full'::text;
