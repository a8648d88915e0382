-- The devices of a user, and which of them leads can be given to
--
-- Parameters:
--   user  uuid  whose devices
-- Row:
--   id      uuid     the device
--   name    text     its name
--   banned  boolean  the service has banned it, so that it sends nothing any more
-- Locks: none
\if :{?user} \else \set user '00000000-0000-0000-0000-000000000000' \endif
select
    d.id,
    d.device_name::text as name,
    coalesce(lower(d.status) = 'banned', false) as banned
from user_devices as d
where d.user_id = :'user'::uuid
order by d.device_name, d.id;
