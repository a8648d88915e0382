-- Which functions of these names may do more than read
--
-- A transaction that is read-only still lets them: write through another connection or to files, take locks, notify.
--
-- Parameters:
--   schemas  text[]  the schema that is named with each function; empty: none is
--   names    text[]  the functions, as the server writes their names
-- Row:
--   name  text  a function that is neither STABLE nor IMMUTABLE
-- Locks: none
\if :{?schemas} \else \set schemas '{}' \endif
\if :{?names} \else \set names '{}' \endif
select distinct p.proname::text as name
from unnest(:'schemas'::text [], :'names'::text []) as called (schema_name, name)
inner join pg_proc as p on called.name = p.proname
inner join pg_namespace as n on p.pronamespace = n.oid
where
    p.provolatile = 'v'
    and case called.schema_name when '' then pg_function_is_visible(p.oid) else called.schema_name = n.nspname end
order by name;
