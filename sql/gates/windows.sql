-- Which steps are shut by their hours: the window of their sequence, and times of the day that the host has for them
--
-- Decided once a transaction, from small tables alone. Steps without hours are not among them. A window is open as the
-- clock on the wall of its zone says: an hour that summer time leaves out is never there, and one that it repeats is
-- there twice. Where a window or its zone cannot be read, it is shut.
--
-- The n-th elements of the arrays named timed_ belong together.
--
-- Parameters:
--   now           timestamptz  the instant of the transaction
--   ahead         uuid[]       only the steps of these sequences, and when those that are shut will open; empty: all
--   window        text         the window of sequences for which no rule sets another; empty: always open
--   zone          text         their time zone, the same; empty: that of the transaction
--   host_columns  boolean      sequences.schedule_time and sequence_steps.time_schedule count, where there are such
-- Gates: gates/zones.sql
-- Row:
--   shut_steps     text  uuid[]: the steps that are shut
--   timed_steps    text  uuid[]: of the sequences asked about ahead, all steps that have hours
--   timed_opens    text  timestamptz[]: when each of them opens, if it is shut; null: nobody knows
--   timed_words    text  text[]: its hours in words, and whose rules they are
--   unknown_zones  text  text[]: zones that are not among those given
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?ahead} \else \set ahead '{}' \endif
\if :{?window} \else \set window '' \endif
\if :{?zone} \else \set zone '' \endif
\if :{?host_columns} \else \set host_columns 'true' \endif
\if :{?zones} \else \ir ../gates/zones.sql \endif
with ruled as materialized (
    select
        r.scope,
        r.scope_id,
        max(r.value) filter (where r.name = 'window') as hours,
        max(r.value) filter (where r.name = 'zone') as zone
    from seqdev.rule as r
    where r.scope in ('sequence', 'user') and r.name in ('window', 'zone') and r.value is not null
    group by r.scope, r.scope_id
),

sequence as materialized (
    select
        s.id,
        coalesce(own.hours, owner.hours, :'window'::text) as hours,
        'rule of ' || coalesce(
            case when own.hours is not null then 'the sequence' end,
            case when owner.hours is not null then 'the user' end,
            'all'
        ) as hours_by,
        coalesce(nullif(coalesce(own.zone, owner.zone, :'zone'::text), ''), current_setting('timezone')) as zone,
        case
            when own.zone is not null then 'rule of the sequence'
            when owner.zone is not null then 'rule of the user'
            when :'zone'::text <> '' then 'rule of all'
            else 'the database''s'
        end as zone_by,
        optional.not_before
    from sequences as s
    left join ruled as own on own.scope = 'sequence' and s.id = own.scope_id
    left join ruled as owner on owner.scope = 'user' and s.user_id = owner.scope_id
    cross join lateral (
        -- Where the host has no such column, its name is found further out.
        select
            (
                select schedule_time::text
                from (select s.*) as host
            ) as not_before
        from (select null::text as schedule_time) as missing
    ) as optional
),

step as materialized (
    select
        own.id,
        s.hours,
        s.hours_by,
        s.zone,
        s.zone_by,
        early.not_before,
        early.named as not_before_by,
        concat_ws(' ', s.zone, coalesce(early.not_before, '00:00'), s.hours) as window_id
    from sequence as s
    inner join sequence_steps as own on s.id = own.sequence_id
    cross join lateral (
        select
            (
                select time_schedule::text
                from (select own.*) as host
            ) as not_before
        from (select null::text as time_schedule) as missing
    ) as optional
    -- What is no time of the day counts as none, as does midnight.
    left join lateral (
        select
            told.not_before,
            known.named
        from (
            values
                (1, optional.not_before, 'sequence_steps.time_schedule'),
                (2, s.not_before, 'sequences.schedule_time')
        ) as known (place, words, named)
        cross join lateral (
            select
                (regexp_match(known.words, '^\s*((?:[01]?\d|2[0-3]):[0-5]\d)(?::[0-5]\d)?\s*$'))[1]::time as not_before
        ) as told
        where told.not_before <> '00:00'
        order by known.place
        limit 1
    ) as early on :'host_columns'::boolean
    where
        (s.hours <> '' or early.not_before is not null)
        and (:'ahead'::uuid [] = '{}' or s.id = any(:'ahead'::uuid []))
),

-- Each window once.
win as materialized (
    select distinct
        step.window_id as id,
        step.hours,
        step.not_before,
        step.zone,
        step.zone = any(:'zones'::text []) or step.zone = current_setting('timezone') as is_known
    from step
),

