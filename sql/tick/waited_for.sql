-- Whether a session of the host's waits for a lock that this transaction holds
--
-- Those of seqdev wait for each other, and lose nothing by it.
--
-- Parameters: none
-- Row:
--   waited_for  boolean  one waits for it, whatever the lock is on
-- Locks: none
select exists (
    select 1
    from pg_locks as l
    inner join pg_stat_activity as a on l.pid = a.pid
    where
        not l.granted
        and pg_backend_pid() = any(pg_blocking_pids(l.pid))
        and a.application_name !~ '^seqdev '
) as waited_for;
