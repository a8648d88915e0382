-- The least loaded available devices of users, where fallback and reassign would go
--
-- Gates: gates/devices.sql under strict, of the users
-- Row:
--   user_id      uuid     whose device it is
--   device_id    uuid     an available device: two for each user at most, the least loaded first
--   device_name  text     its name
--   room         integer  messages it can still take
-- Locks: none
\if :{?policy} \else \set policy 'strict' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with placed as (
    select
        d.*,
        row_number() over (partition by d.user_id order by d.in_flight + d.laid_out, d.id) as place
    from unnest(
        :'devices'::uuid [], :'device_users'::uuid [], :'device_reasons'::text [], :'device_rooms'::integer [],
        :'in_flight'::integer [], :'laid_out'::integer [], :'new_rooms'::integer []
    ) as d (id, user_id, reason, room, in_flight, laid_out, new_room)
    -- Whoever comes there is a new chat.
    where d.reason is null and coalesce(d.new_room, 1) > 0
)

select
    p.user_id,
    p.id as device_id,
    d.device_name::text as device_name,
    p.room
from placed as p
inner join user_devices as d on p.id = d.id
where p.place <= 2
order by p.user_id, p.place;
