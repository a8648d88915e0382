-- What seqdev needs of this database, what is there, and what the upgrade would do
--
-- Reads the catalogues only, so that it runs on any database, with or without the host's tables. It judges all
-- that a command needs before it writes, which each of them asks. What only makes seqdev quick, the indexes, it
-- names: seqdev db check reads those that are there, and compares.
--
-- Parameters:
--   schema       text     schema of the host's tables
--   distributed  boolean  Citus has spread the tables over its nodes: a key has to hold the phone that decides where
-- Row:
--   item          text     what is looked at: table, table.column, key or index
--   status        text     ok, missing, wrong (required, and not there) or advised (works without, but slowly)
--   why           text     why seqdev needs it
--   remedy        text     the statement that the upgrade would run; null where a person has to decide
--   mode          text     how it runs: transaction, autocommit, repeat (until it touches no more rows)
--   schema_name   text     of a key or index: the schema of its table
--   table_name    text     the same: its table
--   index_name    text     the name by which seqdev makes it; null where it makes none
--   column_names  text[]   its columns, of an index in their order
--   predicate     text     which rows it has; null: all
--   unmake        text     the statement that takes away what has its name and is something else
--   building      boolean  another session is making it now
-- Locks: none
\if :{?schema} \else \set schema 'public' \endif
\if :{?distributed} \else \set distributed 'false' \endif
with column_needed (position, schema_name, table_name, column_name, kind, definition, why) as (
    select
        needed.position,
        coalesce(needed.schema_name, :'schema'::text) as schema_name,
        needed.table_name,
        needed.column_name,
        needed.kind,
        needed.definition,
        needed.why
    from (
        -- No definition: without that column it is not the host's table, and nothing can be added for it.
        values
            (101, null, 'users', 'id', 'uuid', null, 'owners of everything'),
            (111, null, 'user_devices', 'id', 'uuid', null, 'the sending numbers'),
            (112, null, 'user_devices', 'user_id', 'uuid', null, 'a device never serves another user'),
            (113, null, 'user_devices', 'device_name', 'text', null, 'devices are named by it'),
            (114, null, 'user_devices', 'status', 'text', null, 'which devices are online'),
            (115, null, 'user_devices', 'platform', 'text', 'varchar(255)', 'which devices are always online'),
            (121, null, 'leads', 'id', 'uuid', null, 'the people'),
            (122, null, 'leads', 'user_id', 'uuid', null, 'a phone may belong to two users'),
            (123, null, 'leads', 'device_id', 'uuid', 'uuid', 'the device that owns the person'),
            (124, null, 'leads', 'name', 'text', 'text', 'the name written to the queue'),
            (125, null, 'leads', 'phone', 'text', null, 'whom to write to'),
            (126, null, 'leads', 'niche', 'text', 'text', 'leads import fills it'),
            (127, null, 'leads', 'trigger', 'text', 'varchar(1000)', 'which sequences a lead enters'),
            (131, null, 'sequences', 'id', 'uuid', null, 'the sequences'),
            (132, null, 'sequences', 'user_id', 'uuid', null, 'a sequence takes leads of its user only'),
            (133, null, 'sequences', 'name', 'text', null, 'sequences are named by it'),
            (134, null, 'sequences', 'status', 'text', null, 'whether a sequence is active'),
            (135, null, 'sequences', 'is_active', 'boolean', null, 'whether a sequence is active'),
            (141, null, 'sequence_steps', 'id', 'uuid', null, 'the steps'),
            (142, null, 'sequence_steps', 'sequence_id', 'uuid', null, 'the steps of a sequence'),
            (143, null, 'sequence_steps', 'day_number', 'integer', null, 'the lowest day is the entry step'),
            (144, null, 'sequence_steps', 'trigger', 'text', null, 'the name of a step'),
            (145, null, 'sequence_steps', 'next_trigger', 'text', null, 'the step that follows'),
            (146, null, 'sequence_steps', 'trigger_delay_hours', 'integer', null, 'when a step is due'),
            (147, null, 'sequence_steps', 'is_entry_point', 'boolean', null, 'where people enter'),
            (148, null, 'sequence_steps', 'message_type', 'text', 'varchar(50)', 'the message'),
            (149, null, 'sequence_steps', 'content', 'text', null, 'the message'),
            (150, null, 'sequence_steps', 'media_url', 'text', 'text', 'the message'),
            (161, null, 'sequence_contacts', 'id', 'uuid', null, 'the message id is derived from it'),
            (162, null, 'sequence_contacts', 'sequence_id', 'uuid', null, 'where a person stands'),
            (163, null, 'sequence_contacts', 'contact_phone', 'text', null, 'where a person stands'),
            (164, null, 'sequence_contacts', 'contact_name', 'text', 'varchar(255)', 'the recipient''s name'),
            (165, null, 'sequence_contacts', 'current_step', 'integer', 'integer', 'the day of the step'),
            (166, null, 'sequence_contacts', 'status', 'text', null, 'whether a step is due or done'),
            (167, null, 'sequence_contacts', 'completed_at', 'instant', 'instant', 'when a step was done'),
            (168, null, 'sequence_contacts', 'current_trigger', 'text', 'varchar(255)', 'the step by name'),
            (169, null, 'sequence_contacts', 'next_trigger_time', 'instant', null, 'when a step is due'),
            (170, null, 'sequence_contacts', 'processing_device_id', 'uuid', 'uuid', 'claims of processors'),
            (171, null, 'sequence_contacts', 'processing_started_at', 'instant', 'instant', 'age of a claim'),
            (172, null, 'sequence_contacts', 'last_error', 'text', 'text', 'why a step failed or ended'),
            (173, null, 'sequence_contacts', 'retry_count', 'integer', 'integer default 0', 'failed sends'),
            (174, null, 'sequence_contacts', 'assigned_device_id', 'uuid', 'uuid', 'who must write to them'),
            (175, null, 'sequence_contacts', 'sequence_stepid', 'uuid', 'uuid', 'one row per person and step'),
            (176, null, 'sequence_contacts', 'user_id', 'uuid', 'uuid', 'whose contact it is'),
            (181, null, 'broadcast_messages', 'id', 'uuid', null, 'one message per contact and step'),
            (182, null, 'broadcast_messages', 'user_id', 'uuid', null, 'whose message it is'),
            (183, null, 'broadcast_messages', 'device_id', 'uuid', null, 'the device that sends'),
            (184, null, 'broadcast_messages', 'sequence_id', 'uuid', 'uuid', 'where a message comes from'),
            (185, null, 'broadcast_messages', 'sequence_stepid', 'uuid', 'uuid', 'where it comes from'),
            (186, null, 'broadcast_messages', 'recipient_phone', 'text', null, 'the message'),
            (187, null, 'broadcast_messages', 'recipient_name', 'text', 'varchar(255)', 'the message'),
            (188, null, 'broadcast_messages', 'message_type', 'text', null, 'the message'),
            (189, null, 'broadcast_messages', 'content', 'text', null, 'the message'),
            (190, null, 'broadcast_messages', 'media_url', 'text', 'text', 'the message'),
            (191, null, 'broadcast_messages', 'status', 'text', null, 'what the worker did with it'),
            (192, null, 'broadcast_messages', 'error_message', 'text', 'text', 'why a send failed'),
            (193, null, 'broadcast_messages', 'scheduled_at', 'instant', 'instant', 'when to send'),
            (194, null, 'broadcast_messages', 'sent_at', 'instant', 'instant', 'the limits an hour and a day'),
            (195, null, 'broadcast_messages', 'created_at', 'instant', 'instant', 'age of a message'),
            (201, null, 'device_load_balance', 'device_id', 'uuid', null, 'devices taken out of service'),
            (202, null, 'device_load_balance', 'is_available', 'boolean', 'boolean default true', 'the same'),
            (211, 'seqdev', 'run', 'id', 'uuid', null, 'the journal of runs'),
            (212, 'seqdev', 'run', 'command', 'text', 'text', 'the journal of runs'),
            (213, 'seqdev', 'run', 'started_at', 'instant', 'timestamptz', 'the journal of runs'),
            (214, 'seqdev', 'run', 'finished_at', 'instant', 'timestamptz', 'the journal of runs'),
            (215, 'seqdev', 'run', 'counts', 'jsonb', 'jsonb', 'the journal of runs'),
            (216, 'seqdev', 'run', 'version', 'text', 'text', 'the journal of runs'),
            (217, 'seqdev', 'run', 'arguments', 'text', 'text', 'the journal of runs: what was asked for'),
            (217, 'seqdev', 'run', 'os_user', 'text', 'text', 'the journal of runs: who'),
            (217, 'seqdev', 'run', 'database_user', 'text', 'text', 'the journal of runs: who'),
            (217, 'seqdev', 'run', 'host', 'text', 'text', 'the journal of runs: where'),
            (217, 'seqdev', 'run', 'pid', 'integer', 'integer', 'the journal of runs: where'),
            (217, 'seqdev', 'run', 'session', 'text', 'text', 'whether a run is still at it'),
            (217, 'seqdev', 'run', 'backend_pid', 'integer', 'integer', 'whether a run is still at it'),
            (217, 'seqdev', 'run', 'why', 'text', 'text', 'the journal of runs: what for'),
            (217, 'seqdev', 'run', 'exit_code', 'integer', 'integer', 'the journal of runs: how it ended'),
            (217, 'seqdev', 'run', 'reason', 'text', 'text', 'the journal of runs: why it ended'),
            (221, 'seqdev', 'change', 'id', 'integer', null, 'the journal of changes'),
            (222, 'seqdev', 'change', 'run_id', 'uuid', null, 'the journal of changes'),
            (223, 'seqdev', 'change', 'table_name', 'text', null, 'the journal of changes'),
            (224, 'seqdev', 'change', 'row_id', 'uuid', null, 'the journal of changes'),
            (225, 'seqdev', 'change', 'column_name', 'text', null, 'the journal of changes'),
            (226, 'seqdev', 'change', 'old_value', 'text', null, 'the journal of changes'),
            (227, 'seqdev', 'change', 'new_value', 'text', null, 'the journal of changes'),
            (228, 'seqdev', 'change', 'changed_at', 'instant', null, 'the journal of changes'),
            (229, 'seqdev', 'setting', 'name', 'text', null, 'what is kept with the database: the zone'),
            (229, 'seqdev', 'setting', 'value', 'text', null, 'what is kept with the database'),
            (229, 'seqdev', 'setting', 'set_at', 'instant', null, 'what is kept with the database'),
            (229, 'seqdev', 'setting', 'set_by', 'text', null, 'what is kept with the database'),
            (230, 'seqdev', 'rule', 'id', 'uuid', null, 'the rules that every host obeys'),
            (230, 'seqdev', 'rule', 'name', 'text', null, 'the rules that every host obeys'),
            (230, 'seqdev', 'rule', 'scope', 'text', null, 'for whom a rule holds'),
            (230, 'seqdev', 'rule', 'scope_id', 'uuid', null, 'for whom a rule holds'),
            (230, 'seqdev', 'rule', 'value', 'text', null, 'the rules that every host obeys'),
            (231, 'seqdev', 'pause', 'paused_at', 'instant', null, 'the pause switch'),
            (232, 'seqdev', 'pause', 'os_user', 'text', null, 'the pause switch'),
            (233, 'seqdev', 'pause', 'host', 'text', null, 'the pause switch'),
            (234, 'seqdev', 'pause', 'database_user', 'text', null, 'the pause switch'),
            (235, 'seqdev', 'pause', 'why', 'text', null, 'the pause switch'),
            (236, 'seqdev', 'pause', 'resumed_at', 'instant', null, 'the pause switch'),
            (237, 'seqdev', 'pause', 'resumed_by', 'text', null, 'the pause switch'),
            (241, 'seqdev', 'blocked', 'id', 'uuid', null, 'phones that are never written to'),
            (242, 'seqdev', 'blocked', 'digits', 'text', null, 'phones that are never written to'),
            (243, 'seqdev', 'blocked', 'user_id', 'uuid', null, 'whose people a phone is blocked for'),
            (244, 'seqdev', 'blocked', 'since', 'instant', null, 'since when a phone is blocked'),
            (245, 'seqdev', 'blocked', 'why', 'text', null, 'why a phone is blocked'),
            (246, 'seqdev', 'blocked', 'blocked_by', 'text', null, 'who has blocked a phone')
    ) as needed (position, schema_name, table_name, column_name, kind, definition, why)
),

