-- Let the commands that write go on
--
-- Parameters:
--   now      timestamptz  the instant of the transaction
--   os_user  text         who: the user of the operating system
--   host     text         where
-- Locks: the row of the pause
\if :{?now} \else \set now 'now' \endif
\if :{?os_user} \else \set os_user '' \endif
\if :{?host} \else \set host '' \endif
update seqdev.pause
set resumed_at = :'now'::timestamptz, resumed_by = format('%s@%s, %s', :'os_user'::text, :'host'::text, session_user)
where resumed_at is null;
