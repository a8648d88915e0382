-- Batches that are running now, in this database
--
-- Row:
--   session  text      the application name: seqdev, the command, the beginning of the run's id; null if hidden
--   pid      integer   the server's process
--   batch    text      its transaction
-- Locks: none
select
    a.application_name as session,
    l.pid,
    l.virtualtransaction as batch
from pg_locks as l
left join pg_stat_activity as a on l.pid = a.pid
where
    l.locktype = 'advisory'
    and l.database = (select d.oid from pg_database as d where d.datname = current_database())
    -- 'seqd', 'paus': taken by sql/postgres/begin.sql.
    and l.classid = 1936028004
    and l.objid = 1885435251
    and l.objsubid = 2
    and l.granted
order by a.xact_start, l.pid;
