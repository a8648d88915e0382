-- Which of the host's tables are missing, or are another application's: then this may be the wrong database
--
-- No row where all tables are there: what they lack besides, postgres/check.sql says.
--
-- Parameters:
--   schema  text  schema of the host's tables
-- Row:
--   lacks         text     the tables that are missing, and those whose key is of another kind
--   others        integer  tables and views in that schema, whosever
--   schema_there  boolean  whether there is such a schema
-- Locks: none
\if :{?schema} \else \set schema 'public' \endif
select
    string_agg(
        case
            when c.oid is null then needed.table_name
            else needed.table_name || ' (its id is ' || coalesce(format_type(a.atttypid, null), 'missing') || ', not uuid)'
        end, ', ' order by needed.position
    ) filter (where c.oid is null or a.atttypid is distinct from 'uuid'::regtype) as lacks,
    (
        select count(*)
        from pg_catalog.pg_class as other
        inner join pg_catalog.pg_namespace as its on other.relnamespace = its.oid
        where its.nspname = :'schema'::text and other.relkind in ('r', 'p', 'v', 'm', 'f')
    )::integer as others,
    bool_or(n.oid is not null) as schema_there
from (
    values
        (1, 'users'),
        (2, 'user_devices'),
        (3, 'leads'),
        (4, 'sequences'),
        (5, 'sequence_steps'),
        (6, 'sequence_contacts'),
        (7, 'broadcast_messages')
) as needed (position, table_name)
left join pg_catalog.pg_namespace as n on n.nspname = :'schema'::text
left join pg_catalog.pg_class as c on n.oid = c.relnamespace and needed.table_name = c.relname and c.relkind in ('r', 'p')
left join pg_catalog.pg_attribute as a on c.oid = a.attrelid and a.attname = 'id' and not a.attisdropped
having count(c.oid) < count(*);
