-- Whether there is a table of what is kept with the database, and this role may read it
--
-- Asked of the catalogues: a statement that names a table which is not there fails as a whole.
-- A view of that name is none of seqdev's, and to read it would run its code.
--
-- Row:
--   readable  boolean  whether sql/postgres/zone.sql can run
-- Locks: none
select count(*) > 0 as readable
from pg_catalog.pg_class as c
inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
where
    n.nspname = 'seqdev'
    and c.relname = 'setting'
    and c.relkind in ('r', 'p')
    and has_schema_privilege(n.oid, 'usage')
    and has_table_privilege(c.oid, 'select');
