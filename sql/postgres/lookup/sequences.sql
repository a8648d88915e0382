-- Sequences whose id begins with a text, or that are named so
--
-- Parameters:
--   text  text  the beginning of an id, of four characters at least, or a name
--   user  uuid  only sequences of this user
-- Row:
--   id       uuid  the sequence
--   name     text  its name
--   user_id  uuid  whose it is
-- Locks: none
\if :{?text} \else \set text '' \endif
\if :{?user} \else \set user '' \endif
select
    s.id,
    s.name::text as name,
    s.user_id
from sequences as s
where
    (length(:'text'::text) >= 4 and starts_with(s.id::text, lower(:'text'::text)) or s.name = :'text'::text)
    and (nullif(:'user', '')::uuid is null or s.user_id = nullif(:'user', '')::uuid)
order by s.name, s.id
limit 11;
