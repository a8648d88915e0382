-- Play the broadcast worker: send what is pending on the devices that are online
--
-- Parameters:
--   failing  text  phones whose messages fail, as a regular expression
-- Row:
--   sent     integer  messages sent
--   failed   integer  messages that failed
--   waiting  integer  messages left in the queue, as their device is offline
-- Locks: the messages it sends
\if :{?failing} \else \set failing '^$' \endif
with clock as materialized (
    select now() as at
),

played as (
    update broadcast_messages as m
    set
        status = case when m.recipient_phone ~ :'failing'::text then 'failed' else 'sent' end,
        error_message = case when m.recipient_phone ~ :'failing'::text then 'the number is not in use' end,
        sent_at = case when m.recipient_phone !~ :'failing'::text then clock.at end
    from user_devices as d
    cross join clock
    where m.device_id = d.id and m.status = 'pending' and d.status = 'online'
    returning m.status
)

select
    count(*) filter (where played.status = 'sent')::integer as sent,
    count(*) filter (where played.status = 'failed')::integer as failed,
    (
        select count(*)
        from broadcast_messages as m
        inner join user_devices as d on m.device_id = d.id
        where m.status = 'pending' and d.status <> 'online'
    )::integer as waiting
from played;
