-- Hold the list of blocked phones: whoever adds to it waits until this transaction has ended
--
-- So that nobody is enrolled by a list that somebody has added to meanwhile: sql/repair/apply.sql takes the lock
-- exclusively, and what was enrolled before is there when the rows to come are looked for.
--
-- Row:
--   is_held  boolean  always true
-- Locks: one transaction-level advisory lock, shared
select pg_advisory_xact_lock_shared(hashtextextended('seqdev blocked', 0))::text is not null as is_held;
