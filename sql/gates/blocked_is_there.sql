-- Whether there is a table of the phones that are never written to, and this role may read it
--
-- Asked by what only reads, which also works before the upgrade. A view of that name is none of seqdev's, and to read it
-- would run its code.
--
-- Row:
--   readable  boolean  whether sql/gates/blocked.sql can run
-- Locks: none
select count(*) > 0 as readable
from pg_catalog.pg_class as c
inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
where
    n.nspname = 'seqdev'
    and c.relname = 'blocked'
    and c.relkind in ('r', 'p')
    and has_schema_privilege(n.oid, 'usage')
    and has_table_privilege(c.oid, 'select');
