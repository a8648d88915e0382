-- What is counted of the messages of devices for rules that not everybody sets: warm_up, new_chats_per_day, grace
--
-- Asked before gates/devices.sql, which takes its row, and only where one of these rules is set: without, that takes
-- empty arrays. A rule that cannot be read is zero here, never "no limit"; who asks is told of it, and does nothing.
--
-- A device that warms up may send so many a day at first, and so many more for each day that it has sent since it was
-- last silent for a week: for each message of a set, as large as there is, in which any two are 24 hours apart and all
-- older than that. Going back from now, the next one at least 24 hours older is taken each time, by index, and no
-- further than the limit can matter.
--
-- Parameters:
--   now          timestamptz  the instant of the transaction
--   failed       text[]       values of broadcast_messages.status of a message that will never be sent
--   asked        uuid[]       devices that are asked about; empty: all
--   users        uuid[]       only devices of these users; empty: of all
--   counted      text         messages: limit: counted, though no further than the limits; all: every one; no: none
--   max_per_day  integer      messages of a device sent in 24 hours, plus those in flight
--   warm_up      text         20 +10: of these, 20 at first, and 10 more for each day it has sent; none: no such limit
--   new_chats    text         people whom a device may write to for the first time in 24 hours; none: any number
--   grace        interval     how long a device may be away before others take its people
-- Row:
--   ramp_devices   text  uuid[]: a device with such a rule
--   ramp_days      text  bigint[]: messages that it may send in 24 hours while it warms up; null: it does not
--   ramp_by        text  text[]: that rule, and whose it is
--   ramp_rules     text  text[]: that rule's value, such as 20 +10
--   ramp_tops      text  integer[]: messages that it may send in 24 hours once it has warmed up
--   new_opened     text  integer[]: people whom it has written to in the last 24 hours for the first time, or is about to
--   new_limits     text  integer[]: of those, its limit; null: none
--   new_limits_by  text  text[]: that rule, and whose it is
--   seen_at        text  timestamptz[]: its newest sign of life, where it may be waited for
--   unread_ramps   text  jsonb: each rule for a device or user that cannot be read: its name, scope, whose, value
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?asked} \else \set asked '{}' \endif
\if :{?users} \else \set users '{}' \endif
\if :{?counted} \else \set counted 'limit' \endif
\if :{?max_per_day} \else \set max_per_day '800' \endif
\if :{?warm_up} \else \set warm_up 'none' \endif
\if :{?new_chats} \else \set new_chats 'none' \endif
\if :{?grace} \else \set grace '0' \endif
with kept as materialized (
    select
        r.scope,
        r.scope_id,
        r.name,
        case when r.value ~ known.pattern then r.value else known.closed end as value,
        case when r.value !~ known.pattern then jsonb_build_array(r.name, r.scope, r.scope_id, r.value) end as unread
    from seqdev.rule as r
    -- What stands in for a value that cannot be read closes the device.
    inner join (
        values
            ('max_per_day', '^[01]?[0-9]{1,9}$', '0'),
            ('warm_up', '^([0-9]{1,9} [+][0-9]{1,9}|none)$', '0 +0'),
            ('new_chats_per_day', '^([01]?[0-9]{1,9}|none)$', '0'),
            ('grace', '^[0-9]{1,6}(ms|[smhd])$', '0s')
    ) as known (name, pattern, closed) on r.name = known.name
    where r.scope in ('device', 'user') and r.value is not null
),

ruled as materialized (
    select
        kept.scope,
        kept.scope_id,
        max(kept.value) filter (where kept.name = 'max_per_day')::integer as a_day,
        max(kept.value) filter (where kept.name = 'warm_up') as warm_up,
        max(kept.value) filter (where kept.name = 'new_chats_per_day') as new_chats,
        max(kept.value) filter (where kept.name = 'grace')::interval as grace
    from kept
    group by kept.scope, kept.scope_id
)

select
    coalesce(array_agg(counted.id), '{}')::text as ramp_devices,
    coalesce(array_agg(counted.a_day), '{}')::text as ramp_days,
    coalesce(array_agg(counted.day_by), '{}')::text as ramp_by,
    coalesce(array_agg(counted.warm_up), '{}')::text as ramp_rules,
    coalesce(array_agg(counted.top), '{}')::text as ramp_tops,
    coalesce(array_agg(counted.new_opened), '{}')::text as new_opened,
    coalesce(array_agg(counted.new_chats), '{}')::text as new_limits,
    coalesce(array_agg(counted.new_by), '{}')::text as new_limits_by,
    coalesce(array_agg(counted.seen_at), '{}')::text as seen_at,
    coalesce(
        (
            select jsonb_agg(kept.unread order by kept.unread)
            from kept
            where kept.unread is not null
        ), '[]'
    )::text as unread_ramps
