-- Which steps are shut by their hours: the window of their sequence, and times of the day that the host has for them
--
-- Decided once a transaction, from small tables alone. Steps without hours are not among them. A window is open as the
-- clock on the wall of its zone says: an hour that summer time leaves out is never there, and one that it repeats is
-- there twice. Where a window or its zone cannot be read, it is shut.
--
-- In the zone "recipient" a window is open to whom it is open in all zones that their phone may be in, by its longest
-- known prefix; where none is known, in the next less specific zone. Such a step is shut only if it is shut to all.
--
-- The n-th elements of the arrays whose names begin alike, with timed_ or change_ or zoned_, belong together.
--
-- Parameters:
--   now           timestamptz  the instant of the transaction
--   ahead         uuid[]       only the steps of these sequences, and when those that are shut will open; empty: all
--   phone         text         to ask ahead: digits of the recipient, country code first
--   window        text         the window of sequences for which no rule sets another; empty: always open
--   zone          text         their time zone, the same; empty: that of the transaction
--   within        interval     how far to tell when windows open and shut; 0: not at all
--   instead       text         a window that stands in for those of all sequences; empty: for none
--   host_columns  boolean      sequences.schedule_time and sequence_steps.time_schedule count, where there are such
--   closing       boolean      also when those that are open close, where that is within 75 minutes: gates/spread.sql
-- Gates: gates/zones.sql, gates/phone_zones.sql
-- Row:
--   shut_steps       text  uuid[]: the steps that are shut
--   timed_steps      text  uuid[]: of the sequences asked about ahead, or of all within a time, the steps that have hours
--   timed_opens      text  timestamptz[]: when each of them opens, if it is shut; null: nobody knows
--   timed_words      text  text[]: its hours in words, and whose rules they are
--   timed_windows    text  text[]: its window, as the changes have it
--   change_windows   text  text[]: within the time asked about, a window that opens or shuts, or is open or shut now
--   change_zones     text  text[]: in which zones of recipients; null: in that of all others
--   change_instants  text  timestamptz[]: when
--   change_opens     text  boolean[]: whether it is open from then on
--   zoned_prefixes   text  text[]: first digits of phones: the longest tells the zones of a recipient
--   zoned_zones      text  text[]: these, as the changes have them
--   recipient_hours  text  jsonb: by the id of a step that is open to a part of its recipients, a number; by this, a
--                          space and the first digits of a phone, whether it is open to whom this is the longest of
--   closing_users    text  uuid[]: with closing, the users of whose windows that are open one closes soon
--   closing_ats      text  timestamptz[]: when the first of them does
--   unknown_zones    text  text[]: zones that are not among those given; recipient, where none of phones are
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?ahead} \else \set ahead '{}' \endif
\if :{?window} \else \set window '' \endif
\if :{?zone} \else \set zone '' \endif
\if :{?within} \else \set within '0' \endif
\if :{?instead} \else \set instead '' \endif
\if :{?host_columns} \else \set host_columns 'false' \endif
\if :{?phone} \else \set phone '' \endif
\if :{?closing} \else \set closing 'false' \endif
\if :{?phone_prefixes} \else \ir ../gates/phone_zones.sql \endif
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
        s.user_id,
        coalesce(nullif(:'instead'::text, ''), own.hours, owner.hours, :'window'::text) as hours,
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
        coalesce(
            case when own.zone = 'recipient' then nullif(nullif(owner.zone, 'recipient'), '') end,
            nullif(nullif(:'zone'::text, 'recipient'), ''),
            current_setting('timezone')
        ) as home,
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
        s.user_id,
        s.hours,
        s.hours_by,
        s.zone,
        s.zone_by,
        case when s.zone = 'recipient' then s.home else s.zone end as home,
        early.not_before,
        early.named as not_before_by,
        dense_rank() over (
            order by s.zone, case when s.zone = 'recipient' then s.home end, coalesce(early.not_before, '00:00'), s.hours
        ) as window_id
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
        step.zone = 'recipient' as is_recipients,
        step.home
    from step
),

-- The zones of phones, as far as the server knows them. For a time asked about, those whose clocks go alike in it are
-- read as one: some forty of nearly three hundred. Clocks are set at full and at half hours.
clock as materialized (
    select
        told.zone,
        case
            when :'within'::interval > interval '0' then min(told.zone) over (partition by told.times)
            else told.zone
        end as read_as
    from (
        select
            part.zone,
            (
                select array_agg(half.at at time zone part.zone order by half.at)
                from generate_series(
                    date_trunc('hour', :'now'::timestamptz),
                    :'now'::timestamptz + :'within'::interval,
                    interval '30 minutes'
                ) as half (at)
            ) as times
        from (
            select distinct unnest(string_to_array(known.zones, '&')) as zone
            from unnest(:'phone_zones'::text []) as known (zones)
        ) as part
        where part.zone = any(:'zones'::text []) and (select bool_or(win.is_recipients) from win)
    ) as told
),

