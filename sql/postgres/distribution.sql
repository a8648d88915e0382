-- How Citus has spread the host's tables over its nodes, and the statements that spread them as seqdev needs it
--
-- In the order in which they have to run. Only where the extension is: sql/postgres/kept.sql. What belongs to one
-- person has to be on one node, so it is spread by phone; what everybody needs is on each.
--
-- Parameters:
--   schema     text  schema of the host's tables
-- Row:
--   item       text  what is looked at: a foreign key, a trigger, a column, a key, a table
--   status     text  ok, or wrong: commands that write refuse where anything is distributed
--   why        text  why it has to be
--   remedy     text  the statement that the upgrade would run: of the empty table that it makes itself; else null
--   mode       text  how it runs: transaction
--   statement  text  the statement that puts it right, where a person has to decide; null: it is in order
-- Locks: none
\if :{?schema} \else \set schema 'public' \endif
with host as materialized (
    select
        t.place,
        t.table_name,
        t.column_name,
        c.oid,
        format('%I.%I', n.nspname, c.relname) as qualified_name,
        p.partmethod,
        p.repmodel,
        p.colocationid,
        case when p.partkey is not null then column_to_column_name(p.logicalrelid, p.partkey) end as spread_by,
        format_type(a.atttypid, null) as type_name,
        a.attnum
    from (
        values
            (1, 'users', null),
            (2, 'user_devices', null),
            (3, 'sequences', null),
            (4, 'sequence_steps', null),
            (5, 'device_load_balance', null),
            (6, 'leads', 'phone'),
            (7, 'sequence_contacts', 'contact_phone'),
            (8, 'broadcast_messages', 'recipient_phone')
    ) as t (place, table_name, column_name)
    inner join pg_namespace as n on n.nspname = :'schema'::text
    inner join pg_class as c on n.oid = c.relnamespace and t.table_name = c.relname and c.relkind in ('r', 'p')
    left join pg_dist_partition as p on c.oid = p.logicalrelid
    left join pg_attribute as a on c.oid = a.attrelid and t.column_name = a.attname
),

leads as (
    select h.* from host as h where h.table_name = 'leads'
),

finding (place, item, why, statement) as (
    select
        100 + h.place,
        format('%s foreign key %s', h.table_name, con.conname),
        case
            when con.conrelid = h.oid
                then 'with it, Citus refuses a write to a table of all nodes after a look at a distributed one'
            else 'it names no phone, and Citus cannot check it'
        end,
        format('alter table %s drop constraint %I', con.conrelid::regclass, con.conname)
    from host as h
    inner join pg_constraint as con on con.contype = 'f' and h.oid in (con.conrelid, con.confrelid)
    where h.column_name is not null and con.conparentid = 0
    union all
    select
        200 + h.place,
        format('%s trigger %s', h.table_name, t.tgname),
        'Citus distributes no table with triggers',
        format('drop trigger %I on %s', t.tgname, h.qualified_name)
    from host as h
    inner join pg_trigger as t on h.oid = t.tgrelid and not t.tgisinternal
    -- Whoever has made it since has told Citus to take it.
    where h.column_name is not null and h.partmethod is null
    union all
    select
        300 + h.place,
        format('%s.%s type', h.table_name, h.column_name),
        format('%s here, %s in leads: one phone would be on two nodes', h.type_name, l.type_name),
        format('alter table %s alter column %I type %s', h.qualified_name, h.column_name, l.type_name)
    from host as h
    cross join leads as l
    where h.type_name <> l.type_name
    union all
    select
        400 + h.place,
        format('%s key %s', h.table_name, x.relname),
        format('each key has to hold %s: a node only knows its own rows', h.column_name),
        case
            when con.contype = 'p'
                then format(
                    -- Its own columns first: by them rows are looked for, and by the phone there is another index.
                    'alter table %s drop constraint %I, add primary key (%s, %I)', h.qualified_name, con.conname,
                    key.columns, h.column_name
                )
            when con.conname is not null then format('alter table %s drop constraint %I', h.qualified_name, con.conname)
            else format('drop index %s', i.indexrelid::regclass)
        end
    from host as h
    inner join pg_index as i on h.oid = i.indrelid and (i.indisunique or i.indisexclusion)
    inner join pg_class as x on i.indexrelid = x.oid
    left join pg_constraint as con on i.indexrelid = con.conindid and con.contype in ('p', 'u', 'x')
    cross join lateral (
        select string_agg(quote_ident(a.attname), ', ' order by part.place) as columns
        from unnest(i.indkey::int2 []) with ordinality as part (attnum, place)
        inner join pg_attribute as a on i.indrelid = a.attrelid and part.attnum = a.attnum
        where part.place <= i.indnkeyatts
    ) as key
    where h.column_name is not null and not h.attnum = any(i.indkey::int2 [])
    union all
    select
        500 + h.place,
        h.table_name || ' on all nodes',
        'what it says has to be known on each: a reference table',
        case
            when h.partmethod = 'n' and h.repmodel = 't' then null
            else
                case when h.partmethod is null then '' else format('select undistribute_table(%L); ', h.qualified_name) end
                || format('select create_reference_table(%L)', h.qualified_name)
        end
    from host as h
    where h.column_name is null
    union all
    select
        600 + h.place,
        format('%s distributed by %s', h.table_name, h.column_name),
        case
            when h.partmethod is null then 'it is on the coordinator alone; what belongs to one person has to be on one node'
            when h.partmethod <> 'h' then 'it is whole on all nodes; what belongs to one person has to be on one node'
            when h.spread_by <> h.column_name then format('it is distributed by %s', h.spread_by)
            when h.colocationid <> l.colocationid then 'it is not with the leads: a person''s rows would be on several nodes'
            else 'what belongs to one person is on one node'
        end,
        case
            when h.partmethod = 'h' and h.spread_by = h.column_name and h.colocationid = l.colocationid then null
            when h.partmethod = 'h'
                then format(
                    'select alter_distributed_table(%L, distribution_column => %L, colocate_with => %L)',
                    h.qualified_name, h.column_name, case when h.table_name = 'leads' then 'none' else l.qualified_name end
                )
            else
                case when h.partmethod is null then '' else format('select undistribute_table(%L); ', h.qualified_name) end
                || format(
                    'select create_distributed_table(%L, %L, colocate_with => %L)', h.qualified_name, h.column_name,
                    case when h.table_name = 'leads' then 'none' else l.qualified_name end
                )
        end
    from host as h
    cross join leads as l
    where h.column_name is not null
)

select
    f.item::text as item,
    (case when f.statement is null then 'ok' else 'wrong' end)::text as status,
    f.why::text as why,
    (case when f.item = 'device_load_balance on all nodes' then f.statement end)::text as remedy,
    (case when f.item = 'device_load_balance on all nodes' and f.statement is not null then 'transaction' end)::text as mode,
    f.statement::text as statement
from finding as f
order by f.place, f.item;
