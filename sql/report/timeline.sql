-- Ticks and messages that were not sent, counted by time
--
-- The time is cut into places of one length, from 0. What lies outside the calendar has no place; what the host dates
-- later than now is beyond the last.
--
-- Parameters:
--   now     timestamptz  the instant of the transaction
--   since   interval     how far back to look
--   until   timestamptz  the end of the time looked at; empty: now
--   length  interval     length of a place
--   failed  text[]       values of broadcast_messages.status of a message that will never be sent
-- Row:
--   place     integer  the place; null: outside the calendar
--   ticks     integer  ticks that began there and came to a good end
--   bad       integer  ticks that began there and did not: paused, stopped, failed, cut off, or at work
--   messages  integer  messages of sequences that were made there and not sent, as audit/failed.sql has them
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '1 day' \endif
\if :{?until} \else \set until '' \endif
\if :{?length} \else \set length '15 minutes' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
with event (at, is_tick, is_good) as (
    select
        r.started_at as at,
        true as is_tick,
        -- As in sql/journal/list.sql.
        r.finished_at is not null and (r.exit_code is null or r.exit_code in (0, 3, 141)) as is_good
    from seqdev.run as r
    where
        r.command = 'tick'
        and r.started_at >= :'now'::timestamptz - :'since'::interval
        and (nullif(:'until', '')::timestamptz is null or r.started_at < nullif(:'until', '')::timestamptz)
    union all
    select
        m.created_at::timestamptz as at,
        false as is_tick,
        false as is_good
    from broadcast_messages as m
    where
        m.created_at >= :'now'::timestamptz - :'since'::interval
        and (nullif(:'until', '')::timestamptz is null or m.created_at < nullif(:'until', '')::timestamptz)
        and m.status = any(:'failed'::text [])
        and m.sequence_id is not null
)

select
    placed.place,
    (count(*) filter (where placed.is_tick and placed.is_good))::integer as ticks,
    (count(*) filter (where placed.is_tick and not placed.is_good))::integer as bad,
    (count(*) filter (where not placed.is_tick))::integer as messages
from (
    select
        e.is_tick,
        e.is_good,
        case
            when isfinite(e.at)
                then floor(
                    extract(epoch from e.at - (:'now'::timestamptz - :'since'::interval))
                    / extract(epoch from :'length'::interval)
                )::integer
        end as place
    from event as e
) as placed
group by placed.place
order by placed.place;
