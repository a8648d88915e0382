-- Contacts at their last step whose lead another session has locked, on Citus: none is known
--
-- On Citus nobody tells who holds a row without waiting for it: none is named here, and each is tried.
--
-- Parameters:
--   contacts  uuid[]  the contacts
-- Gates: gates/steps.sql
-- Row:
--   contact_id  uuid  a contact that would wait for its lead
-- Locks: none
\if :{?contacts} \else \set contacts '{}' \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
select c.id as contact_id
from unnest(:'contacts'::uuid []) as c (id)
where false;
