-- Times in which ticks were missed, newest first: none that came to a good end began there
--
-- Good is what ended by itself with its work done. As many are missed as would have fitted in between. None is
-- missed before the first run ever.
--
-- Parameters:
--   now    timestamptz  the instant of the transaction
--   since  interval     how far back to look
--   until  timestamptz  the end of the time looked at; empty: now
--   every  interval     how often a tick should begin
--   most   integer      such times to return; empty: all
-- Row:
--   missed_from  timestamptz  the last good tick before, or the beginning of the time looked at
--   missed_to    timestamptz  the next good tick, or the end of that time
--   lasted       interval     the time between them
--   missed       integer      ticks that should have been there
--   began        jsonb        ticks that were, by how they ended: paused, stopped, failed, unfinished
--   total        integer      such times in all, listed or not
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '1 day' \endif
\if :{?until} \else \set until '' \endif
\if :{?every} \else \set every '1 minute' \endif
\if :{?most} \else \set most '20' \endif
with looked_at as materialized (
    select
        :'now'::timestamptz - :'since'::interval as since,
        least(:'now'::timestamptz, nullif(:'until', '')::timestamptz) as until
),

ticks as materialized (
    select
        r.started_at,
        case
            when r.finished_at is null then 'unfinished'
            when r.exit_code is null or r.exit_code in (0, 3, 141) then 'done'
            when r.exit_code = 4 then 'paused'
            when r.exit_code > 128 then 'stopped'
            else 'failed'
        end as state
    from seqdev.run as r
    where
        r.command = 'tick'
        and r.started_at >= (select looked_at.since from looked_at)
        and r.started_at < (select looked_at.until from looked_at)
),

mark (at, ticked) as (
    select
        greatest((select looked_at.since from looked_at), min(r.started_at)) as at,
        false as ticked
    from seqdev.run as r
    where r.started_at < (select looked_at.until from looked_at)
    having count(*) > 0
    union all
    select
        t.started_at as at,
        true as ticked
    from ticks as t
    where t.state = 'done'
    union all
    select
        looked_at.until as at,
        false as ticked
    from looked_at
),

event as (
    select
        m.at,
        true as is_mark,
        null as state
    from mark as m
    union all
    select
        t.started_at as at,
        false as is_mark,
        t.state
    from ticks as t
    where t.state <> 'done'
),

-- Each of the other ticks behind the mark that it follows.
other as (
    select
        numbered.mark,
        numbered.state,
        count(*) as ticks
    from (
        select
            e.is_mark,
            e.state,
            count(*) filter (where e.is_mark) over (order by e.at) as mark
        from event as e
    ) as numbered
    where not numbered.is_mark
    group by numbered.mark, numbered.state
),

began as (
    select
        o.mark,
        jsonb_object_agg(o.state, o.ticks) as states
    from other as o
    group by o.mark
),

between_marks as (
    select
        row_number() over w - 1 as mark,
        lag(m.at) over w as missed_from,
        m.at as missed_to,
        -- Between two ticks they are out of step by less than half; at the ends one may be still to come.
        case
            when m.ticked and lag(m.ticked) over w then round(extract(epoch from m.at - lag(m.at) over w) / e.seconds) - 1
            when lag(m.ticked) over w then floor(extract(epoch from m.at - lag(m.at) over w) / e.seconds) - 1
            else floor(extract(epoch from m.at - lag(m.at) over w) / e.seconds)
        end as missed
    from mark as m
    cross join (select extract(epoch from :'every'::interval) as seconds) as e
    window w as (order by m.at, m.ticked)
)

select
    b.missed_from,
    b.missed_to,
    b.missed_to - b.missed_from as lasted,
    b.missed::integer as missed,
    coalesce(began.states, '{}') as began,
    (count(*) over ())::integer as total
from between_marks as b
left join began on b.mark = began.mark
where b.missed > 0
order by b.missed_from desc
limit nullif(:'most', '')::integer;
