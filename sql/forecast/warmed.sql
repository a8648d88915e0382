-- How far the devices with a warm_up have come: what a forecast goes on counting from
--
-- The days that count are those of gates/ramps.sql. They are counted from the first message after the last silence of
-- a week on, each time the next message at least 24 hours later, so that the last day stands where the next is counted
-- from. No further than the limit can matter.
--
-- The n-th elements of the arrays belong together.
--
-- Parameters:
--   now              timestamptz  the instant of the forecast
--   failed           text[]       values of broadcast_messages.status of a message that will never be sent
--   warm_up_instead  text         20 +10: the rule of every device, or none; empty: each device's own
-- Gates: gates/ramps.sql, gates/devices.sql
-- Row:
--   warm_devices  text  uuid[]: a device that has a warm_up
--   warm_firsts   text  integer[]: messages in 24 hours, at first; null: none stands in for its rule
--   warm_mores    text  integer[]: how many more for each day that it has sent
--   warm_tops     text  integer[]: no more than that in the end
--   warm_by       text  text[]: that rule, and whose it is
--   warm_days     text  integer[]: days that it has sent, the last one included
--   warm_lasts    text  timestamptz[]: the message from which on the last one counts
--   warm_useds    text  timestamptz[]: its newest message
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?warm_up_instead} \else \set warm_up_instead '' \endif
\if :{?ramp_devices} \else \ir ../gates/ramps.sql \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with recursive warm as materialized (
    select
        d.id,
        split_part(rule.value, ' +', 1)::integer as first,
        split_part(rule.value, ' +', 2)::integer as more,
        coalesce(ramp.top, d.most_a_day) as top,
        case when :'warm_up_instead'::text = '' then ramp.named else 'warm_up' end as named
    from unnest(:'devices'::uuid [], :'most_in_day'::integer []) as d (id, most_a_day)
    left join unnest(:'ramp_devices'::uuid [], :'ramp_rules'::text [], :'ramp_tops'::integer [], :'ramp_by'::text [])
        as ramp (id, rule, top, named) on d.id = ramp.id
    cross join lateral (
        select nullif(coalesce(nullif(:'warm_up_instead'::text, ''), ramp.rule), 'none') as value
    ) as rule
    -- Without a rule, or with none in its stead, a device has its whole limit.
    where rule.value is not null or ramp.rule is not null
),

-- Back from now, to the last message that there is a day before.
back (id, at, number) as (
    select
        warm.id,
        newest.at,
        0
    from warm
    cross join lateral (
        select m.sent_at::timestamptz as at
        from broadcast_messages as m
        where
            m.device_id = warm.id
            and m.sent_at <= :'now'::timestamptz
            and m.status not in ('pending', 'queued', 'processing', 'failed')
            and m.status <> all(:'failed'::text [])
        order by m.sent_at desc
        limit 1
    ) as newest
    where newest.at > :'now'::timestamptz - interval '7 days'
    union all
    select
        back.id,
        older.at,
        back.number + 1
    from back
    inner join warm on back.id = warm.id
    cross join lateral (
        select m.sent_at::timestamptz as at
        from broadcast_messages as m
        where
            m.device_id = back.id
            and m.sent_at <= back.at - interval '24 hours'
            and m.status not in ('pending', 'queued', 'processing', 'failed')
            and m.status <> all(:'failed'::text [])
        order by m.sent_at desc
        limit 1
    ) as older
    cross join lateral (
        select m.sent_at::timestamptz as at
        from broadcast_messages as m
        where
            m.device_id = back.id
            and m.sent_at > older.at
            and m.status not in ('pending', 'queued', 'processing', 'failed')
            and m.status <> all(:'failed'::text [])
        order by m.sent_at
        limit 1
    ) as newer
    where
        -- Further days change nothing.
        warm.more > 0
        and warm.first::bigint + warm.more::bigint * back.number < warm.top
        -- Silent for a week in between: it began anew since.
        and newer.at < older.at + interval '7 days'
),

-- Forward from the first message of that day.
forth (id, at, number) as (
    select
        oldest.id,
        begun.at,
        1
    from (
        select
            back.id,
            min(back.at) as at
        from back
        group by back.id
    ) as oldest
    cross join lateral (
        select m.sent_at::timestamptz as at
        from broadcast_messages as m
        where
            m.device_id = oldest.id
            and m.sent_at > oldest.at - interval '24 hours'
            and m.status not in ('pending', 'queued', 'processing', 'failed')
            and m.status <> all(:'failed'::text [])
        order by m.sent_at
        limit 1
    ) as begun
    union all
    select
        forth.id,
        younger.at,
        forth.number + 1
    from forth
    cross join lateral (
        select m.sent_at::timestamptz as at
        from broadcast_messages as m
        where
            m.device_id = forth.id
            and m.sent_at >= forth.at + interval '24 hours'
            and m.sent_at <= :'now'::timestamptz
            and m.status not in ('pending', 'queued', 'processing', 'failed')
            and m.status <> all(:'failed'::text [])
        order by m.sent_at
        limit 1
    ) as younger
)

select
    coalesce(array_agg(warm.id), '{}')::text as warm_devices,
    coalesce(array_agg(warm.first), '{}')::text as warm_firsts,
    coalesce(array_agg(warm.more), '{}')::text as warm_mores,
    coalesce(array_agg(warm.top), '{}')::text as warm_tops,
    coalesce(array_agg(warm.named), '{}')::text as warm_by,
    coalesce(array_agg(coalesce(day.number, 0)), '{}')::text as warm_days,
    coalesce(array_agg(day.at), '{}')::text as warm_lasts,
    coalesce(array_agg(used.at), '{}')::text as warm_useds
from warm
left join (
    select
        forth.id,
        max(forth.number) as number,
        max(forth.at) as at
    from forth
    group by forth.id
) as day on warm.id = day.id
left join (
    select
        back.id,
        max(back.at) as at
    from back
    group by back.id
) as used on warm.id = used.id
\gset
