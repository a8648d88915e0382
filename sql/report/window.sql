-- The time that a report is about, and where it was made
--
-- Parameters:
--   now    timestamptz  the instant of the transaction
--   since  interval     how far back to look
--   until  timestamptz  the end of the time looked at; empty: now
-- Row:
--   since     timestamptz  the beginning of that time
--   until     timestamptz  the end of that time
--   zone      text         the time zone in which naive timestamps are read
--   database  text         name of the database
--   server    text         version of the server
--   every     interval     how often a tick begins: the median of that time, a minute at least
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '1 day' \endif
\if :{?until} \else \set until '' \endif
select
    :'now'::timestamptz - :'since'::interval as since,
    least(:'now'::timestamptz, nullif(:'until', '')::timestamptz) as until,
    current_setting('TimeZone') as zone,
    current_database()::text as database,
    split_part(current_setting('server_version'), ' ', 1) as server,
    greatest(
        interval '1 minute',
        date_trunc('second', percentile_cont(0.5) within group (order by tick.pace) + interval '0.5 seconds')
    ) as every
from (
    select r.started_at - lag(r.started_at) over (order by r.started_at) as pace
    from seqdev.run as r
    where
        r.command = 'tick'
        and r.started_at >= :'now'::timestamptz - :'since'::interval
        and r.started_at < least(:'now'::timestamptz, nullif(:'until', '')::timestamptz)
        -- As in sql/journal/list.sql.
        and r.finished_at is not null
        and (r.exit_code is null or r.exit_code in (0, 3, 141))
) as tick;
