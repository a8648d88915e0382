-- What the role may not do of what the upgrade would do
--
-- Parameters:
--   remedies  text[]  the statements of the plan
-- Row:
--   may_not  text  what it may not do, and who owns what it is about
-- Locks: none
\if :{?remedies} \else \set remedies '{}' \endif
with statement (words) as (
    select r.words || ' ' from unnest(:'remedies'::text []) as r (words)
),

relation as (
    select
        c.relowner,
        n.oid as schema_oid,
        n.nspname,
        format(' %I.%I ', n.nspname, c.relname) as words
    from pg_class as c
    inner join pg_namespace as n on c.relnamespace = n.oid
    where c.relkind in ('r', 'p', 'i', 'I')
)

select distinct lack.may_not
from (
    select 'alter' || r.words || 'of ' || quote_ident(pg_get_userbyid(r.relowner))
    from relation as r
    where
        not pg_has_role(r.relowner, 'usage')
        and exists (select from statement as s where position(r.words in s.words) > 0)
    union all
    select format('create anything in schema %I of %I', n.nspname, pg_get_userbyid(n.nspowner))
    from pg_namespace as n
    where
        not has_schema_privilege(n.oid, 'create')
        and exists (
            select from statement as s
            where s.words like 'create %' and position(format(' %I.', n.nspname) in s.words) > 0
        )
    union all
    select 'update ' || c.oid::regclass::text || ' of ' || quote_ident(pg_get_userbyid(c.relowner))
    from pg_class as c
    where
        c.oid = to_regclass('sequence_contacts')
        and not has_any_column_privilege(c.oid, 'update')
        and exists (select from statement as s where s.words like 'fill %')
    union all
    select format('create a schema in database %I', current_database())
    where
        not has_database_privilege(current_database(), 'create')
        and exists (select from statement as s where s.words like 'create schema %')
) as lack (may_not)
order by lack.may_not;
