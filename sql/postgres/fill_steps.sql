-- Give contacts their step: sequence_stepid, where it is still empty
--
-- Which step is whose, places.sql says.
--
-- Parameters:
--   contacts  uuid[]  the contacts
--   steps     uuid[]  the step of each
-- Locks: the rows it changes
\if :{?contacts} \else \set contacts '{}' \endif
\if :{?steps} \else \set steps '{}' \endif
update sequence_contacts as sc
set sequence_stepid = given.step_id
from unnest(:'contacts'::uuid [], :'steps'::uuid []) as given (contact_id, step_id)
where sc.id = given.contact_id and sc.sequence_stepid is null;