table_made (position, schema_name, table_name, definition) as (
    -- The tables that an upgrade makes where they are missing.
    values
        (
            200, :'schema'::text, 'device_load_balance',
            '(device_id uuid primary key, messages_hour integer default 0, messages_today integer default 0,'
            ' last_reset_hour timestamp, last_reset_day timestamp, is_available boolean default true)'
        ),
        (
            211, 'seqdev', 'run',
            '(id uuid primary key, command text not null, started_at timestamptz not null,'
            ' finished_at timestamptz, counts jsonb, version text not null, arguments text, os_user text,'
            ' database_user text, host text, pid integer, session text, backend_pid integer, exit_code integer,'
            ' reason text, why text)'
        ),
        (
            221, 'seqdev', 'change',
            '(id bigint generated always as identity primary key, run_id uuid not null,'
            ' table_name text not null, row_id uuid not null, column_name text not null,'
            ' old_value text, new_value text, changed_at timestamptz not null)'
        ),
        (
            229, 'seqdev', 'setting',
            '(name text primary key, value text not null, set_at timestamptz not null, set_by text not null)'
        ),
        (
            230, 'seqdev', 'rule',
            -- The id: sql/rules/set.sql makes it of the three that follow. No value: the rule is not set.
            '(id uuid primary key, name text not null,'
            ' scope text not null check (scope in (''all'', ''user'', ''sequence'', ''device'')),'
            ' scope_id uuid check ((scope_id is null) = (scope = ''all'')), value text)'
        ),
        (
            231, 'seqdev', 'pause',
            -- The exclusion: at most one pause is not lifted.
            '(paused_at timestamptz primary key, os_user text not null, host text not null,'
            ' database_user text not null, why text not null, resumed_at timestamptz, resumed_by text,'
            ' exclude ((true) with =) where (resumed_at is null))'
        ),
        (
            241, 'seqdev', 'blocked',
            -- No user: everybody's. No since: not blocked now; the row stays. Once a phone and user.
            '(id uuid primary key, digits text not null, user_id uuid, since timestamptz, why text, blocked_by text,'
            ' exclude (digits with =, (coalesce(user_id, ''00000000-0000-0000-0000-000000000000'')) with =))'
        )
),

