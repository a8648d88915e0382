-- What seqdev tick may do, as GRANT statements
--
-- Enough for: tick, db check. The contents of messages are written, and never read.
-- It runs nothing: read the statements, then run them (seqdev db grants tick --to ROLE --yes). The role has to
-- be there; without the right DELETE it keeps whatever is in the tables.
--
-- Parameters:
--   to      text  the role that is to have it
--   schema  text  schema of the host's tables
-- Row:
--   statement  text  the statement
--   why        text  what it is for
-- Locks: none
\if :{?to} \else \set to 'seqdev_tick' \endif
\if :{?schema} \else \set schema 'public' \endif
with needed (position, schema_name, table_name, privilege, why) as (
    -- No table: the schema; no schema: the database.
    values
        (10, null, null, 'connect', 'to log in'),
        (20, :'schema'::text, null, 'usage', 'to see the host''s tables'),
        (30, 'seqdev', null, 'usage', 'to see seqdev''s own tables'),
        (
            40, :'schema'::text, 'user_devices',
            'select (id, user_id, device_name, status, platform)',
            'which devices are available'
        ),
        (41, :'schema'::text, 'user_devices', 'select (last_seen)', 'the rule grace: since when a device is away'),
        (50, :'schema'::text, 'device_load_balance', 'select', 'devices taken out of service'),
        (60, :'schema'::text, 'sequences', 'select', 'which sequences are active'),
        (70, :'schema'::text, 'sequence_steps', 'select', 'what to send'),
        (
            80, :'schema'::text, 'leads',
            'select (id, user_id, device_id, phone, trigger)',
            'the device of people without an assigned one'
        ),
        (90, :'schema'::text, 'leads', 'update (trigger)', 'who has done a sequence leaves it, or enters the next'),
        (100, :'schema'::text, 'sequence_contacts', 'select', 'who is due'),
        (
            110, :'schema'::text, 'sequence_contacts',
            'insert (id, sequence_id, contact_phone, contact_name, current_step, status, current_trigger, '
            'next_trigger_time, retry_count, assigned_device_id, sequence_stepid, user_id)',
            'the next step''s row'
        ),
        (
            120, :'schema'::text, 'sequence_contacts',
            'update (status, completed_at, next_trigger_time, assigned_device_id, processing_device_id, '
            'processing_started_at, last_error, retry_count)',
            'claims, next steps made beforehand, failed sends, reasons to wait'
        ),
        (
            130, :'schema'::text, 'broadcast_messages',
            'select (id, user_id, device_id, sequence_id, sequence_stepid, recipient_phone, status, '
            'error_message, scheduled_at, sent_at, created_at)',
            'what devices have sent, and what failed'
        ),
        (
            140, :'schema'::text, 'broadcast_messages',
            'insert (id, user_id, device_id, sequence_id, sequence_stepid, recipient_phone, recipient_name, '
            'message_type, content, media_url, status, scheduled_at, created_at)',
            'the messages'
        ),
        (
            145, :'schema'::text, 'broadcast_messages', 'update (status, error_message)',
            'what waits in the queue for people who have replied is taken back'
        ),
        (
            145, :'schema'::text, 'broadcast_messages',
            'select (min_delay_seconds, max_delay_seconds), update (min_delay_seconds, max_delay_seconds)',
            'the rule host_columns hands the delays of steps to their messages'
        ),
        (146, :'schema'::text, 'whatsapp_messages', 'select', 'who has replied, where the host keeps that'),
        (150, 'seqdev', 'run', 'insert', 'every run enters itself'),
        (160, 'seqdev', 'run', 'select', 'and finds itself again'),
        (170, 'seqdev', 'run', 'update (finished_at, counts, exit_code, reason)', 'at its end'),
        (174, 'seqdev', 'setting', 'select', 'the zone that is kept with the database'),
        (174, 'seqdev', 'rule', 'select', 'the rules that every host obeys'),
        (175, 'seqdev', 'pause', 'select', 'whether seqdev is paused'),
        (176, 'seqdev', 'blocked', 'select', 'phones that are never written to'),
        (180, 'seqdev', 'change', 'insert', 'policy reassign journals whom it assigns anew'),
        (181, 'seqdev', 'change_id_seq', 'usage', 'Citus asks for the number of a change by itself'),
        (190, 'seqdev', 'change', 'select', 'the rule return_home: whom it has moved; who has replied, and was brought back')
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
    -- Some hosts have no such column.
    and not exists (
        select 1
        from unnest('{last_seen,min_delay_seconds,max_delay_seconds}'::text []) as optional (name)
        where
            n.privilege ~ ('[(]([a-z_]+, )*' || optional.name || '[,)]')
            and n.position in (41, 145)
            and not exists (
                select 1
                from pg_attribute as a
                where a.attrelid = t.oid and a.attname = optional.name and not a.attisdropped
            )
    )
order by n.position;
