-- The least loaded available devices of users, where fallback and reassign would go
--
-- Parameters:
--   phones  text[]  the person's phone, in every writing that is tried
--   failed  text[]  values of broadcast_messages.status of a message that will never be sent
-- Gates: gates/devices.sql under strict, of the users
-- Row:
--   user_id      uuid     whose device it is
--   device_id    uuid     an available device: two for each user at most, the least loaded first
--   device_name  text     its name
--   room         integer  messages it can still take
-- Locks: none
\if :{?phones} \else \set phones '{}' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with written as materialized (
    select distinct m.device_id
    from broadcast_messages as m
    where
        m.recipient_phone = any(:'phones'::text [])
        and (m.sent_at is not null or m.status in ('pending', 'queued', 'processing'))
        and m.status <> 'failed'
        and m.status <> all(:'failed'::text [])
),

placed as (
    select
        d.*,
        row_number() over (partition by d.user_id order by d.in_flight + d.laid_out, d.id) as place
    from unnest(
        :'devices'::uuid [], :'device_users'::uuid [], :'device_reasons'::text [], :'device_rooms'::integer [],
        :'in_flight'::integer [], :'laid_out'::integer [], :'new_rooms'::integer []
    ) as d (id, user_id, reason, room, in_flight, laid_out, new_room)
    where
        d.reason is null
        -- It may open no more chats, but has written to them before.
        and (coalesce(d.new_room, 1) > 0 or d.id in (select w.device_id from written as w))
)

select
    p.user_id,
    p.id as device_id,
    coalesce(d.device_name, left(d.id::text, 0))::text as device_name,
    p.room
from placed as p
inner join user_devices as d on p.id = d.id
where p.place <= 2
order by p.user_id, p.place;
