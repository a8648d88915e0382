-- Sessions of other programs that may write messages: one of them could be the second processor
--
-- Those of this instant, in this database, whose role may insert messages. Behind a pooler, the client is the pooler. A
-- role that is not a member of pg_read_all_stats sees neither client nor instant of the sessions of others.
--
-- Row:
--   application  text         what the program calls itself; empty: nothing
--   role         text         its database role
--   client       text         address that it connects from; null: a socket of this machine, or hidden
--   sessions     integer      how many of them there are
--   at_work      integer      of these, how many run a statement just now; none where that is hidden
--   since        timestamptz  when the first of them began; null: hidden
--   hidden       boolean      this role may not see where they come from, and since when
-- Locks: none
select
    coalesce(a.application_name, '') as application,
    a.usename::text as role,
    host(a.client_addr) as client,
    count(*)::integer as sessions,
    (count(*) filter (where a.state = 'active'))::integer as at_work,
    min(a.backend_start) as since,
    a.backend_start is null as hidden
from pg_stat_activity as a
where
    a.datname = current_database()
    and a.pid <> pg_backend_pid()
    and coalesce(a.backend_type, 'client backend') = 'client backend'
    and a.application_name !~ '^seqdev '
    and has_table_privilege(a.usesysid, to_regclass('broadcast_messages'), 'insert')
group by application, a.usename, client, hidden
order by sessions desc, application, a.usename, client;
