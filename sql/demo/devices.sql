-- The demo's devices, their leads, and what waits on them in the queue
--
-- Row:
--   device   text     its name
--   phone    text     its number
--   status   text     online or offline
--   leads    integer  leads it owns
--   pending  integer  messages in the queue that its phone has not sent yet
-- Locks: none
with owned as (
    select
        l.device_id,
        count(*) as leads
    from leads as l
    group by l.device_id
),

queued as (
    select
        m.device_id,
        count(*) as pending
    from broadcast_messages as m
    where m.status = 'pending'
    group by m.device_id
)

select
    d.device_name::text as device,
    d.phone::text as phone,
    d.status::text as status,
    coalesce(owned.leads, 0)::integer as leads,
    coalesce(queued.pending, 0)::integer as pending
from user_devices as d
left join owned on d.id = owned.device_id
left join queued on d.id = queued.device_id
order by d.device_name;
