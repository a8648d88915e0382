-- Runs whose id begins with a text
--
-- Parameters:
--   text  text  the beginning of an id, of four characters at least
-- Row:
--   id       uuid         the run
--   command  text         what was run
--   started  timestamptz  when it began
-- Locks: none
\if :{?text} \else \set text '' \endif
select
    r.id,
    r.command,
    r.started_at as started
from seqdev.run as r
where
    length(:'text'::text) >= 4
    and starts_with(r.id::text, lower(:'text'::text))
    -- The same in terms of the key: its index finds them.
    and r.id between
    case when :'text'::text ~* '^[-0-9a-f]{1,36}$' then rpad(left(replace(:'text'::text, '-', ''), 32), 32, '0')::uuid end
    and case when :'text'::text ~* '^[-0-9a-f]{1,36}$' then rpad(left(replace(:'text'::text, '-', ''), 32), 32, 'f')::uuid end
order by r.started_at desc, r.id
limit 11;
