-- The demo's devices, their leads, and what waits on them in the queue
--
-- Row:
--   device   text     its name
--   phone    text     its number
--   status   text     online or offline
--   leads    integer  leads it owns
--   pending  integer  messages in the queue that its phone has not sent yet
-- Locks: none
select
    d.device_name::text as device,
    d.phone::text as phone,
    d.status::text as status,
    (
        select count(*)
        from leads as l
        where l.device_id = d.id
    )::integer as leads,
    (
        select count(*)
        from broadcast_messages as m
        where m.device_id = d.id and m.status = 'pending'
    )::integer as pending
from user_devices as d
order by d.device_name;
