-- What seqdev db upgrade and db init need, as GRANT statements
--
-- Enough for: db check, upgrade and init. Only the owner of a table can add columns and indexes, so that the
-- role becomes a member of the roles that own the host's tables. Through them it can do whatever they can:
-- give it to the person who upgrades, and to no job. Never to a superuser's tables: that would make the role
-- one, so that their upgrade is the superuser's to run.
-- It runs nothing: read the statements, then run them (seqdev db grants owner --to ROLE --yes). The role has
-- to be there.
--
-- Parameters:
--   to      text  the role that is to have it
--   schema  text  schema of the host's tables
-- Row:
--   statement  text  the statement; null where there is none that should be run
--   why        text  what it is for
-- Locks: none
\if :{?to} \else \set to 'seqdev_owner' \endif
\if :{?schema} \else \set schema 'public' \endif
with table_owner as (
    select
        r.rolname,
        r.rolsuper,
        string_agg(format('%I.%I', s.nspname, t.relname), ', ' order by s.nspname, t.relname) as owned
    from pg_class as t
    inner join pg_namespace as s on t.relnamespace = s.oid
    inner join pg_roles as r on t.relowner = r.oid
    where
        t.relkind in ('r', 'p')
        and r.rolname <> :'to'::text
        and (
            s.nspname = 'seqdev'
            or s.nspname = :'schema'::text and t.relname in (
                'users', 'user_devices', 'leads', 'sequences', 'sequence_steps', 'sequence_contacts',
                'broadcast_messages', 'device_load_balance'
            )
        )
    group by r.rolname, r.rolsuper
)

select
    format('grant connect, create on database %I to %I', current_database(), :'to'::text) as statement,
    'to log in, and to make the schema seqdev' as why
union all
select
    format('grant usage, create on schema %I to %I', s.nspname, :'to'::text) as statement,
    'to make tables and indexes in it' as why
from pg_namespace as s
inner join pg_roles as r on s.nspowner = r.oid
-- Whoever can make tables in a superuser's schema seqdev could have code run as the superuser: db check refuses it.
where s.nspname = :'schema'::text or s.nspname = 'seqdev' and not r.rolsuper
union all
select
    case when not o.rolsuper then format('grant %I to %I', o.rolname, :'to'::text) end as statement,
    case when o.rolsuper then 'not granted, because a superuser owns them: ' else 'to alter ' end || o.owned as why
from table_owner as o;