-- Its ranges, in minutes since the week began; one that cannot be read has no days.
span as materialized (
    select
        part.id,
        part.found is not null as is_read,
        extract(minute from part.found[3]::time)::integer % 15 as odd_minutes,
        (day.number - 1) * 1440 + extract(epoch from part.found[3]::time)::integer / 60 as starts,
        -- As long as a day, where it ends at the time at which it begins.
        (extract(epoch from part.found[4]::time - part.found[3]::time)::integer / 60 + 2879) % 1440 + 1 as lasts
    from (
        select
            win.id,
            regexp_match(
                replace(lower(piece.words), 'daily', 'mon-sun'),
                '^\s*(mon|tue|wed|thu|fri|sat|sun)(?:-(mon|tue|wed|thu|fri|sat|sun))?\s+'
                '((?:[01]\d|2[0-3]):[0-5]\d)-((?:[01]\d|2[0-3]):[0-5]\d|24:00)\s*$'
            ) as found
        from win
        cross join lateral unnest(string_to_array(win.hours, ',')) as piece (words)
    ) as part
    cross join lateral (
        select
            array_position('{mon,tue,wed,thu,fri,sat,sun}', part.found[1]) as first,
            array_position('{mon,tue,wed,thu,fri,sat,sun}', coalesce(part.found[2], part.found[1])) as last
    ) as days
    left join lateral (
        select week.number
        from generate_series(1, 7) as week (number)
        where
            case
                when days.first <= days.last then week.number between days.first and days.last
                else week.number >= days.first or week.number <= days.last
            end
    ) as day on true
),

-- Now; and if it is asked for, all instants of two weeks at which a window can open: clocks are set, and differ from
-- zone to zone, by quarters of an hour.
instant as materialized (
    select
        win.id,
        :'now'::timestamptz as at
    from win
    union
    select
        win.id,
        quarter.at + odd.minutes * interval '1 minute'
    from win
    cross join lateral (
        select 0 as minutes
        union
        select extract(minute from win.not_before)::integer % 15
        where win.not_before is not null
        union
        select span.odd_minutes
        from span
        where span.id = win.id and span.is_read
    ) as odd
    cross join lateral generate_series(
        date_trunc('hour', :'now'::timestamptz), :'now'::timestamptz + interval '15 days', interval '15 minutes'
    ) as quarter (at)
    where :'ahead'::uuid [] <> '{}'
),

judged as materialized (
    select
        instant.id,
        instant.at,
        bool_and(
            local.clock::time >= coalesce(win.not_before, '00:00') and (win.hours = '' or span.is_read)
        )
        and bool_or(win.hours = '' or (local.minute - span.starts + 10080) % 10080 < span.lasts) as is_open
    from instant
    inner join win on instant.id = win.id
    left join span on win.id = span.id
    cross join lateral (
        select
            local.clock,
            extract(epoch from local.clock - date_trunc('week', local.clock)) / 60 as minute
        from (
            select case when win.is_known then instant.at at time zone win.zone end as clock
        ) as local
    ) as local
    group by instant.id, instant.at
),

verdict as materialized (
    select
        judged.id,
        coalesce(bool_or(judged.is_open) filter (where judged.at = :'now'::timestamptz), false) as is_open,
        min(judged.at) filter (where judged.is_open and judged.at > :'now'::timestamptz) as opens_at
    from judged
    group by judged.id
)

select
    coalesce(array_agg(step.id) filter (where not verdict.is_open), '{}')::text as shut_steps,
    coalesce(array_agg(step.id) filter (where :'ahead'::uuid [] <> '{}'), '{}')::text as timed_steps,
    coalesce(array_agg(verdict.opens_at) filter (where :'ahead'::uuid [] <> '{}'), '{}')::text as timed_opens,
    coalesce(
        array_agg(concat_ws(
            ', ',
            case when step.hours <> '' then format('window %s (%s)', step.hours, step.hours_by) end,
            case
                when step.not_before is not null
                    then format('not before %s (%s)', left(step.not_before::text, 5), step.not_before_by)
            end,
            format('zone %s (%s)', step.zone, step.zone_by)
        )) filter (where :'ahead'::uuid [] <> '{}'), '{}'
    )::text as timed_words,
    coalesce((select array_agg(distinct win.zone) from win where not win.is_known), '{}')::text as unknown_zones
from step
inner join verdict on step.window_id = verdict.id
\gset
