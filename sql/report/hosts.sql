-- Which hosts ran seqdev, in which version, the last one first
--
-- Parameters:
--   now    timestamptz  the instant of the transaction
--   since  interval     how far back to look
--   until  timestamptz  the end of the time looked at; empty: now
--   most   integer      lines to return; empty: all
-- Row:
--   host     text         the host; null where an earlier version has not kept it
--   version  text         of seqdev
--   ticks    integer      ticks that it began
--   others   integer      other runs
--   last_at  timestamptz  when the last of these runs began
--   total    integer      lines in all, listed or not
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '1 day' \endif
\if :{?until} \else \set until '' \endif
\if :{?most} \else \set most '20' \endif
select
    r.host,
    r.version,
    (count(*) filter (where r.command = 'tick'))::integer as ticks,
    (count(*) filter (where r.command <> 'tick'))::integer as others,
    max(r.started_at) as last_at,
    (count(*) over ())::integer as total
from seqdev.run as r
where
    r.started_at >= :'now'::timestamptz - :'since'::interval
    and (nullif(:'until', '')::timestamptz is null or r.started_at < nullif(:'until', '')::timestamptz)
group by r.host, r.version
order by max(r.started_at) desc, r.host, r.version
limit nullif(:'most', '')::integer;