phone_zone as materialized (
    select
        known.zones,
        array_agg(distinct clock.read_as) as names,
        array_agg(distinct known.digits) as prefixes
    from unnest(:'phone_prefixes'::text [], :'phone_zones'::text []) as known (digits, zones)
    cross join unnest(string_to_array(known.zones, '&')) as part (zone)
    inner join clock on part.zone = clock.zone
    group by known.zones
),

-- Of one person, if it is asked ahead.
person as materialized (
    select phone_zone.names
    from phone_zone
    cross join unnest(phone_zone.prefixes) as prefix (digits)
    where :'phone'::text like prefix.digits || '%'
    order by length(prefix.digits) desc
    limit 1
),

-- Each window in each zone in which it is read.
place as materialized (
    select
        win.id,
        read.zone,
        read.zone = any(:'zones'::text []) or read.zone = current_setting('timezone') as is_known
    from win
    cross join lateral (
        select win.home as zone
        where not win.is_recipients or :'ahead'::uuid [] = '{}' or not exists (select from person)
        union
        select unnest(phone_zone.names)
        from phone_zone
        where win.is_recipients and :'ahead'::uuid [] = '{}'
        union
        select unnest(person.names)
        from person
        where win.is_recipients and :'ahead'::uuid [] <> '{}'
    ) as read
),

-- Its ranges, in minutes since the week began; one that cannot be read has no days.
span as materialized (
    select
        part.id,
        part.found is not null as is_read,
        extract(minute from part.found[3]::time)::integer % 15 as odd_minutes,
        extract(minute from part.found[4]::time)::integer % 15 as odd_ends,
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
        -- Each is matched once.
        offset 0
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
        select edge.minutes
        from span
        -- Where one range ends, another window may be shut.
        cross join lateral (values (span.odd_minutes), ((span.starts + span.lasts)::integer % 15)) as edge (minutes)
        where span.id = win.id and span.is_read
    ) as odd
    cross join lateral generate_series(
        date_trunc('hour', :'now'::timestamptz),
        :'now'::timestamptz + case when :'within'::interval > interval '0' then :'within'::interval else interval '15 days' end,
        interval '15 minutes'
    ) as quarter (at)
    where :'ahead'::uuid [] <> '{}' or :'within'::interval > interval '0'
    union
    -- Those at which one can close.
    select
        win.id,
        quarter.at + odd.minutes * interval '1 minute'
    from win
    cross join lateral (
        select 0 as minutes
        union
        select span.odd_ends
        from span
        where span.id = win.id and span.is_read
    ) as odd
    cross join lateral generate_series(
        date_trunc('hour', :'now'::timestamptz), :'now'::timestamptz + interval '75 minutes', interval '15 minutes'
    ) as quarter (at)
    where :'closing'::boolean and quarter.at + odd.minutes * interval '1 minute' > :'now'::timestamptz
),

-- A week's minutes at which a window is open, and whether all of its ranges can be read.
week as materialized (
    select
        span.id,
        bool_and(span.is_read) as is_read,
        -- What goes on beyond the end of the week goes on from its beginning.
        range_agg(int4range(piece.starts, piece.ends)) filter (where piece.starts < piece.ends) as minutes
    from span
    cross join lateral (
        values (span.starts, least(span.starts + span.lasts, 10080)), (0, span.starts + span.lasts - 10080)
    ) as piece (starts, ends)
    group by span.id
),

judged as materialized (
    select
        place.id,
        place.zone,
        instant.at,
        coalesce(
            local.clock::time >= coalesce(win.not_before, '00:00')
            and (
                win.hours = ''
                or week.is_read
                and week.minutes
                @> floor(extract(epoch from local.clock - date_trunc('week', local.clock)) / 60)::integer
            ),
            false
        ) as is_open
    from instant
    inner join place on instant.id = place.id
    inner join win on place.id = win.id
    left join week on win.id = week.id
    cross join lateral (
        select case when place.is_known then instant.at at time zone place.zone end as clock
    ) as local
),

verdict as materialized (
    select
        moment.id,
        bool_or(
            case when win.is_recipients and :'ahead'::uuid [] = '{}' then moment.somewhere else moment.everywhere end
        ) filter (where moment.at = :'now'::timestamptz) as is_open,
        bool_or(moment.everywhere) filter (where moment.at = :'now'::timestamptz) as is_open_to_all,
        min(moment.at) filter (where moment.everywhere and moment.at > :'now'::timestamptz) as opens_at
    from (
        select
            judged.id,
            judged.at,
            bool_or(judged.is_open) as somewhere,
            bool_and(judged.is_open) as everywhere
        from judged
        group by judged.id, judged.at
    ) as moment
    inner join win on moment.id = win.id
    group by moment.id
),

-- Windows that are open to a part of their recipients.
part as materialized (
    select
        verdict.id,
        row_number() over (order by verdict.id)::text as number
    from verdict
    where verdict.is_open and not verdict.is_open_to_all
),

-- When the first of a user's windows that are open closes, wherever it is read.
closing as materialized (
    select
        step.user_id,
        min(later.at) as at
    from step
    inner join judged as later on step.window_id = later.id
    inner join judged as present
        on later.id = present.id and later.zone = present.zone and present.at = :'now'::timestamptz
    where :'closing'::boolean and present.is_open and not later.is_open
    group by step.user_id
),

