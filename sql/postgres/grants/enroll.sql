-- What seqdev enroll and seqdev leads import may do, as GRANT statements
--
-- Enough for: enroll, leads import, db check. (leads assign and merge change what others have: repair.sql.)
-- It runs nothing: read the statements, then run them (seqdev db grants enroll --to ROLE --yes). The role has
-- to be there; without the right DELETE it keeps whatever is in the tables.
--
-- Parameters:
--   to      text  the role that is to have it
--   schema  text  schema of the host's tables
-- Row:
--   statement  text  the statement
--   why        text  what it is for
-- Locks: none
\if :{?to} \else \set to 'seqdev_enroll' \endif
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
        (40, null, null, 'temporary', 'leads import keeps a file''s lines in a temporary table'),
        (50, :'schema'::text, 'users', (select u.privilege from users_by as u), 'users are found by id, or by name'),
        (
            60, :'schema'::text, 'user_devices',
            'select (id, user_id, device_name, status, platform)',
            'which devices own leads'
        ),
        (70, :'schema'::text, 'sequences', 'select', 'which sequences are active'),
        (80, :'schema'::text, 'sequence_steps', 'select', 'which triggers enter them'),
        (
            90, :'schema'::text, 'leads',
            'select (id, user_id, device_id, phone, name, niche, trigger)',
            'whom they take'
        ),
        (100, :'schema'::text, 'leads', 'insert (user_id, device_id, phone, name, niche, trigger)', 'leads import'),
        (110, :'schema'::text, 'leads', 'update (device_id, name, niche, trigger)', 'leads import --existing update'),
        (120, :'schema'::text, 'sequence_contacts', 'select', 'who is in already'),
        (
            130, :'schema'::text, 'sequence_contacts',
            'insert (sequence_id, contact_phone, contact_name, current_step, status, current_trigger, '
            'next_trigger_time, retry_count, assigned_device_id, sequence_stepid, user_id)',
            'who is enrolled'
        ),
        (
            135, :'schema'::text, 'sequence_contacts',
            'update (id, status, next_trigger_time, assigned_device_id, completed_at, processing_device_id, '
            'processing_started_at, last_error)',
            'whose rows the host made beforehand, and who enters again'
        ),
        (
            140, :'schema'::text, 'broadcast_messages',
            'select (device_id, sequence_stepid, status, error_message, scheduled_at, sent_at, created_at)',
            'db check looks for times that lie in the future, and statuses that no rule names; the gate of devices'
        ),
        (145, :'schema'::text, 'device_load_balance', 'select (device_id, is_available)', 'the gate of devices'),
        (150, 'seqdev', 'run', 'insert', 'every run enters itself'),
        (160, 'seqdev', 'run', 'select', 'and finds itself again'),
        (170, 'seqdev', 'run', 'update (finished_at, counts, exit_code, reason)', 'at its end'),
        (174, 'seqdev', 'setting', 'select', 'the zone that is kept with the database'),
        (174, 'seqdev', 'rule', 'select', 'the rules that every host obeys'),
        (175, 'seqdev', 'pause', 'select', 'whether seqdev is paused'),
        (176, 'seqdev', 'blocked', 'select', 'phones that are never written to'),
        (180, 'seqdev', 'change', 'insert', 'who enters again is journaled'),
        (181, 'seqdev', 'change_id_seq', 'usage', 'Citus asks for the number of a change by itself')
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
from needed as n
left join pg_namespace as s on n.schema_name = s.nspname
left join pg_class as t on s.oid = t.relnamespace and n.table_name = t.relname
    and (
        t.relkind in ('r', 'p')
        -- Elsewhere the right to insert is enough.
        or t.relkind = 'S' and to_regclass('pg_catalog.pg_dist_partition') is not null
    )
where
    (n.schema_name is null or s.oid is not null)
    and (n.table_name is null or t.oid is not null)
order by n.position;
