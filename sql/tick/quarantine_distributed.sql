-- Quarantine contacts that the database refuses, with the reason, and journal it, on Citus
--
-- They are no longer due, and keep nobody back. "seqdev repair quarantined" makes them active again, once
-- the cause is corrected. The value in the host's column stays set_aside, which its installations know.
--
-- Parameters:
--   run       uuid         the run that the journal names
--   now       timestamptz  the instant of the transaction
--   contacts  uuid[]       the contacts
--   reasons   text[]       the reason for each of them
-- Row:
--   contact_id  uuid  a contact that is quarantined now
-- Locks: the contacts it changes, and it waits for those somebody else has locked; those not active are left out
\if :{?run} \else \set run '00000000-0000-0000-0000-000000000000' \endif
\if :{?now} \else \set now 'now' \endif
\if :{?contacts} \else \set contacts '{}' \endif
\if :{?reasons} \else \set reasons '{}' \endif
with refused as materialized (
    select
        sc.id,
        sc.contact_phone,
        sc.status,
        sc.last_error,
        'quarantined: ' || r.reason as reason
    from sequence_contacts as sc
    inner join unnest(:'contacts'::uuid [], :'reasons'::text []) as r (contact_id, reason) on sc.id = r.contact_id
    where sc.status = 'active'
),

changed as (
    update sequence_contacts as sc
    set status = 'set_aside', last_error = refused.reason
    from refused
    where
        sc.contact_phone = refused.contact_phone
        and sc.id = refused.id
        and sc.status = 'active'
        and sc.last_error is not distinct from refused.last_error
    returning sc.id, refused.last_error as old_error, sc.last_error as new_error
),

journal as (
    insert into seqdev.change (run_id, table_name, row_id, column_name, old_value, new_value, changed_at)
    select
        :'run'::uuid,
        'sequence_contacts',
        changed.id,
        col.name,
        col.old_value,
        col.new_value,
        :'now'::timestamptz
    from changed
    cross join lateral (
        values
            ('status', 'active', 'set_aside'),
            ('last_error', changed.old_error, changed.new_error)
    ) as col (name, old_value, new_value)
    returning row_id
)

select distinct journal.row_id as contact_id
from journal;