recipient_hours as materialized (
    select
        step.id::text as key,
        part.number as value
    from step
    inner join part on step.window_id = part.id
    union all
    select
        part.number || ' ' || prefix.digits,
        by_zones.is_open::text
    from part
    inner join (
        select
            judged.id,
            phone_zone.prefixes,
            bool_and(judged.is_open) as is_open
        from phone_zone
        cross join unnest(phone_zone.names) as name (zone)
        inner join judged on name.zone = judged.zone and judged.at = :'now'::timestamptz
        group by judged.id, phone_zone.prefixes
    ) as by_zones on part.id = by_zones.id
    cross join unnest(by_zones.prefixes) as prefix (digits)
    union all
    select
        part.number || ' ',
        judged.is_open::text
    from part
    inner join win on part.id = win.id
    inner join judged on win.id = judged.id and win.home = judged.zone and judged.at = :'now'::timestamptz
),

-- Recipients whose zones go alike, by a number: sorting hundreds of thousands of names takes long.
together as materialized (
    select
        phone_zone.zones,
        phone_zone.names,
        dense_rank() over (order by phone_zone.names) as number
    from phone_zone
),

-- What is now, and each instant at which that changes.
change as materialized (
    select
        state.id,
        together.zones,
        state.at,
        state.is_open
    from (
        select
            told.*,
            lag(told.is_open) over (partition by told.id, told.number order by told.at) as was_open
        from (
            select
                judged.id,
                null as number,
                judged.at,
                judged.is_open
            from win
            inner join judged on win.id = judged.id and win.home = judged.zone
            union all
            select
                judged.id,
                member.number,
                judged.at,
                bool_and(judged.is_open)
            from win
            inner join judged on win.id = judged.id
            inner join (
                select
                    alike.number,
                    unnest(alike.names) as zone
                from (select distinct together.number, together.names from together) as alike
            ) as member on judged.zone = member.zone
            where win.is_recipients
            group by judged.id, member.number, judged.at
        ) as told
        where :'within'::interval > interval '0' and told.at >= :'now'::timestamptz
    ) as state
    left join together on state.number = together.number
    where state.is_open is distinct from state.was_open
)

select
    coalesce(array_agg(step.id) filter (where not verdict.is_open), '{}')::text as shut_steps,
    coalesce(array_agg(step.id) filter (where :'ahead'::uuid [] <> '{}' or :'within'::interval > interval '0'), '{}')::text as timed_steps,
    coalesce(array_agg(verdict.opens_at) filter (where :'ahead'::uuid [] <> '{}' or :'within'::interval > interval '0'), '{}')::text as timed_opens,
    coalesce(
        array_agg(concat_ws(
            ', ',
            case when step.hours <> '' then format('window %s (%s)', step.hours, step.hours_by) end,
            case
                when step.not_before is not null
                    then format('not before %s (%s)', left(step.not_before::text, 5), step.not_before_by)
            end,
            format(
                'zone %s (%s)',
                concat_ws(': ', step.zone, case when step.zone = 'recipient' then coalesce(
                    (select array_to_string(person.names, ' and ') from person), step.home || ', the phone''s is not known'
                ) end),
                step.zone_by
            )
        )) filter (where :'ahead'::uuid [] <> '{}' or :'within'::interval > interval '0'), '{}'
    )::text as timed_words,
    coalesce(
        array_agg(step.window_id::text) filter (where :'ahead'::uuid [] <> '{}' or :'within'::interval > interval '0'), '{}'
    )::text as timed_windows,
    coalesce((select array_agg(change.id::text) from change), '{}')::text as change_windows,
    coalesce((select array_agg(change.zones) from change), '{}')::text as change_zones,
    coalesce((select array_agg(change.at) from change), '{}')::text as change_instants,
    coalesce((select array_agg(change.is_open) from change), '{}')::text as change_opens,
    coalesce(
        (
            select array_agg(prefix.digits order by prefix.digits)
            from phone_zone
            cross join unnest(phone_zone.prefixes) as prefix (digits)
            where :'within'::interval > interval '0'
        ), '{}'
    )::text as zoned_prefixes,
    coalesce(
        (
            select array_agg(phone_zone.zones order by prefix.digits)
            from phone_zone
            cross join unnest(phone_zone.prefixes) as prefix (digits)
            where :'within'::interval > interval '0'
        ), '{}'
    )::text as zoned_zones,
    coalesce((select jsonb_object_agg(h.key, h.value) from recipient_hours as h), '{}')::text as recipient_hours,
    coalesce((select array_agg(c.user_id order by c.user_id) from closing as c), '{}')::text as closing_users,
    coalesce((select array_agg(c.at order by c.user_id) from closing as c), '{}')::text as closing_ats,
    coalesce(
        (
            select array_agg(distinct named.zone)
            from (
                select place.zone
                from place
                where not place.is_known
                union all
                select 'recipient'
                from win
                where win.is_recipients and :'phone_prefixes'::text [] = '{}'
            ) as named
        ), '{}'
    )::text as unknown_zones
from step
inner join verdict on step.window_id = verdict.id
\gset
