-- The zone of naive timestamps that is kept with the database
--
-- Row:
--   zone  text  its name; no row: none is kept
-- Locks: none
select s.value as zone
from seqdev.setting as s
where s.name = 'zone';
