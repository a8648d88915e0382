-- Contacts whose own row another session has locked
--
-- The claim passes them over without a word. Asked where it has claimed fewer than it was given. The locks that this
-- statement takes are of no use: it is run in a part of the transaction that is undone.
--
-- Parameters:
--   contacts  uuid[]  the contacts
-- Row:
--   contact_id  uuid  a contact whose row is locked
-- Locks: the contacts; those somebody else has locked are the answer
\if :{?contacts} \else \set contacts '{}' \endif
with free as materialized (
    select sc.id
    from sequence_contacts as sc
    where sc.id = any(:'contacts'::uuid [])
    for update skip locked
)

select sc.id as contact_id
from sequence_contacts as sc
where sc.id = any(:'contacts'::uuid []) and sc.id not in (select free.id from free);
