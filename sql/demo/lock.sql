-- Let one demo run at a time
--
-- Held by the session until it ends, however it ends. A session's lock will do here: the embedded server is
-- never behind a connection pooler.
--
-- Row:
--   locked  boolean  false: another demo is running
-- Locks: one session-level advisory lock; no row
select pg_try_advisory_lock(hashtextextended('seqdev demo', 0)) as locked;
