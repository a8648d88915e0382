-- Who could put code where seqdev would run it: in its own schema, which somebody may have made before
--
-- Whoever writes to a table runs its triggers, and does so with his own rights. Trusted is who can put code there anyway:
-- superusers, the owners of the database and of the host's tables, whoever can act as one of these, and the role itself.
-- seqdev has no triggers, rules or functions of its own.
--
-- Parameters:
--   schema  text  schema of the host's tables
-- Row:
--   item    text  what is looked at: the schema, a table, a function or a trigger in it
--   status  text  wrong
--   why     text  whose it is, or who can change it, and what to do
--   remedy  text  none: a person has to look at it
--   mode    text  none
-- Locks: none
\if :{?schema} \else \set schema 'public' \endif
with trusted (role) as (
    select c.relowner
    from pg_class as c
    inner join pg_namespace as n on c.relnamespace = n.oid
    where
        n.nspname = :'schema'::text
        and c.relkind in ('r', 'p')
        and c.relname in (
            'users', 'user_devices', 'leads', 'sequences', 'sequence_steps', 'sequence_contacts', 'broadcast_messages',
            'device_load_balance'
        )
    union
    select d.datdba
    from pg_database as d
    where d.datname = current_database()
    union
    select r.oid
    from pg_roles as r
    where r.rolname in (current_user, 'pg_database_owner')
),

own_relation as (
    select
        c.oid,
        c.relkind,
        c.relowner,
        c.relacl,
        format('seqdev.%I', c.relname) as item
    from pg_class as c
    inner join pg_namespace as n on c.relnamespace = n.oid
    where n.nspname = 'seqdev' and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
),

hand (item, role, can) as (
    select
        'schema seqdev',
        n.nspowner,
        'owns it'
    from pg_namespace as n
    where n.nspname = 'seqdev'
    union all
    select
        'schema seqdev',
        a.grantee,
        'can make tables in it'
    from pg_namespace as n
    cross join lateral aclexplode(n.nspacl) as a
    where n.nspname = 'seqdev' and a.privilege_type = 'CREATE'
    union all
    select
        o.item,
        o.relowner,
        'owns it'
    from own_relation as o
    union all
    select
        o.item,
        a.grantee,
        'can make triggers on it'
    from own_relation as o
    cross join lateral aclexplode(o.relacl) as a
    where a.privilege_type = 'TRIGGER'
    union all
    select
        format('function seqdev.%I', p.proname),
        p.proowner,
        'owns it'
    from pg_proc as p
    inner join pg_namespace as n on p.pronamespace = n.oid
    where n.nspname = 'seqdev'
),

-- What of a table's can have an expression, and so code.
part as (
    select
        o.item,
        'pg_attrdef'::regclass as kind,
        a.oid
    from own_relation as o
    inner join pg_attrdef as a on o.oid = a.adrelid
    union all
    select
        o.item,
        'pg_constraint'::regclass,
        c.oid
    from own_relation as o
    inner join pg_constraint as c on o.oid = c.conrelid
    union all
    select
        o.item,
        'pg_class'::regclass,
        i.indexrelid
    from own_relation as o
    inner join pg_index as i on o.oid = i.indrelid
    union all
    select
        o.item,
        'pg_class'::regclass,
        o.oid
    from own_relation as o
),

finding (item, why) as (
    select
        h.item,
        coalesce(quote_ident(r.rolname), 'everybody') || ' ' || h.can
        || ', and could have code run as whoever uses seqdev: look at all that is in the schema before you take it over'
        || case when h.can = 'owns it' then ' (owner to ...)' else ' (revoke ...)' end
        || ', or drop it where no journal is to be kept'
    from hand as h
    left join pg_roles as r on h.role = r.oid
    where not exists (select from trusted as t where h.role <> 0 and pg_has_role(h.role, t.role, 'member'))
    union all
    select
        o.item,
        'it is no table, and seqdev would keep its journal there: drop it'
    from own_relation as o
    where
        o.item in (
            'seqdev.run', 'seqdev.change', 'seqdev.pause', 'seqdev.setting', 'seqdev.blocked', 'seqdev.rule'
        )
        and o.relkind not in ('r', 'p')
    union all
    select
        format('trigger %I on %s', g.tgname, o.item),
        'it is not seqdev''s, and runs as whoever uses seqdev: see what it does, and drop it'
    from own_relation as o
    inner join pg_trigger as g on o.oid = g.tgrelid
    where not g.tgisinternal
    union all
    select
        format('rule %I on %s', w.rulename, o.item),
        'it is not seqdev''s, and runs as whoever uses seqdev: see what it does, and drop it'
    from own_relation as o
    inner join pg_rewrite as w on o.oid = w.ev_class
    where o.relkind in ('r', 'p')
    union all
    select distinct
        p.item,
        'a default, constraint or index of it runs ' || pg_describe_object(d.refclassid, d.refobjid, 0)
        || ', which is not seqdev''s: see what it does, and take it off'
    from part as p
    -- What the server itself brings is not in there.
    inner join pg_depend as d on p.kind = d.classid and p.oid = d.objid
    where d.refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass)
)

select
    f.item::text as item,
    'wrong'::text as status,
    f.why::text as why,
    null::text as remedy,
    null::text as mode
from finding as f
order by f.item, f.why;
