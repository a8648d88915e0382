-- How many lines of an import come to what
--
-- Needs:
--   leads/outcome.sql
-- Row:
--   outcome   text     new, update, unchanged, skipped, or the reason to reject
--   rejected  boolean  whether it is a reason to reject
--   lines     bigint   lines
-- Locks: none
select
    o.outcome,
    o.rejected,
    count(*) as lines
from pg_temp.lead_outcome as o
group by o.outcome, o.rejected
order by o.outcome;
