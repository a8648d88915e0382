-- What ticks did around an instant: the last that began by then, and the first after
--
-- Parameters:
--   at  timestamptz  the instant
-- Row:
--   tick       text         before or after
--   run_id     uuid         the run
--   started    timestamptz  when it began
--   ended      timestamptz  when it ended; null: it was cut off, or runs
--   host       text         where it ran
--   exit_code  integer      as it ended
--   reason     text         why it ended before its work was done
--   queued     integer      messages that it queued; null: it did not say
--   waiting    jsonb        how many it left waiting, by reason; null: it did not say
-- Locks: none
\if :{?at} \else \set at 'now' \endif
select
    r.tick,
    r.id as run_id,
    r.started_at as started,
    r.finished_at as ended,
    r.host,
    r.exit_code,
    r.reason,
    (r.counts ->> 'queued')::integer as queued,
    nullif(r.counts -> 'waiting', 'null') as waiting
from (
    (
        select
            'before' as tick,
            run.*
        from seqdev.run as run
        where run.command = 'tick' and run.started_at <= :'at'::timestamptz
        order by run.started_at desc
        limit 1
    )
    union all
    (
        select
            'after' as tick,
            run.*
        from seqdev.run as run
        where run.command = 'tick' and run.started_at > :'at'::timestamptz
        order by run.started_at
        limit 1
    )
) as r
order by r.started_at;
