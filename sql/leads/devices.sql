-- The devices of a user, and which of them no leads are given to
--
-- Parameters:
--   user  uuid  whose devices
-- Gates: gates/devices.sql of all devices
-- Row:
--   id      uuid     the device
--   name    text     its name
--   status  text     its status
--   gone    boolean  whether it does not come back
-- Locks: none
\if :{?user} \else \set user '00000000-0000-0000-0000-000000000000' \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'no' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
select
    d.id,
    d.device_name::text as name,
    d.status::text as status,
    coalesce(g.is_gone, false) as gone
from user_devices as d
left join unnest(:'devices'::uuid [], :'is_gone'::boolean []) as g (id, is_gone) on d.id = g.id
where d.user_id = :'user'::uuid
order by d.device_name, d.id;
