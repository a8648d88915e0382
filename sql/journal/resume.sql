-- Let the commands that write go on
--
-- Parameters:
--   now      timestamptz  the instant of the transaction
--   os_user  text         who: the user of the operating system
--   host     text         where
--   why      text         what for; empty: nobody has said
-- Locks: the row of the pause
\if :{?now} \else \set now 'now' \endif
\if :{?os_user} \else \set os_user '' \endif
\if :{?host} \else \set host '' \endif
\if :{?why} \else \set why '' \endif
update seqdev.pause
set
    resumed_at = :'now'::timestamptz,
    resumed_by
    = format('%s@%s, %s', :'os_user'::text, :'host'::text, session_user) || coalesce(': ' || nullif(:'why'::text, ''), '')
where resumed_at is null;