relation as (
    select
        n.nspname as schema_name,
        c.relname as table_name,
        c.oid,
        c.relkind = 'p' as is_partitioned
    from pg_class as c
    inner join pg_namespace as n on c.relnamespace = n.oid
    where c.relkind in ('r', 'p') and n.nspname in (:'schema'::text, 'seqdev')
),

attribute as (
    select
        r.schema_name,
        r.table_name,
        a.attname as column_name,
        a.attnotnull and not a.atthasdef and a.attidentity = '' as demanded,
        case
            when t.typname in ('timestamp', 'timestamptz') then 'instant'
            when t.typname in ('int2', 'int4', 'int8') then 'integer'
            when t.typname = 'bool' then 'boolean'
            when t.typcategory = 'S' then 'text'
            else t.typname
        end as kind,
        format_type(a.atttypid, a.atttypmod) as type_name
    from relation as r
    inner join pg_attribute as a on r.oid = a.attrelid and a.attnum > 0 and not a.attisdropped
    inner join pg_type as t on a.atttypid = t.oid
),

instant as (
    -- New instants are of the kind that the host has already.
    select
        coalesce(
            min(a.type_name) filter (where a.table_name = 'sequence_contacts'), 'timestamp without time zone'
        ) as type_name
    from attribute as a
    where a.kind = 'instant' and a.schema_name = :'schema'::text
),

