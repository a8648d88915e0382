-- Devices whose id begins with a text, or that are named so
--
-- Parameters:
--   text  text  the beginning of an id, of four characters at least, or a name
--   user  uuid  only devices of this user
-- Row:
--   id       uuid  the device
--   name     text  its name
--   user_id  uuid  whose it is
-- Locks: none
\if :{?text} \else \set text '' \endif
\if :{?user} \else \set user '' \endif
select
    d.id,
    d.device_name::text as name,
    d.user_id
from user_devices as d
where
    (length(:'text'::text) >= 4 and starts_with(d.id::text, lower(:'text'::text)) or d.device_name = :'text'::text)
    and (nullif(:'user', '')::uuid is null or d.user_id = nullif(:'user', '')::uuid)
order by d.device_name, d.id
limit 11;
