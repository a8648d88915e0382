-- How many messages each device has in flight, and has sent
--
-- Asked before gates/devices.sql, which takes its row, and only where the answer counts: without, that takes empty
-- arrays.
--
-- Parameters:
--   now            timestamptz  the instant of the transaction
--   policy         text         queue counts nothing, unless everything is asked for
--   failed         text[]       values of broadcast_messages.status of a message that will never be sent
--   asked          uuid[]       devices that are asked about; empty: all
--   users          uuid[]       only devices of these users; empty: of all
--   counted        text         limit: no further than the limits; all: every one; no: none
--   max_in_flight  integer      messages of a device in flight, where no rule is set for it or its user
--   max_per_hour   integer      messages of a device sent in 60 minutes, plus those in flight
--   max_per_day    integer      messages of a device sent in 24 hours, plus those in flight
-- Row:
--   sent_devices  text  uuid[]: a device
--   sent_flying   text  integer[]: its messages in flight
--   sent_hours    text  integer[]: its messages sent in the last 60 minutes
--   sent_days     text  integer[]: its messages sent in the last 24 hours
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?policy} \else \set policy 'queue' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?asked} \else \set asked '{}' \endif
\if :{?users} \else \set users '{}' \endif
\if :{?counted} \else \set counted 'limit' \endif
\if :{?max_in_flight} \else \set max_in_flight '50' \endif
\if :{?max_per_hour} \else \set max_per_hour '80' \endif
\if :{?max_per_day} \else \set max_per_day '800' \endif
with kept as materialized (
    select
        r.scope,
        r.scope_id,
        r.name,
        -- One that cannot be read is told by gates/devices.sql; here it closes the device.
        case when r.value ~ '^[01]?[0-9]{1,9}$' then r.value else '0' end::integer as value
    from seqdev.rule as r
    where
        r.name in ('max_in_flight', 'max_per_hour', 'max_per_day')
        and r.scope in ('device', 'user')
        and r.value is not null
),

ruled as materialized (
    select
        kept.scope,
        kept.scope_id,
        max(kept.value) filter (where kept.name = 'max_in_flight') as flying,
        max(kept.value) filter (where kept.name = 'max_per_hour') as an_hour,
        max(kept.value) filter (where kept.name = 'max_per_day') as a_day
    from kept
    group by kept.scope, kept.scope_id
),

asked as materialized (
    select
        d.id,
        case when :'counted'::text = 'limit' then coalesce(own.flying, owner.flying, :'max_in_flight'::integer) end as flying,
        case when :'counted'::text = 'limit' then coalesce(own.an_hour, owner.an_hour, :'max_per_hour'::integer) end as an_hour,
        case when :'counted'::text = 'limit' then coalesce(own.a_day, owner.a_day, :'max_per_day'::integer) end as a_day
    from user_devices as d
    left join ruled as own on own.scope = 'device' and d.id = own.scope_id
    left join ruled as owner on owner.scope = 'user' and d.user_id = owner.scope_id
    where
        (:'counted'::text = 'all' or :'counted'::text = 'limit' and :'policy'::text <> 'queue')
        and (:'asked'::uuid [] = '{}' or d.id = any(:'asked'::uuid []))
        and (:'users'::uuid [] = '{}' or d.user_id = any(:'users'::uuid []))
)

select
    coalesce(array_agg(asked.id), '{}')::text as sent_devices,
    coalesce(array_agg(flying.number), '{}')::text as sent_flying,
    coalesce(array_agg(an_hour.number), '{}')::text as sent_hours,
    coalesce(array_agg(a_day.number), '{}')::text as sent_days
from asked
cross join lateral (
    select count(*)::integer as number
    from (
        select 1
        from broadcast_messages as m
        where
            m.device_id = asked.id
            and m.status in ('pending', 'queued', 'processing')
            -- What was to be sent at once is in flight, whatever its naive instant reads: in the hour
            -- that the end of summer time repeats, or when the clock has gone back, that lies ahead.
            and (
                m.scheduled_at is null
                or m.scheduled_at <= :'now'::timestamptz
                or m.scheduled_at <= m.created_at
            )
        limit asked.flying
    ) as m
) as flying
cross join lateral (
    select count(*)::integer as number
    from (
        select 1
        from broadcast_messages as m
        where
            m.device_id = asked.id
            and m.sent_at > :'now'::timestamptz - interval '60 minutes'
            and m.status not in ('pending', 'queued', 'processing', 'failed')
            and m.status <> all(:'failed'::text [])
        limit asked.an_hour
    ) as m
) as an_hour
cross join lateral (
    select count(*)::integer as number
    from (
        select 1
        from broadcast_messages as m
        where
            m.device_id = asked.id
            and m.sent_at > :'now'::timestamptz - interval '24 hours'
            and m.status not in ('pending', 'queued', 'processing', 'failed')
            and m.status <> all(:'failed'::text [])
        limit asked.a_day
    ) as m
) as a_day
\gset
