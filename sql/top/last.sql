-- Where this is, and what the last tick that has come to an end said of those who wait
--
-- Row:
--   database  text         name of the database
--   ended     timestamptz  end of the last tick; null: there was none
--   host      text         where it ran
--   exit_code integer      as it ended
--   reason    text         why it ended before its work was done
--   waiting   jsonb        how many it left waiting, by reason; null: it did not say
-- Locks: none
select
    d.datname::text as database,
    r.finished_at as ended,
    r.host,
    r.exit_code,
    r.reason,
    r.counts -> 'waiting' as waiting
from pg_database as d
left join lateral (
    select run.*
    from seqdev.run as run
    where run.command = 'tick' and run.finished_at is not null
    order by run.started_at desc
    limit 1
) as r on true
where d.datname = current_database();
