-- Assign people to their own device again, where they still are what the plan says, and journal it, in one go
--
-- Of what sql/repair/home.sql plans for a tick: only rows of sequence_contacts. Another tick may have been faster.
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
-- Locks: these rows, by id
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

held as materialized (
    select sc.id
    from sequence_contacts as sc
    where sc.id in (select wanted.id from wanted)
    order by sc.id
    for update of sc skip locked
),

returned as (
    update sequence_contacts as sc
    set assigned_device_id = wanted.home
    from wanted
    inner join held on wanted.id = held.id
    where
        sc.id = wanted.id
        and sc.assigned_device_id = wanted.stand_in
        and (sc.status = 'active' or sc.status = any(:'waiting'::text []))
    returning sc.id, wanted.stand_in, wanted.home
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
