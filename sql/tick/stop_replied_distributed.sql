-- Stop the rows of people who have replied, take back what of that sequence waits for them, and journal it, on Citus
--
-- Before a tick claims anything.
--
-- Parameters:
--   run      uuid           the run that the journal names
--   now      timestamptz    the instant of the transaction
--   tables   text[]         of each row: sequence_contacts, broadcast_messages
--   rows     uuid[]         the rows
--   ats      timestamptz[]  of each: when the person last wrote
--   waiting  text[]         values of sequence_contacts.status: a later step's row, made beforehand
-- Locks: the rows it changes; it waits for those somebody else has locked
\if :{?run} \else \set run '00000000-0000-0000-0000-000000000000' \endif
\if :{?now} \else \set now 'now' \endif
\if :{?tables} \else \set tables '{}' \endif
\if :{?rows} \else \set rows '{}' \endif
\if :{?ats} \else \set ats '{}' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
-- As in tick/lock_distributed.sql: else another tick that waits for one row keeps this one from all of them.
select set_config('citus.enable_deadlock_prevention', 'off', true) as deadlock_prevention;

with given as materialized (
    select
        g.table_name,
        g.id,
        'replied: at ' || to_char(g.at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC' as words
    from unnest(:'tables'::text [], :'rows'::uuid [], :'ats'::timestamptz []) as g (table_name, id, at)
),

picked as materialized (
    select
        sc.id,
        sc.contact_phone,
        sc.status,
        sc.last_error,
        given.words
    from sequence_contacts as sc
    inner join given on sc.id = given.id
    where
        given.table_name = 'sequence_contacts'
        and (sc.status = 'active' or sc.status = any(:'waiting'::text []))
),

stopped as (
    update sequence_contacts as sc
    set
        status = 'replied',
        last_error = picked.words
    from picked
    where
        sc.contact_phone = picked.contact_phone
        and sc.id = picked.id
        and sc.status = picked.status
        and sc.last_error is not distinct from picked.last_error
    returning sc.id, picked.status as old_status, picked.last_error as old_words, sc.last_error as new_words
),

queued as materialized (
    select
        m.id,
        m.recipient_phone,
        m.error_message,
        given.words
    from broadcast_messages as m
    inner join given on m.id = given.id
    where given.table_name = 'broadcast_messages' and m.status = 'pending'
),

cancelled as (
    update broadcast_messages as m
    set
        status = 'cancelled',
        error_message = queued.words
    from queued
    where
        m.recipient_phone = queued.recipient_phone
        and m.id = queued.id
        and m.status = 'pending'
        and m.error_message is not distinct from queued.error_message
    returning m.id, queued.error_message as old_words, m.error_message as new_words
)

insert into seqdev.change (run_id, table_name, row_id, column_name, old_value, new_value, changed_at)
select
    :'run'::uuid,
    c.table_name,
    c.row_id,
    c.column_name,
    c.old_value,
    c.new_value,
    :'now'::timestamptz
from (
    select
        'sequence_contacts' as table_name,
        stopped.id as row_id,
        v.*
    from stopped
    cross join lateral (
        values
            ('status', stopped.old_status::text, 'replied'),
            ('last_error', stopped.old_words, stopped.new_words)
    ) as v (column_name, old_value, new_value)
    union all
    select
        'broadcast_messages',
        cancelled.id,
        v.*
    from cancelled
    cross join lateral (
        values
            ('status', 'pending', 'cancelled'),
            ('error_message', cancelled.old_words, cancelled.new_words)
    ) as v (column_name, old_value, new_value)
) as c
where c.old_value is distinct from c.new_value;
