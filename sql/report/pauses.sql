-- When the commands that write were paused, newest first
--
-- Parameters:
--   now    timestamptz  the instant of the transaction
--   since  interval     how far back to look
--   until  timestamptz  the end of the time looked at; empty: now
--   most   integer      pauses to return; empty: all
-- Row:
--   paused_at   timestamptz  since when
--   resumed_at  timestamptz  until when; null: they are paused now
--   host        text         where somebody has paused them
--   total       integer      such pauses in all, listed or not
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '1 day' \endif
\if :{?until} \else \set until '' \endif
\if :{?most} \else \set most '20' \endif
select
    p.paused_at,
    p.resumed_at,
    p.host,
    (count(*) over ())::integer as total
from seqdev.pause as p
where
    (p.resumed_at is null or p.resumed_at > :'now'::timestamptz - :'since'::interval)
    and (nullif(:'until', '')::timestamptz is null or p.paused_at < nullif(:'until', '')::timestamptz)
order by p.paused_at desc
limit nullif(:'most', '')::integer;
