-- Up to when the journal was pruned
--
-- Row:
--   before  timestamptz  of what began before, runs and their changes may be gone; null: it never was pruned
-- Locks: none
select max(coalesce((r.counts ->> 'began_before')::timestamptz, r.started_at)) as before
from seqdev.run as r
where r.command = 'journal prune';
