-- What the seqdev repairs, undo, and seqdev leads assign and merge may do, as GRANT statements
--
-- Enough for: repair, contacts, block, leads assign, leads merge, and all that audit.sql is enough for.
-- It runs nothing: read the statements, then run them (seqdev db grants repair --to ROLE --yes). The role has
-- to be there; without the right DELETE it keeps whatever is in the tables, and the journal as it is.
--
-- Parameters:
--   to      text  the role that is to have it
--   schema  text  schema of the host's tables
-- Row:
--   statement  text  the statement
--   why        text  what it is for
-- Locks: none
\if :{?to} \else \set to 'seqdev_repair' \endif
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
        (
            120, :'schema'::text, 'leads', 'update (device_id, phone, trigger, name, niche)',
            'people move to another device, and their leads are merged'
        ),
        (
            130, :'schema'::text, 'sequence_contacts',
            'update (status, assigned_device_id, processing_device_id, processing_started_at, last_error,'
            ' next_trigger_time, contact_phone, sequence_stepid, current_step, current_trigger, completed_at,'
            ' id)',
            'the same, and who stands still goes on, ends, or begins anew'
        ),
        (
            135, :'schema'::text, 'broadcast_messages', 'update (device_id, status, error_message, scheduled_at)',
            'messages that no sender has begun leave a device, or are cancelled; those that failed come back'
        ),
        (140, 'seqdev', 'run', 'insert', 'every run enters itself'),
        (150, 'seqdev', 'run', 'select', 'and finds itself again'),
        (160, 'seqdev', 'run', 'update (finished_at, counts, exit_code, reason)', 'at its end'),
        (164, 'seqdev', 'setting', 'select', 'the zone that is kept with the database'),
        (164, 'seqdev', 'rule', 'select', 'the rules that every host obeys'),
        (165, 'seqdev', 'pause', 'select', 'whether seqdev is paused'),
        (166, 'seqdev', 'pause', 'insert', 'to pause'),
        (167, 'seqdev', 'pause', 'update (resumed_at, resumed_by)', 'to go on'),
        (168, 'seqdev', 'blocked', 'select', 'phones that are never written to'),
        (169, 'seqdev', 'blocked', 'insert', 'to block a phone'),
        (169, 'seqdev', 'blocked', 'update (since, why, blocked_by)', 'to block it again, or no longer'),
        (168, 'seqdev', 'rule', 'insert', 'rules are set'),
        (169, 'seqdev', 'rule', 'update (value)', 'and changed'),
        (170, 'seqdev', 'change', 'select', 'what to undo'),
        (180, 'seqdev', 'change', 'insert', 'the journal: old and new value of every change'),
        (181, 'seqdev', 'change_id_seq', 'usage', 'Citus asks for the number of a change by itself')
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
            when t.relkind = 'S' then format('sequence %I.%I', n.schema_name, n.table_name)
            else format('table %I.%I', n.schema_name, n.table_name)
        end,
        :'to'::text
    ) as statement,
    n.why
from wanted as n
left join pg_namespace as s on n.schema_name = s.nspname
left join pg_class as t
    on s.oid = t.relnamespace and n.table_name = t.relname and (
        t.relkind in ('r', 'p')
        or n.position = 149
        -- Elsewhere the right to insert is enough.
        or t.relkind = 'S' and to_regclass('pg_catalog.pg_dist_partition') is not null
    )
where
    (n.schema_name is null or s.oid is not null)
    and (n.table_name is null or t.oid is not null)
order by n.position;
