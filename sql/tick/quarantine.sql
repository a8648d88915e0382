-- Quarantine contacts that the database refuses, with the reason, and journal it
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
-- Locks: the contacts it changes; those somebody else has locked, or that are not active, are left out
\if :{?run} \else \set run '00000000-0000-0000-0000-000000000000' \endif
\if :{?now} \else \set now 'now' \endif
\if :{?contacts} \else \set contacts '{}' \endif
\if :{?reasons} \else \set reasons '{}' \endif
with refused as materialized (
    select
        sc.id,
        sc.status,
        sc.last_error,
        'quarantined: ' || r.reason as reason
    from unnest(:'contacts'::uuid [], :'reasons'::text []) as r (contact_id, reason)
    inner join sequence_contacts as sc on r.contact_id = sc.id
    where sc.status = 'active'
    for update of sc skip locked
),

changed as (
    update sequence_contacts as sc
    set status = 'set_aside', last_error = refused.reason
    from refused
    where sc.id = refused.id
    returning sc.id, sc.status, sc.last_error
),

journal as (
    insert into seqdev.change (run_id, table_name, row_id, column_name, old_value, new_value, changed_at)
    select
        :'run'::uuid,
        'sequence_contacts',
        refused.id,
        col.name,
        col.old_value,
        col.new_value,
        :'now'::timestamptz
    from refused
    inner join changed on refused.id = changed.id
    cross join lateral (
        values
            ('status', refused.status, changed.status),
            ('last_error', refused.last_error, changed.last_error)
    ) as col (name, old_value, new_value)
)

select changed.id as contact_id
from changed;
