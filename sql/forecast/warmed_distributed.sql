-- How far the devices with a warm_up have come: what a forecast goes on counting from (distributed)
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
\if :{?ramp_devices} \else \ir ../gates/ramps_distributed.sql \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with warm as materialized (
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

-- From a day to the one before it are eight at most: no message is further away. They come to the coordinator: see
-- gates/ramps_distributed.sql.
sent as materialized (
    select
        m.device_id,
        array_agg(m.sent_at::timestamptz order by m.sent_at) as ats
    from broadcast_messages as m
    inner join warm on m.device_id = warm.id
    where
        m.sent_at > :'now'::timestamptz - interval '8 days' * (3 + case
            when warm.more > 0 and warm.first < warm.top then (warm.top - warm.first) / warm.more
            else 0
        end)
        and m.sent_at <= :'now'::timestamptz
        and m.status not in ('pending', 'queued', 'processing', 'failed')
        and m.status <> all(:'failed'::text [])
    group by m.device_id
),

counted as materialized (
    select
        warm.id,
        used.at as used_at,
        day.number,
        day.at
    from warm
    inner join sent on warm.id = sent.device_id
    cross join lateral (
        select
            sent.ats[cardinality(sent.ats)] as at,
            cardinality(sent.ats) as place
    ) as used
    -- Back from now, to the last message that there is a day before.
    cross join lateral (
        with recursive back (place, number) as (
            select
                used.place,
                0 as number
            union all
            select
                older.place,
                back.number + 1 as number
            from back
            cross join lateral (
                select width_bucket(sent.ats[back.place] - interval '24 hours', sent.ats) as place
            ) as older
            where
                older.place > 0
                -- Further days change nothing.
                and warm.more > 0
                and warm.first::bigint + warm.more::bigint * back.number < warm.top
                -- Silent for a week in between: it began anew since.
                and sent.ats[older.place + 1] < sent.ats[older.place] + interval '7 days'
        )

        select min(back.place) as place
        from back
    ) as oldest
    -- Forward from the first message of that day.
    cross join lateral (
        with recursive forth (place, number) as (
            select
                width_bucket(sent.ats[oldest.place] - interval '24 hours', sent.ats) + 1 as place,
                1 as number
            union all
            select
                younger.place,
                forth.number + 1 as number
            from forth
            -- The first of those from an instant on.
            cross join lateral (
                select width_bucket(
                    sent.ats[forth.place] + interval '24 hours' - interval '1 microsecond', sent.ats
                ) + 1 as place
            ) as younger
            where younger.place <= used.place
        )

        select
            max(forth.number) as number,
            sent.ats[max(forth.place)] as at
        from forth
    ) as day
    where used.at > :'now'::timestamptz - interval '7 days'
)

select
    coalesce(array_agg(warm.id), '{}')::text as warm_devices,
    coalesce(array_agg(warm.first), '{}')::text as warm_firsts,
    coalesce(array_agg(warm.more), '{}')::text as warm_mores,
    coalesce(array_agg(warm.top), '{}')::text as warm_tops,
    coalesce(array_agg(warm.named), '{}')::text as warm_by,
    coalesce(array_agg(coalesce(counted.number, 0)), '{}')::text as warm_days,
    coalesce(array_agg(counted.at), '{}')::text as warm_lasts,
    coalesce(array_agg(counted.used_at), '{}')::text as warm_useds
from warm
left join counted on warm.id = counted.id
\gset