key as (
    select
        r.schema_name,
        r.table_name,
        i.indexrelid as index_oid,
        con.conname as constraint_name,
        i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null as usable,
        i.indimmediate as immediate,
        (
            select array_agg(a.attname::text order by a.attname::text)
            from unnest(i.indkey::int2 []) with ordinality as part (attnum, place)
            inner join pg_attribute as a on i.indrelid = a.attrelid and part.attnum = a.attnum
            where part.place <= i.indnkeyatts
        ) as column_names
    from relation as r
    inner join pg_index as i on r.oid = i.indrelid
    left join pg_constraint as con on i.indexrelid = con.conindid and con.contype in ('u', 'p')
),

key_needed (position, table_name, index_name, column_names, why) as (
    -- No name: without that key it is not the host's table, and none can be made for it. In the order of the names.
    values
        (301, 'leads', 'seqdev_leads_user_phone', '{phone, user_id}'::text [], 'one lead per user and phone'),
        (
            302, 'sequence_contacts', null,
            case when :'distributed'::boolean then '{contact_phone, id}'::text [] else '{id}' end,
            'the message id is derived from it'
        ),
        (
            303, 'broadcast_messages', null,
            case when :'distributed'::boolean then '{id, recipient_phone}'::text [] else '{id}' end,
            'a message that exists is never queued again'
        ),
        (
            311, 'sequence_contacts', 'seqdev_contacts_step', '{contact_phone, sequence_id, sequence_stepid}',
            'one row per person and step'
        )
),

