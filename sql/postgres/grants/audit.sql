-- What audits, explain and every dry run may do, as GRANT statements
--
-- Enough for: audit, explain, forecast, repair list and show, db check, and --dry-run of every command but leads
-- import, which needs temporary tables. It reads, and writes nothing.
-- It runs nothing: read the statements, then run them (seqdev db grants audit --to ROLE --yes). The role has
-- to be there.
--
-- Parameters:
--   to      text  the role that is to have it
--   schema  text  schema of the host's tables
-- Row:
--   statement  text  the statement
--   why        text  what it is for
-- Locks: none
\if :{?to} \else \set to 'seqdev_audit' \endif
\if :{?schema} \else \set schema 'public' \endif
-- Of users no more than a name, where the host has one: an email is personal, and what people log in with.
with users_by as (
    select
        format(
            'select (%s)',
            concat_ws(
                ', ', 'id',
                (array_agg(quote_ident(a.attname) order by array_position(possible.names, a.attname::text)))[1]
            )
        ) as privilege
    from (select array['full_name', 'name', 'username'] as names) as possible
    left join pg_class as c
        on c.relname = 'users' and c.relkind in ('r', 'p') and c.relnamespace = to_regnamespace(quote_ident(:'schema'::text))
    left join pg_attribute as a
        on
            c.oid = a.attrelid
            and a.attnum > 0
            and not a.attisdropped
            and a.attname = any(possible.names)
            and a.atttypid in (select t.oid from pg_type as t where t.typcategory = 'S')
),

needed (position, schema_name, table_name, privilege, why) as (
    -- No table: the schema; no schema: the database.
    values
        (10, null, null, 'connect', 'to log in'),
        (20, :'schema'::text, null, 'usage', 'to see the host''s tables'),
        (30, 'seqdev', null, 'usage', 'to see seqdev''s own tables'),
        (40, :'schema'::text, 'users', (select u.privilege from users_by as u), 'users are found by id, or by name'),
        (50, :'schema'::text, 'user_devices', 'select', 'the devices'),
        (60, :'schema'::text, 'device_load_balance', 'select', 'devices taken out of service'),
        (70, :'schema'::text, 'sequences', 'select', 'the sequences'),
        (80, :'schema'::text, 'sequence_steps', 'select', 'their steps'),
        (90, :'schema'::text, 'leads', 'select', 'the people'),
        (100, :'schema'::text, 'sequence_contacts', 'select', 'where they stand'),
        (110, :'schema'::text, 'broadcast_messages', 'select', 'what was queued and sent'),
        (115, :'schema'::text, 'whatsapp_messages', 'select', 'who has replied, where the host keeps that'),
        (120, 'seqdev', 'run', 'select', 'who did what, when'),
        (130, 'seqdev', 'change', 'select', 'what was changed'),
        (139, 'seqdev', 'setting', 'select', 'the zone that is kept with the database'),
        (139, 'seqdev', 'rule', 'select', 'the rules that every host obeys'),
        (140, 'seqdev', 'pause', 'select', 'whether seqdev is paused'),
        (141, 'seqdev', 'blocked', 'select', 'phones that are never written to')
),

-- What the rule replies_from names, as tick/inbox.sql reads it.
named as (
    select
        n.nspname as schema_name,
        c.relname as table_name
    from seqdev.rule as r
    cross join pg_class as c
    inner join pg_namespace as n on c.relnamespace = n.oid
    where
        r.name = 'replies_from'
        and r.scope = 'all'
        and c.relkind in ('r', 'p', 'v', 'm', 'f')
        and (
            r.value = format('%I.%I', n.nspname, c.relname)
            or n.nspname = :'schema'::text and r.value in (c.relname, quote_ident(c.relname))
        )
),

wanted as (
    select *
    from needed
    union all
    select
        148,
        named.schema_name,
        null,
        'usage',
        'to see what the rule replies_from names'
    from named
    where named.schema_name not in (:'schema'::text, 'seqdev')
    union all
    select
        149,
        named.schema_name,
        named.table_name,
        'select',
        'who has replied: the rule replies_from'
    from named
)

select
    format(
        'grant %s on %s to %I',
        n.privilege,
        case
            when n.schema_name is null then format('database %I', current_database())
            when n.table_name is null then format('schema %I', n.schema_name)
            else format('table %I.%I', n.schema_name, n.table_name)
        end,
        :'to'::text
    ) as statement,
    n.why
from wanted as n
left join pg_namespace as s on n.schema_name = s.nspname
left join pg_class as t
    on s.oid = t.relnamespace and n.table_name = t.relname and (t.relkind in ('r', 'p') or n.position = 149)
where
    (n.schema_name is null or s.oid is not null)
    and (n.table_name is null or t.oid is not null)
order by n.position;
