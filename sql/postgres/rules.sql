-- The rules that hold for all
--
-- What is set for a user or a device alone is not among them: sql/gates/devices.sql reads it.
--
-- Row:
--   rules  jsonb  the value of each rule that is set, by name
-- Locks: none
select coalesce(jsonb_object_agg(r.name, r.value), '{}') as rules
from seqdev.rule as r
where r.scope = 'all' and r.value is not null;
