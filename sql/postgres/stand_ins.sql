-- What commands that only read take for tables that the upgrade makes, where they are missing or lack columns
--
-- On a database that was never upgraded, or by an older seqdev: a table that is missing is empty, a column that is
-- missing is null. Whoever writes refuses there. Of the host's tables only what hosts do without: where another column
-- is missing, such as the step of a message, audits would find nothing, and that would be no answer.
--
-- Parameters:
--   schema  text  schema of the host's tables
-- Row:
--   table_name  text  a table that is missing, or lacks columns, as statements name it
--   lacks       text  what it lacks
--   stand_in    text  a query of the same columns
-- Locks: none
\if :{?schema} \else \set schema 'public' \endif
select
    needed.table_name,
    needed.table_name || case
        when max(c.relname) is null then ''
        else '.' || string_agg(needed.column_name, ', ' order by needed.position) filter (where a.attname is null)
    end as lacks,
    '(select ' || concat_ws(
        ', ',
        case when max(c.relname) is not null then 't.*' end,
        string_agg('null::' || needed.kind || ' as ' || needed.column_name, ', ' order by needed.position)
        filter (where a.attname is null)
    ) || case when max(c.relname) is null then ' where false)' else ' from ' || needed.table_name || ' as t)' end as stand_in
from (
    -- The columns that postgres/check.sql wants.
    values
        (1, 'seqdev.run', 'id', 'uuid'),
        (2, 'seqdev.run', 'command', 'text'),
        (3, 'seqdev.run', 'started_at', 'timestamptz'),
        (4, 'seqdev.run', 'finished_at', 'timestamptz'),
        (5, 'seqdev.run', 'counts', 'jsonb'),
        (6, 'seqdev.run', 'version', 'text'),
        (7, 'seqdev.run', 'arguments', 'text'),
        (8, 'seqdev.run', 'os_user', 'text'),
        (9, 'seqdev.run', 'database_user', 'text'),
        (10, 'seqdev.run', 'host', 'text'),
        (11, 'seqdev.run', 'pid', 'integer'),
        (12, 'seqdev.run', 'session', 'text'),
        (13, 'seqdev.run', 'backend_pid', 'integer'),
        (14, 'seqdev.run', 'why', 'text'),
        (15, 'seqdev.run', 'exit_code', 'integer'),
        (16, 'seqdev.run', 'reason', 'text'),
        (21, 'seqdev.change', 'id', 'bigint'),
        (22, 'seqdev.change', 'run_id', 'uuid'),
        (23, 'seqdev.change', 'table_name', 'text'),
        (24, 'seqdev.change', 'row_id', 'uuid'),
        (25, 'seqdev.change', 'column_name', 'text'),
        (26, 'seqdev.change', 'old_value', 'text'),
        (27, 'seqdev.change', 'new_value', 'text'),
        (28, 'seqdev.change', 'changed_at', 'timestamptz'),
        (31, 'seqdev.setting', 'name', 'text'),
        (32, 'seqdev.setting', 'value', 'text'),
        (33, 'seqdev.setting', 'set_at', 'timestamptz'),
        (34, 'seqdev.setting', 'set_by', 'text'),
        (41, 'seqdev.rule', 'id', 'uuid'),
        (42, 'seqdev.rule', 'name', 'text'),
        (43, 'seqdev.rule', 'scope', 'text'),
        (44, 'seqdev.rule', 'scope_id', 'uuid'),
        (45, 'seqdev.rule', 'value', 'text'),
        (51, 'seqdev.pause', 'paused_at', 'timestamptz'),
        (52, 'seqdev.pause', 'os_user', 'text'),
        (53, 'seqdev.pause', 'host', 'text'),
        (54, 'seqdev.pause', 'database_user', 'text'),
        (55, 'seqdev.pause', 'why', 'text'),
        (56, 'seqdev.pause', 'resumed_at', 'timestamptz'),
        (57, 'seqdev.pause', 'resumed_by', 'text'),
        (61, 'seqdev.blocked', 'id', 'uuid'),
        (62, 'seqdev.blocked', 'digits', 'text'),
        (63, 'seqdev.blocked', 'user_id', 'uuid'),
        (64, 'seqdev.blocked', 'since', 'timestamptz'),
        (65, 'seqdev.blocked', 'why', 'text'),
        (66, 'seqdev.blocked', 'blocked_by', 'text'),
        (71, 'user_devices', 'platform', 'text'),
        (81, 'sequence_contacts', 'processing_device_id', 'uuid'),
        (82, 'sequence_contacts', 'processing_started_at', 'timestamptz'),
        (83, 'sequence_contacts', 'assigned_device_id', 'uuid'),
        (84, 'sequence_contacts', 'user_id', 'uuid'),
        (91, 'broadcast_messages', 'recipient_name', 'text'),
        (92, 'device_load_balance', 'device_id', 'uuid'),
        (93, 'device_load_balance', 'is_available', 'boolean')
) as needed (position, table_name, column_name, kind)
left join pg_catalog.pg_namespace as n
    on n.nspname = case when needed.table_name ~ '^seqdev[.]' then 'seqdev' else :'schema'::text end
left join pg_catalog.pg_class as c
    on n.oid = c.relnamespace and regexp_replace(needed.table_name, '.*[.]', '') = c.relname and c.relkind in ('r', 'p')
left join pg_catalog.pg_attribute as a
    on c.oid = a.attrelid and needed.column_name = a.attname and a.attnum > 0 and not a.attisdropped
where
    needed.table_name ~ '^seqdev[.]'
    or needed.table_name = 'device_load_balance'
    -- A table of the host's is there, or nothing helps.
    or c.oid is not null
group by needed.table_name
having count(a.attname) < count(*)
order by needed.table_name;
