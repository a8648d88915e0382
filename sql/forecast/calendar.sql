-- The calendar of a forecast: into which parts its hours fall, and from which part on each window is open
--
-- An hour from now, and each after it, is one part, unless windows open or shut, pauses end or devices are given up
-- within hours: then a new part begins there, in every hour alike, so that an hour and a day are always as many parts.
-- An instant counts from the next tick on. Where hours would fall into more than twelve parts, the instants are taken
-- as of the next five minutes.
--
-- The n-th elements of the arrays named calendar_ belong together.
--
-- Parameters:
--   now    timestamptz  the instant from which hours are counted
--   hours  integer      how far to look
--   every  interval     time from tick to tick: an hour, or a part of it
-- Gates: gates/windows.sql, gates/steps.sql, gates/devices.sql
-- Row:
--   parts             text  integer[]: ticks after the hour at which each part of it begins, from 0 on
--   rounding          text  interval: as of the next multiple of this instants are taken; 0: as they are
--   calendar_windows  text  text[]: a window, as the changes have it
--   calendar_zones    text  text[]: in which zones of recipients, as the changes have them; empty: in that of all others
--   calendar_opens    text  text[]: integer[]: for each part from now, the first from that on in which it is open; null:
--                           it stays shut
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?hours} \else \set hours '336' \endif
\if :{?every} \else \set every '1 minute' \endif
\if :{?within} \else \set within '14 days' \endif
\if :{?change_windows} \else \ir ../gates/windows.sql \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with change as materialized (
    select
        c.id,
        coalesce(c.zones, '') as zones,
        c.at,
        c.is_open
    from unnest(
        :'change_windows'::text [], :'change_zones'::text [], :'change_instants'::timestamptz [], :'change_opens'::boolean []
    ) as c (id, zones, at, is_open)
),

instant as materialized (
    select distinct extract(epoch from instants.at - :'now'::timestamptz) as seconds
    from (
        select change.at
        from change
        union
        -- In UTC, as gates/steps.sql has it.
        select unnest(:'step_pause_ends'::text [])::timestamptz
        union
        select unnest(:'device_pause_ends'::text [])::timestamptz
        union
        select unnest(:'away_until'::timestamptz [])
        union
        select unnest(:'restricted_until'::timestamptz [])
    ) as instants (at)
    where instants.at > :'now'::timestamptz and instants.at < :'now'::timestamptz + :'hours'::integer * interval '1 hour'
),

rounding as materialized (
    select case
        when
            count(distinct ceil(instant.seconds / extract(epoch from :'every'::interval))
            % (3600 / extract(epoch from :'every'::interval))) > 11
            and :'every'::interval < interval '5 minutes'
            then 300
        else 0
    end as seconds
    from instant
),

-- Ticks after the hour.
part as materialized (
    select
        began.tick,
        row_number() over (order by began.tick)::integer as number
    from (
        select 0 as tick
        union
        select
            (ceil(
                case
                    when rounding.seconds > 0 then ceil(instant.seconds / rounding.seconds) * rounding.seconds
                    else instant.seconds
                end / extract(epoch from :'every'::interval)
            ) % (3600 / extract(epoch from :'every'::interval)))::integer
        from instant
        cross join rounding
    ) as began
),

known as materialized (
    select array_agg(part.tick order by part.tick) as parts
    from part
),

slot as materialized (
    select
        hour.number * cardinality(known.parts) + part.number - 1 as number,
        :'now'::timestamptz + (
            hour.number * interval '1 hour' + part.tick * :'every'::interval
        ) as begins
    from generate_series(0, :'hours'::integer - 1) as hour (number)
    cross join part
    cross join known
),

-- From the part that begins then, or after it.
phase as materialized (
    select
        change.id,
        change.zones,
        change.is_open,
        change.at,
        lead(change.at) over (partition by change.id, change.zones order by change.at) as ends
    from change
),

window_open as materialized (
    select
        slot.number,
        w.id,
        w.zones,
        phase.id is not null as is_open
    from (select distinct change.id, change.zones from change) as w
    cross join slot
    left join phase
        on
            w.id = phase.id
            and w.zones = phase.zones
            and phase.is_open
            and slot.begins >= phase.at
            and (phase.ends is null or slot.begins < phase.ends)
)

select
    known.parts::text as parts,
    (rounding.seconds * interval '1 second')::text as rounding,
    coalesce(array_agg(calendar.id), '{}')::text as calendar_windows,
    coalesce(array_agg(calendar.zones), '{}')::text as calendar_zones,
    coalesce(array_agg(calendar.opens), '{}')::text as calendar_opens
from known
cross join rounding
left join (
    select
        opening.id,
        opening.zones,
        array_agg(opening.opens order by opening.number)::text as opens
    from (
        select
            window_open.*,
            min(window_open.number) filter (where window_open.is_open) over (
                partition by window_open.id, window_open.zones
                order by window_open.number rows between current row and unbounded following
            ) as opens
        from window_open
    ) as opening
    group by opening.id, opening.zones
) as calendar on true
group by known.parts, rounding.seconds
\gset
