-- Triggers of the host's that could leave something behind when a probe is rolled back
--
-- A rollback takes back what a trigger writes to this database, its NOTIFYs too. It does not take back what a function
-- does outside: through dblink or HTTP, with a program, or in a language that may do anything. What other functions
-- do that a trigger calls is not looked at.
--
-- Parameters:
--   schema  text  schema of the host's tables
-- Row:
--   table_name     text  its table
--   trigger_name   text  the trigger
--   function_name  text  the function that it runs
-- Locks: none
\if :{?schema} \else \set schema 'public' \endif
select
    c.relname::text as table_name,
    t.tgname::text as trigger_name,
    p.proname::text as function_name
from pg_trigger as t
inner join pg_class as c on t.tgrelid = c.oid
inner join pg_namespace as n on c.relnamespace = n.oid
inner join pg_proc as p on t.tgfoid = p.oid
inner join pg_language as l on p.prolang = l.oid
where
    n.nspname = :'schema'::text
    and c.relname in ('leads', 'sequence_contacts', 'broadcast_messages')
    and not t.tgisinternal
    and t.tgenabled <> 'D'
    and (
        l.lanname <> 'internal' and not l.lanpltrusted
        or p.prosrc ~* '\m((dblink|http|pg_background)\w*|lo_export|pg_file_write)\s*\(|\mcopy\M.*\mprogram\M'
    )
order by c.relname, t.tgname;