index_needed (position, schema_name, table_name, index_name, column_names, predicate, why) as (
    -- Predicates as the server writes them back, but for casts and brackets: = any (array[...]), not in (...).
    values
        (
            401, :'schema'::text, 'sequence_contacts', 'seqdev_contacts_due',
            '{assigned_device_id, next_trigger_time}'::text [],
            'status = ''active''',
            'from each device straight to its due contacts'
        ),
        (
            402, :'schema'::text, 'broadcast_messages', 'seqdev_messages_in_flight', '{device_id, scheduled_at}',
            'status = any (array[''pending'', ''queued'', ''processing''])',
            'messages in flight of a device'
        ),
        (
            403, :'schema'::text, 'broadcast_messages', 'seqdev_messages_sent', '{device_id, sent_at}',
            'sent_at is not null and status <> all (array[''pending'', ''queued'', ''processing'', ''failed''])',
            'messages of a device in the last hour and day'
        ),
        (
            404, :'schema'::text, 'broadcast_messages', 'seqdev_messages_failed', '{created_at}',
            'sequence_stepid is not null and status <> all'
            ' (array[''pending'', ''queued'', ''processing'', ''sent'', ''delivered'', ''read''])',
            'failed sends that the step must show'
        ),
        (
            404, :'schema'::text, 'sequence_contacts', 'seqdev_contacts_failed', '{completed_at}',
            'status = ''failed''',
            'failed steps whose message was sent after all'
        ),
        (
            405, :'schema'::text, 'sequence_contacts', 'seqdev_contacts_phone', '{contact_phone}', null,
            'the story of a person'
        ),
        (
            406, :'schema'::text, 'broadcast_messages', 'seqdev_messages_person', '{recipient_phone, sequence_id}',
            null, 'the story of a person, and the audits'
        ),
        (407, :'schema'::text, 'leads', 'seqdev_leads_phone', '{phone}', null, 'the story of a person'),
        (
            407, :'schema'::text, 'leads', 'seqdev_leads_odd', '{phone}', 'phone ~ ''^0|[^0-9]''',
            'a person under other spellings of the phone'
        ),
        (
            407, :'schema'::text, 'sequence_contacts', 'seqdev_contacts_odd', '{contact_phone}',
            'contact_phone ~ ''^0|[^0-9]''', 'a person under other spellings of the phone'
        ),
        (
            408, :'schema'::text, 'broadcast_messages', 'seqdev_messages_created', '{created_at}', null,
            'the audits of the last hours'
        ),
        (409, 'seqdev', 'run', 'seqdev_run_started', '{started_at}', null, 'the last runs, and the last tick'),
        (
            410, 'seqdev', 'run', 'seqdev_run_undo', '{started_at}', 'command ~~ ''repair undo %''',
            'which runs have undone which'
        ),
        (411, 'seqdev', 'change', 'seqdev_change_run', '{run_id, id}', null, 'what a run has changed'),
        (412, 'seqdev', 'change', 'seqdev_change_row', '{row_id}', null, 'what has happened to a row')
),

