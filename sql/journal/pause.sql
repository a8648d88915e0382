-- Pause the commands that write, unless they are paused
--
-- Parameters:
--   now      timestamptz  the instant of the transaction
--   os_user  text         who: the user of the operating system
--   host     text         where
--   why      text         what for
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?os_user} \else \set os_user '' \endif
\if :{?host} \else \set host '' \endif
\if :{?why} \else \set why 'set with psql' \endif
insert into seqdev.pause (paused_at, os_user, host, database_user, why)
values (:'now'::timestamptz, :'os_user'::text, :'host'::text, session_user, :'why'::text)
on conflict do nothing;
