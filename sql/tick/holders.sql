-- Sessions that may hold a row of a table, the longest running first
--
-- The server tells who holds a row only to those who wait for it. Who holds one has a lock on its table, too, in a
-- transaction that has a number of its own: if there is one such session, it is the one.
--
-- Parameters:
--   table_name  text  a table of the host's
-- Row:
--   pid          integer      the session
--   application  text         its application name
--   role         text         its role
--   since        timestamptz  the beginning of its transaction; null where this role may not see it
-- Locks: none
\if :{?table_name} \else \set table_name 'leads' \endif
select
    l.pid,
    a.application_name::text as application,
    a.usename::text as role,
    a.xact_start as since
from pg_locks as l
inner join pg_locks as xid on l.pid = xid.pid and xid.locktype = 'transactionid' and xid.granted
left join pg_stat_activity as a on l.pid = a.pid
where
    l.locktype = 'relation'
    and l.database = (select d.oid from pg_database as d where d.datname = current_database())
    and l.relation = to_regclass(quote_ident(:'table_name'::text))
    and l.mode <> 'AccessShareLock'
    and l.granted
    and l.pid <> pg_backend_pid()
group by l.pid, a.application_name, a.usename, a.xact_start
order by max(age(xid.transactionid)) desc, l.pid;
