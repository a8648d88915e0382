-- What seqdev takes on the disk, and which of its indexes are much larger than their rows explain, on Citus
--
-- Each node is asked about the parts of the tables that it has, with the same reckoning as on one server; what is said
-- of an index is said of all its parts. One on a table that each node has counts once for each.
--
-- Parameters:
--   schema    text     schema of the host's tables
--   least     bigint   nothing is advised for fewer bytes than that
-- Row:
--   name      text     a table of seqdev's, or an index of seqdev's on a table of the host's or on its own
--   kind      text     table, index, or own: an index on a table of seqdev's
--   bytes     bigint   what it takes; of a table with its indexes
--   rows      bigint   rows in it, about; null: never analysed, or a fifth has changed since
--   expected  bigint   what an index takes freshly built, at most; null: not known, or a table
--   advice    text     the statement that builds it anew; null: no need
-- Locks: none
\if :{?schema} \else \set schema 'public' \endif
\if :{?least} \else \set least '8000000' \endif
with part as (
    select of.*
    from run_command_on_all_nodes(
        format(
            $node$
            select coalesce(json_agg(found), '[]')
            from (
                -- As in postgres/sizes.sql. A part of a table has its number behind the name, and so have its indexes.
                select
                    n.nspname as schema_name,
                    case when n.nspname = 'seqdev' then x.relname else regexp_replace(x.relname, '_\d+$', '') end as name,
                    pg_relation_size(x.oid) as bytes,
                    case
                        when
                            r.reltuples >= 0 and x.reltuples >= 0
                            and pg_stat_get_mod_since_analyze(r.oid) <= greatest(r.reltuples, 1000) / 5
                            then x.reltuples::bigint
                    end as row_count,
                    i.indisvalid and i.indisready and am.amname = 'btree' as usable,
                    coalesce(substring(array_to_string(x.reloptions, ' ') from 'fillfactor=(\d+)')::integer, 90)
                        as fill_percent,
                    (
                        select sum(coalesce(s.avg_width, case when a.attlen > 0 then a.attlen end, 32))
                        from unnest(i.indkey::smallint []) as k (attnum)
                        left join pg_attribute as a on i.indrelid = a.attrelid and k.attnum = a.attnum
                        left join pg_stats as s
                            on
                                n.nspname = s.schemaname and r.relname = s.tablename and a.attname = s.attname
                                and not s.inherited
                    ) as width
                from pg_index as i
                inner join pg_class as x on i.indexrelid = x.oid
                inner join pg_am as am on x.relam = am.oid
                inner join pg_class as r on i.indrelid = r.oid
                inner join pg_namespace as n on r.relnamespace = n.oid
                where
                    r.relkind = 'r'
                    and (n.nspname = 'seqdev' or (n.nspname = %L and x.relname ~ '^seqdev_.*_\d+$'))
            ) as found
            $node$,
            :'schema'::text
        )
    ) as node
    cross join lateral json_to_recordset(node.result::json) as of (
        schema_name text, name text, bytes bigint, row_count bigint, usable boolean, fill_percent integer, width integer
    )
    where node.success
),

-- A row is its key in steps of 8 bytes, 8 of its own and 4 that point to it; pages are filled in part.
weighed as (
    select
        p.schema_name,
        p.name,
        sum(p.bytes)::bigint as bytes,
        case when count(p.row_count) = count(*) then sum(p.row_count)::bigint end as row_count,
        case
            when bool_and(p.usable) and count(p.row_count) = count(*)
                then
                    sum(8192 * (2 + ceil(p.row_count * (ceil(p.width / 8.0) * 8 + 12) * 100 / p.fill_percent / 8100)))::bigint
        end as expected
    from part as p
    group by p.schema_name, p.name
)

select
    c.relname::text as name,
    'table' as kind,
    coalesce(pg_total_relation_size(c.oid), 0)::bigint as bytes,
    case when pg_stat_get_mod_since_analyze(c.oid) <= c.reltuples / 5 then c.reltuples::bigint end as rows,
    null::bigint as expected,
    null as advice
from pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
where n.nspname = 'seqdev' and c.relkind = 'r'
union all
select
    w.name,
    case when w.schema_name = 'seqdev' then 'own' else 'index' end,
    w.bytes,
    w.row_count,
    w.expected,
    case
        when w.bytes > 3 * w.expected and w.bytes - w.expected >= :'least'::bigint
            then format('reindex index concurrently %I.%I', w.schema_name, w.name)
    end
from weighed as w
order by bytes desc, name;
