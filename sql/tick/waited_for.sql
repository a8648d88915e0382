-- Whether another session waits for a lock that this transaction holds
--
-- Parameters: none
-- Row:
--   waited_for  boolean  one waits for it, whatever the lock is on
-- Locks: none
select exists (
    select 1
    from pg_locks as l
    where not l.granted and pg_backend_pid() = any(pg_blocking_pids(l.pid))
) as waited_for;