from (
    select
        d.id,
        case
            when :'counted'::text <> 'no' and rule.warm_up is not null
                then split_part(rule.warm_up, ' +', 1)::bigint + split_part(rule.warm_up, ' +', 2)::bigint * (
                    with recursive day (at, number) as (
                        select
                            :'now'::timestamptz as at,
                            0 as number
                        union all
                        select
                            older.at,
                            day.number + 1 as number
                        from day
                        cross join lateral (
                            select m.sent_at::timestamptz as at
                            from broadcast_messages as m
                            where
                                m.device_id = d.id
                                and m.sent_at <= day.at - interval '24 hours'
                                and m.status not in ('pending', 'queued', 'processing', 'failed')
                                and m.status <> all(:'failed'::text [])
                            order by m.sent_at desc
                            limit 1
                        ) as older
                        where
                            -- Further days change nothing.
                            split_part(rule.warm_up, ' +', 1)::bigint + split_part(rule.warm_up, ' +', 2)::bigint * day.number
                            < rule.a_day
                            and split_part(rule.warm_up, ' +', 2)::bigint > 0
                            -- Silent for a week in between: it began anew since.
                            and (
                                older.at > day.at - interval '7 days'
                                or coalesce(
                                    (
                                        select m.sent_at::timestamptz
                                        from broadcast_messages as m
                                        where
                                            m.device_id = d.id
                                            and m.sent_at > older.at
                                            and m.sent_at <= :'now'::timestamptz
                                            and m.status not in ('pending', 'queued', 'processing', 'failed')
                                            and m.status <> all(:'failed'::text [])
                                        order by m.sent_at
                                        limit 1
                                    ),
                                    :'now'::timestamptz
                                ) < older.at + interval '7 days'
                            )
                    )

                    select max(day.number)
                    from day
                )
        end as a_day,
        rule.warm_up,
        rule.a_day as top,
        'warm_up' || case
            when own.warm_up is not null then ' of the device'
            when owner.warm_up is not null then ' of the user'
            else ' for all'
        end as day_by,
        case
            when :'counted'::text <> 'no' and rule.new_chats is not null
                then (
                    select count(*)::integer
                    from (
                        select 1
                        from (
                            select m.recipient_phone
                            from broadcast_messages as m
                            where
                                m.device_id = d.id
                                and m.status in ('pending', 'queued', 'processing')
                                and (
                                    m.scheduled_at is null
                                    or m.scheduled_at <= :'now'::timestamptz + interval '24 hours'
                                    or m.scheduled_at <= m.created_at
                                )
                            union
                            select m.recipient_phone
                            from broadcast_messages as m
                            where
                                m.device_id = d.id
                                and m.sent_at > :'now'::timestamptz - interval '24 hours'
                                and m.status not in ('pending', 'queued', 'processing', 'failed')
                                and m.status <> all(:'failed'::text [])
                        ) as lately
                        -- Each person by index, and no further than the limit: never all that the device has sent.
                        left join lateral (
                            select true as is_known
                            from broadcast_messages as m
                            where
                                m.recipient_phone = lately.recipient_phone
                                and m.device_id = d.id
                                and m.sent_at <= :'now'::timestamptz - interval '24 hours'
                                and m.status not in ('pending', 'queued', 'processing', 'failed')
                                and m.status <> all(:'failed'::text [])
                            limit 1
                        ) as before on true
                        where before.is_known is null
                        limit case :'counted'::text when 'limit' then rule.new_chats end
                    ) as m
                )
        end as new_opened,
        case when :'counted'::text <> 'no' then rule.new_chats end as new_chats,
        'new_chats_per_day' || case
            when own.new_chats is not null then ' of the device'
            when owner.new_chats is not null then ' of the user'
            else ' for all'
        end as new_by,
        case
            -- Where the host has no such column, last_seen is the one of "missing".
            when rule.grace > interval '0'
                then (
                    select greatest(
                        (
                            select case when isfinite(u.at) then u.at::timestamptz end
                            from (
                                select last_seen as at -- noqa: RF03
                                from user_devices as u
                                where u.id = d.id -- noqa: RF03
                            ) as u
                        ),
                        (
                            select m.sent_at::timestamptz
                            from broadcast_messages as m
                            where
                                m.device_id = d.id
                                and m.sent_at <= :'now'::timestamptz
                                and m.status not in ('pending', 'queued', 'processing', 'failed')
                                and m.status <> all(:'failed'::text [])
                            order by m.sent_at desc
                            limit 1
                        )
                    ) as at
                    from (select null::timestamp as last_seen) as missing
                )
        end as seen_at
    from user_devices as d
    left join ruled as own on own.scope = 'device' and d.id = own.scope_id
    left join ruled as owner on owner.scope = 'user' and d.user_id = owner.scope_id
    cross join lateral (
        select
            coalesce(own.a_day, owner.a_day, :'max_per_day'::integer) as a_day,
            nullif(coalesce(own.warm_up, owner.warm_up, :'warm_up'::text), 'none') as warm_up,
            nullif(coalesce(own.new_chats, owner.new_chats, :'new_chats'::text), 'none')::integer as new_chats,
            coalesce(own.grace, owner.grace, :'grace'::interval) as grace
    ) as rule
    where
        (:'asked'::uuid [] = '{}' or d.id = any(:'asked'::uuid []))
        and (:'users'::uuid [] = '{}' or d.user_id = any(:'users'::uuid []))
        and (
            :'counted'::text <> 'no' and (rule.warm_up is not null or rule.new_chats is not null)
            or rule.grace > interval '0'
        )
) as counted
\gset
