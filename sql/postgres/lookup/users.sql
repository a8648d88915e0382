-- Users whose id begins with a text
--
-- Parameters:
--   text  text  the beginning of an id, of four characters at least
-- Row:
--   id       uuid  the user
--   name     text  nothing: users are known by their id
--   user_id  uuid  the same
-- Locks: none
\if :{?text} \else \set text '' \endif
select
    u.id,
    null::text as name,
    u.id as user_id
from users as u
where length(:'text'::text) >= 4 and starts_with(u.id::text, lower(:'text'::text))
order by u.id
limit 11;
