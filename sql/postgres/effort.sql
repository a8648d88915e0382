-- What each statement of an upgrade's plan means for the host: how big its table is, how long it takes, what it locks
--
-- The time is a guess, from the table's size as the last ANALYZE has it: an index reads the table twice, at 100 MB a
-- second, and sorts at 4 microseconds a row; what is filled in is written at 20,000 rows a second. All else only
-- changes the catalogue. It does not count the wait for transactions of others that are open.
--
-- Parameters:
--   remedies  text[]  the statements of the plan
-- Row:
--   place        integer  which statement: 1 is the first
--   table_rows   integer  rows of the table that is there, about; null: not known, or no such table
--   table_bytes  integer  what it takes on the disk, without its indexes
--   seconds      integer  how long it takes, about
--   locks        text     what others cannot do meanwhile
--   breaks       text     what the host must do otherwise from then on; null: nothing
--   is_final     boolean  it takes something away, or fills something in: no command takes it back
-- Locks: none
\if :{?remedies} \else \set remedies '{}' \endif
with statement as (
    select
        r.place,
        r.words,
        r.words ~ '^create (unique )?index' as builds,
        r.words ~ '^fill ' as fills,
        r.words ~ '^create unique index' as is_key,
        r.words ~ '^drop index' and r.words !~ '^drop index concurrently' or r.words ~ ' drop constraint ' as replaces_key
    from unnest(:'remedies'::text []) with ordinality as r (words, place)
),

touched as (
    select
        s.*,
        c.relname as table_name,
        nullif(c.reltuples, -1) as table_rows,
        case when c.oid is not null then pg_table_size(c.oid) end as table_bytes
    from statement as s
    left join lateral (
        select t.*
        from pg_class as t
        inner join pg_namespace as n on t.relnamespace = n.oid
        where
            t.relkind in ('r', 'p')
            and (
                position(format(' %I.%I ', n.nspname, t.relname) in s.words || ' ') > 0
                and s.words !~ '^create table'
                or t.oid = to_regclass('sequence_contacts') and (s.fills or s.replaces_key)
            )
        limit 1
    ) as c on true
)

select
    t.place::integer as place,
    t.table_rows::bigint as table_rows,
    t.table_bytes,
    round(
        case
            when t.builds then 2 * coalesce(t.table_bytes, 0) / 100e6 + coalesce(t.table_rows, 0) * 4e-6
            when t.fills then coalesce(t.table_rows, 0) / 20e3
            else 0
        end
    )::integer as seconds,
    case
        when t.builds or t.words ~ 'concurrently' then 'nothing'
        when t.fills then 'rows, a moment'
        when t.words ~ '^create ' then 'nothing'
        else 'the table, a moment'
    end as locks,
    case
        when t.replaces_key
            then 'ON CONFLICT (sequence_id, contact_phone) fails until it names sequence_stepid too; a person may have several rows'
        when t.is_key and t.table_name = 'leads' then 'a second lead with the same user and phone is refused'
        when t.is_key then 'a second row of the same person and step is refused'
        when t.builds and t.table_name = 'broadcast_messages' then 'writing a message takes a little longer'
    end as breaks,
    t.replaces_key or t.fills as is_final
from touched as t
order by t.place;
