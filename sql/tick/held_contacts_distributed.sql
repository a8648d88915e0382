-- Contacts whose own row another session has locked, on Citus: none is passed over
--
-- On Citus the claim passes nobody over: it waits, and raises.
--
-- Parameters:
--   contacts  uuid[]  the contacts
-- Row:
--   contact_id  uuid  a contact whose row is locked
-- Locks: none
\if :{?contacts} \else \set contacts '{}' \endif
select c.id as contact_id
from unnest(:'contacts'::uuid []) as c (id)
where false;
