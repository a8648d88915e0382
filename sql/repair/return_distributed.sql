-- Assign people to their own device again, where they still are what the plan says, where the tables are distributed
--
-- Does what sql/repair/return.sql does. SKIP LOCKED does not run over several shards: of a row that another transaction
-- has locked, that one's number is in xmax. What changes since is compared by the update.
--
-- Parameters:
--   run      uuid         the run that the journal names
--   now      timestamptz  the instant of the transaction
--   rows     uuid[]       the rows
--   from     uuid[]       of each: the device that stands in
--   to       uuid[]       of each: its own device
--   waiting  text[]       values of sequence_contacts.status: a later step's row, made beforehand
-- Row:
--   returned  integer  rows that are assigned anew
-- Locks: these rows, by shard
\if :{?run} \else \set run '00000000-0000-0000-0000-000000000000' \endif
\if :{?now} \else \set now 'now' \endif
\if :{?rows} \else \set rows '{}' \endif
\if :{?from} \else \set from '{}' \endif
\if :{?to} \else \set to '{}' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
with wanted as materialized (
    select w.*
    from unnest(:'rows'::uuid [], :'from'::uuid [], :'to'::uuid []) as w (id, stand_in, home)
),

free as materialized (
    select
        sc.id,
        sc.contact_phone,
        wanted.stand_in,
        wanted.home
    from wanted
    inner join sequence_contacts as sc on wanted.id = sc.id
    where
        sc.xmax::text = '0'
        or pg_visible_in_snapshot(
            ((pg_snapshot_xmax(pg_current_snapshot())::text::bigint >> 32 << 32) | sc.xmax::text::bigint)::text::xid8,
            pg_current_snapshot()
        )
),

returned as (
    update sequence_contacts as sc
    set assigned_device_id = free.home
    from free
    where
        sc.contact_phone = free.contact_phone
        and sc.id = free.id
        and sc.assigned_device_id = free.stand_in
        and (sc.status = 'active' or sc.status = any(:'waiting'::text []))
    returning sc.id, free.stand_in, free.home
),

journal as (
    insert into seqdev.change (run_id, table_name, row_id, column_name, old_value, new_value, changed_at)
    select
        :'run'::uuid,
        'sequence_contacts',
        returned.id,
        'assigned_device_id',
        returned.stand_in::text,
        returned.home::text,
        :'now'::timestamptz
    from returned
    returning row_id
)

select count(*)::integer as returned
from journal;