making as (
    select
        n.nspname as schema_name,
        x.relname as index_name
    from pg_stat_progress_create_index as p
    inner join pg_class as x on p.index_relid = x.oid
    inner join pg_namespace as n on x.relnamespace = n.oid
    where p.datid = (select d.oid from pg_database as d where d.datname = current_database())
),

old_shape as (
    select
        format('%I.%I', :'schema'::text, x.relname) as qualified_name,
        k.constraint_name,
        -- Another table's foreign key, or a subscriber of its changes, would be left without it.
        i.indisreplident or exists (select from pg_constraint as f where f.contype = 'f' and f.conindid = x.oid) as held
    from key as k
    inner join pg_index as i on k.index_oid = i.indexrelid
    inner join pg_class as x on k.index_oid = x.oid
    where k.schema_name = :'schema'::text and k.table_name = 'sequence_contacts' and k.usable and k.column_names = '{contact_phone, sequence_id}'
),

finding (position, item, status, why, remedy, mode) as (
    select
        1,
        'server version',
        case when current_setting('server_version_num')::integer >= 140000 then 'ok' else 'wrong' end,
        'PostgreSQL 14 or later; this is ' || current_setting('server_version'),
        null,
        null
    union all
    select
        2,
        'server encoding',
        case when current_setting('server_encoding') = 'UTF8' then 'ok' else 'wrong' end,
        'names and messages in any script; this is ' || current_setting('server_encoding'),
        null,
        null
    union all
    select
        3,
        'server writable',
        case when pg_is_in_recovery() then 'wrong' else 'ok' end,
        'a standby takes no writes',
        null,
        null
    union all
    select
        4,
        'schema ' || :'schema'::text,
        case when exists (select 1 from pg_namespace where nspname = :'schema'::text) then 'ok' else 'wrong' end,
        'where the host''s tables are; --schema names another',
        null,
        null
    union all
    select
        n.position,
        n.schema_name || '.' || n.table_name,
        'missing',
        n.why,
        null,
        null
    from (
        select
            min(position) - 1 as position,
            schema_name,
            table_name,
            (array_agg(why order by position))[1] as why
        from column_needed
        group by schema_name, table_name
    ) as n
    left join table_made as m using (schema_name, table_name)
    left join relation as r using (schema_name, table_name)
    where r.oid is null and m.definition is null
    union all
    select
        209,
        'schema seqdev',
        case when exists (select 1 from pg_namespace where nspname = 'seqdev') then 'ok' else 'missing' end,
        'seqdev''s own tables, apart from the host''s',
        case
            when not exists (select 1 from pg_namespace where nspname = 'seqdev') then 'create schema if not exists seqdev'
        end,
        'transaction'
    union all
    select
        m.position,
        m.schema_name || '.' || m.table_name,
        'missing',
        'a table that seqdev reads or keeps its journal in',
        format('create table if not exists %I.%I %s', m.schema_name, m.table_name, m.definition),
        'transaction'
    from table_made as m
    left join relation as r using (schema_name, table_name)
    where r.oid is null
    union all
    select
        n.position,
        n.table_name || '.' || n.column_name,
        case when a.column_name is null then 'missing' when a.kind <> n.kind then 'wrong' else 'ok' end,
        n.why || case when a.kind <> n.kind then '; it is ' || a.type_name || ', not ' || n.kind else '' end,
        case
            when a.column_name is null and n.definition is not null
                then format(
                    'alter table %I.%I add column if not exists %I %s',
                    n.schema_name,
                    n.table_name,
                    n.column_name,
                    case n.definition when 'instant' then i.type_name else n.definition end
                )
        end,
        'transaction'
    from column_needed as n
    inner join relation as r using (schema_name, table_name)
    cross join instant as i
    left join attribute as a using (schema_name, table_name, column_name)
    union all
    select
        299,
        a.table_name || '.' || a.column_name,
        'wrong',
        'it must not be null and has no default, and seqdev does not know what to put there',
        null,
        null
    from attribute as a
    left join column_needed as n using (schema_name, table_name, column_name)
    where
        a.schema_name = :'schema'::text
        and a.table_name in ('sequence_contacts', 'broadcast_messages', 'leads')
        and a.demanded
        and n.column_name is null
    union all
    select
        312,
        'sequence_contacts unique (sequence_id, contact_phone)',
        'wrong',
        'it allows one row per person only; the new key replaces it, no row changes.'
        ' Whatever says ON CONFLICT (sequence_id, contact_phone) must name sequence_stepid too'
        || case when o.held then '. First take off the foreign key or the replica identity that rests on it' else '' end,
        case
            when o.held then null
            when o.constraint_name is not null
                then format(
                    'alter table %I.sequence_contacts drop constraint %I', :'schema'::text, o.constraint_name
                )
            else format('drop index %s', o.qualified_name)
        end,
        'transaction'
    from old_shape as o
),

