-- The rows of other tables that the claim of each contact locks, as foreign keys do
--
-- Asked where another session holds such a row: who depends on it is passed by, and all others are claimed.
--
-- Parameters:
--   contacts  uuid[]  the contacts
-- Row:
--   contact_id          uuid  a contact
--   user_id             uuid  the user of its sequence; null where that is gone
--   sequence_id         uuid  its sequence
--   step_id             uuid  its step, and with it the step that follows
--   assigned_device_id  uuid  the device that the next step's row names
-- Locks: none
\if :{?contacts} \else \set contacts '{}' \endif
select
    sc.id as contact_id,
    s.user_id,
    sc.sequence_id,
    sc.sequence_stepid as step_id,
    sc.assigned_device_id
from sequence_contacts as sc
left join sequences as s on sc.sequence_id = s.id
where sc.id = any(:'contacts'::uuid []);
