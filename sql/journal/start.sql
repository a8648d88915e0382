-- Enter a run in the journal
--
-- Parameters:
--   id         uuid         the run
--   command    text         what was run
--   arguments  text         the options that were given, without values that could be anybody's business
--   why        text         what for, as the person says; empty: nobody has said
--   version    text         of seqdev
--   os_user    text         who ran it
--   host       text         where
--   pid        integer      as which process
--   session    text         the application name of its sessions
--   backend    integer      the server's process as the client knows it: not the real one behind a pooler
--   now        timestamptz  the instant of the transaction
-- Locks: none
\if :{?id} \else \set id '00000000-0000-0000-0000-000000000000' \endif
\if :{?command} \else \set command 'psql' \endif
\if :{?arguments} \else \set arguments '' \endif
\if :{?why} \else \set why '' \endif
\if :{?version} \else \set version '' \endif
\if :{?os_user} \else \set os_user '' \endif
\if :{?host} \else \set host '' \endif
\if :{?pid} \else \set pid '0' \endif
\if :{?session} \else \set session '' \endif
\if :{?backend} \else \set backend '0' \endif
\if :{?now} \else \set now 'now' \endif
insert into seqdev.run (
    id, command, arguments, why, started_at, version, os_user, database_user, host, pid, session, backend_pid
)
values (
    :'id'::uuid,
    :'command'::text,
    :'arguments'::text,
    nullif(:'why'::text, ''),
    :'now'::timestamptz,
    :'version'::text,
    :'os_user'::text,
    session_user,
    :'host'::text,
    :'pid'::integer,
    :'session'::text,
    case when pg_backend_pid() = :'backend'::integer then pg_backend_pid() end
)
-- The answer to the commit may have been lost.
on conflict do nothing;