wanted as (
    select
        n.position,
        n.table_name || ' unique (' || array_to_string(n.column_names, ', ') || ')' as item,
        case when k.found then 'ok' else 'missing' end as status,
        n.why,
        'create unique index concurrently' as making,
        :'schema'::text as schema_name,
        n.table_name,
        n.index_name,
        n.column_names,
        null as predicate
    from key_needed as n
    cross join lateral (
        select
            exists (
                select 1
                from key
                where
                    key.schema_name = :'schema'::text
                    and key.table_name = n.table_name
                    and key.usable
                    -- ON CONFLICT takes no key that may be checked at COMMIT.
                    and key.immediate
                    and key.column_names = n.column_names
            ) as found
    ) as k
    union all
    select
        n.position,
        'index ' || n.index_name,
        'advised',
        n.why,
        'create index concurrently',
        n.schema_name,
        n.table_name,
        n.index_name,
        n.column_names,
        n.predicate
    from index_needed as n
)

select
    f.item::text as item,
    f.status::text as status,
    f.why::text as why,
    f.remedy::text as remedy,
    (case when f.remedy is not null then f.mode end)::text as mode,
    f.schema_name::text as schema_name,
    f.table_name::text as table_name,
    f.index_name::text as index_name,
    f.column_names::text [] as column_names,
    f.predicate::text as predicate,
    f.unmake::text as unmake,
    f.building::boolean as building
from (
    select
        finding.*,
        null as schema_name,
        null as table_name,
        null as index_name,
        null::text [] as column_names,
        null as predicate,
        null as unmake,
        false as building
    from finding
    union all
    select
        w.position,
        w.item,
        w.status,
        w.why
        || case
            when r.is_partitioned and w.status <> 'ok' and w.index_name is not null
                then '; the table is partitioned: without locking writers out, an index is built on each partition'
                    ' first, and then on the table, which takes them as they are'
            else ''
        end,
        case
            when w.status <> 'ok' and w.index_name is not null and r.is_partitioned is not true
                then format(
                    '%s if not exists %I on %I.%I (%s)%s%s',
                    w.making,
                    w.index_name,
                    w.schema_name,
                    w.table_name,
                    array_to_string(w.column_names, ', '),
                    -- Phones come in no order. In an index that is built nearly full, the host's first writes split page
                    -- after page, which takes longer than all the rest; it comes to these two thirds by itself.
                    case when w.column_names[1] ~ 'phone$' and w.predicate is null then ' with (fillfactor = 70)' end,
                    ' where ' || w.predicate
                )
        end,
        'autocommit',
        w.schema_name,
        w.table_name,
        w.index_name,
        w.column_names,
        w.predicate,
        case
            when w.index_name is not null then format('drop index concurrently if exists %I.%I', w.schema_name, w.index_name)
        end,
        exists (select 1 from making as m where m.schema_name = w.schema_name and m.index_name = w.index_name)
    from wanted as w
    left join relation as r using (schema_name, table_name)
    left join table_made as made using (schema_name, table_name)
    -- Of a table that the upgrade makes, its indexes are in the plan as well.
    where r.oid is not null or made.definition is not null
) as f
order by f.position, f.item;
