-- Roles that ticks run as, and that may not read a table or view
--
-- Such a role enters runs in the journal and messages in the queue; see postgres/grants/tick.sql.
--
-- Parameters:
--   named  text  the table or view with its schema, as tick/inbox.sql has it
-- Row:
--   role   text  the role
--   remedy text  statements that give it the right
-- Locks: none
\if :{?named} \else \set named 'public.broadcast_messages' \endif
select
    r.rolname::text as role,
    case
        when not has_schema_privilege(r.oid, n.oid, 'usage')
            then format('grant usage on schema %I to %I; ', n.nspname, r.rolname)
        else ''
    end || format('grant select on %I.%I to %I', n.nspname, c.relname, r.rolname) as remedy
from pg_roles as r
cross join pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
where
    format('%I.%I', n.nspname, c.relname) = :'named'::text
    and r.rolname !~ '^pg_'
    and has_schema_privilege(r.oid, 'seqdev', 'usage')
    and has_table_privilege(r.oid, 'seqdev.run', 'insert')
    and has_any_column_privilege(r.oid, 'broadcast_messages', 'insert')
    and not (has_schema_privilege(r.oid, n.oid, 'usage') and has_table_privilege(r.oid, c.oid, 'select'))
order by r.rolname;
