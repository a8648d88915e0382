-- The least loaded available devices of users, where fallback and reassign would go
--
-- The numbers are those of tick/plan.sql: in flight, sent in 60 minutes, sent in 24 hours.
--
-- Parameters:
--   now            timestamptz  the instant of the transaction
--   users          uuid[]       the users
--   online         text[]       values of user_devices.status that count as online
--   max_in_flight  integer      messages of a device in flight
--   max_per_hour   integer      messages of a device sent in 60 minutes, plus those in flight
--   max_per_day    integer      messages of a device sent in 24 hours, plus those in flight
-- Row:
--   user_id      uuid     whose device it is
--   device_id    uuid     an available device: two for each user at most, the least loaded first
--   device_name  text     its name
--   room         integer  messages it can still take
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?users} \else \set users '{}' \endif
\if :{?online} \else \set online '{online}' \endif
\if :{?max_in_flight} \else \set max_in_flight '50' \endif
\if :{?max_per_hour} \else \set max_per_hour '80' \endif
\if :{?max_per_day} \else \set max_per_day '800' \endif
with device as materialized (
    select
        d.user_id,
        d.id,
        d.device_name,
        flying.messages as in_flight,
        least(
            :'max_in_flight'::integer - flying.messages,
            :'max_per_hour'::integer - flying.messages - hour.messages,
            :'max_per_day'::integer - flying.messages - day.messages
        ) as room
    from user_devices as d
    cross join lateral (
        select count(*)::integer as messages
        from (
            select 1
            from broadcast_messages as m
            where
                m.device_id = d.id
                and m.status in ('pending', 'queued', 'processing')
                and (m.scheduled_at is null or m.scheduled_at <= :'now'::timestamptz)
            limit :'max_in_flight'::integer
        ) as m
    ) as flying
    cross join lateral (
        select count(*)::integer as messages
        from (
            select 1
            from broadcast_messages as m
            where
                m.device_id = d.id
                and m.sent_at > :'now'::timestamptz - interval '60 minutes'
                and m.status not in ('pending', 'queued', 'processing', 'failed')
            limit :'max_per_hour'::integer
        ) as m
    ) as hour
    cross join lateral (
        select count(*)::integer as messages
        from (
            select 1
            from broadcast_messages as m
            where
                m.device_id = d.id
                and m.sent_at > :'now'::timestamptz - interval '24 hours'
                and m.status not in ('pending', 'queued', 'processing', 'failed')
            limit :'max_per_day'::integer
        ) as m
    ) as day
    where
        d.user_id = any(:'users'::uuid [])
        and d.status = any(:'online'::text [])
        and not exists (
            select 1
            from device_load_balance as b
            where b.device_id = d.id and not b.is_available
        )
),

placed as (
    select
        d.*,
        row_number() over (partition by d.user_id order by d.in_flight, d.id) as place
    from device as d
    where d.room > 0
)

select
    p.user_id,
    p.id as device_id,
    p.device_name::text as device_name,
    p.room
from placed as p
where p.place <= 2
order by p.user_id, p.place;
