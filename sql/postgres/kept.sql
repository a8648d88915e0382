-- Which tables of what is kept with the database can be read
--
-- Asked of the catalogues: a statement that names a table which is not there fails as a whole.
-- A view of such a name is none of seqdev's, and to read it would run its code.
--
-- Row:
--   zone     boolean  whether sql/postgres/zone.sql can run: there is a table of settings, and this role may read it
--   rules    boolean  whether there is a table of rules; a role that may not read it must not decide without them
--   blocked  boolean  whether sql/gates/blocked.sql can run: what only reads takes the list to be empty where it cannot
--   citus    boolean  whether the database has the extension Citus, so that sql/postgres/distributed.sql can run
-- Locks: none
select
    coalesce(bool_or(own.name = 'setting' and own.is_readable), false) as zone,
    coalesce(bool_or(own.name = 'rule'), false) as rules,
    coalesce(bool_or(own.name = 'blocked' and own.is_readable), false) as blocked,
    to_regclass('pg_catalog.pg_dist_partition') is not null as citus
from (
    select
        c.relname as name,
        has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select') as is_readable
    from pg_catalog.pg_class as c
    inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
    where n.nspname = 'seqdev' and c.relname in ('setting', 'rule', 'blocked') and c.relkind in ('r', 'p')
) as own;
