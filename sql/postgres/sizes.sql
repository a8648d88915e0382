-- What seqdev takes on the disk, and which of its indexes are much larger than their rows explain
--
-- Rows are those of the last ANALYZE. What an index of so many rows takes freshly built is reckoned from the widths of
-- its columns, rather too much: equal keys, and those that the role may not read, count in full. Updates leave entries
-- behind, most of all in the partial indexes, through which every row passes. Where a fifth of the rows has changed
-- since that ANALYZE, nothing is advised. To build an index anew by the advice locks nobody out, and reads the table.
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
with made as (
    -- Of a partitioned index, those of the partitions are what takes room.
    select
        coalesce(t.relid::oid, i.indexrelid) as index_oid,
        case when n.nspname = 'seqdev' then 'own' else 'index' end as kind
    from pg_index as i
    inner join pg_class as x on i.indexrelid = x.oid
    inner join pg_class as r on i.indrelid = r.oid
    inner join pg_namespace as n on r.relnamespace = n.oid
    left join lateral pg_partition_tree(i.indexrelid) as t on x.relkind = 'I'
    where
        (n.nspname = 'seqdev' or (n.nspname = :'schema'::text and x.relname like 'seqdev\_%'))
        and r.relkind in ('r', 'p')
        and coalesce(t.isleaf, x.relkind = 'i')
),

index_found as (
    select
        m.index_oid,
        m.kind,
        n.nspname as schema_name,
        x.relname as index_name,
        coalesce(pg_relation_size(m.index_oid), 0) as bytes,
        -- The table was never analysed, or too long ago.
        case
            when
                r.reltuples >= 0 and x.reltuples >= 0
                and pg_stat_get_mod_since_analyze(i.indrelid) <= greatest(r.reltuples, 1000) / 5
                then x.reltuples::bigint
        end as row_count,
        i.indisvalid and i.indisready and am.amname = 'btree' as usable,
        coalesce(substring(array_to_string(x.reloptions, ' ') from 'fillfactor=(\d+)')::integer, 90) as fill_percent,
        (
            select sum(coalesce(s.avg_width, case when a.attlen > 0 then a.attlen end, 32))
            from unnest(i.indkey::smallint []) as k (attnum)
            left join pg_attribute as a on i.indrelid = a.attrelid and k.attnum = a.attnum
            left join pg_stats as s
                on rn.nspname = s.schemaname and r.relname = s.tablename and a.attname = s.attname and not s.inherited
        ) as width
    from made as m
    inner join pg_index as i on m.index_oid = i.indexrelid
    inner join pg_class as x on m.index_oid = x.oid
    inner join pg_am as am on x.relam = am.oid
    inner join pg_namespace as n on x.relnamespace = n.oid
    inner join pg_class as r on i.indrelid = r.oid
    inner join pg_namespace as rn on r.relnamespace = rn.oid
),

weighed as (
    select
        f.*,
        -- A row is its key in steps of 8 bytes, 8 of its own and 4 that point to it; pages are filled in part.
        case
            when f.usable
                then
                    (8192 * (2 + ceil(f.row_count * (ceil(f.width / 8.0) * 8 + 12) * 100 / f.fill_percent / 8100)))::bigint
        end as expected
    from index_found as f
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
    w.index_name::text,
    w.kind,
    w.bytes::bigint,
    w.row_count,
    w.expected,
    -- 14.0 to 14.3 could leave rows out of an index that is built concurrently.
    case
        when
            w.bytes > 3 * w.expected and w.bytes - w.expected >= :'least'::bigint
            and current_setting('server_version_num')::integer not between 140000 and 140003
            then format('reindex index concurrently %I.%I', w.schema_name, w.index_name)
    end
from weighed as w
order by bytes desc, name;
