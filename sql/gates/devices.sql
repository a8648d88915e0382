-- Whether each device may send, and how many messages it has room for
--
-- Decided from small tables, and from what gates/sent.sql and those beside it count. Of the limits the most specific
-- holds: the rule of the device, of its user, for all. A tick asks before its locks without counting, and again after
-- them: what the holder before has written is counted. The row goes on to other statements as it is: they take these
-- columns as parameters of the same names, and hold none of these rules. A new reason why a device may not send is a
-- line of the case expression.
--
-- A rule that cannot be read is zero here, never "no limit"; who asks is told of it, and does nothing.
--
-- Parameters:
--   now            timestamptz  the instant of the transaction
--   policy         text         queue asks no device whether it may send, unless it is paused; the others do
--   online         text[]       values of user_devices.status that count as online
--   gone           text[]       values of user_devices.status of a device that does not come back
--   failed         text[]       values of broadcast_messages.status of a message that will never be sent
--   asked          uuid[]       devices that are asked about; empty: all
--   users          uuid[]       only devices of these users; empty: of all
--   counted        text         messages: limit: counted, though no further than the limits; all: every one; no: none
--   told           boolean      also what people are told; else those columns are empty: a tick needs none of them
--   max_in_flight  integer      messages of a device in flight, where no rule is set for it or its user
--   max_per_hour   integer      messages of a device sent in 60 minutes, plus those in flight
--   max_per_day    integer      messages of a device sent in 24 hours, plus those in flight
--   grace          interval     how long a device may be away before others take its people
--   return_home    boolean      whether those go back to it
--   restricted     text         a regular expression: the errors of a device that may open no new chats
-- Row:
--   devices         text  uuid[]: the device
--   device_users    text  uuid[]: its user
--   device_reasons  text  text[]: why it may not send: paused, device_gone, device_away, device_offline, device_full; null: it may
--   device_rooms    text  integer[]: messages that its capacity leaves; null: any number
--   new_rooms       text  integer[]: people whom it may write to that it has never written to; null: any number
--   new_reasons     text  text[]: why not to more of them: device_restricted, new_chats_full; null: any number
--   few_chats       text  boolean: whether one of them that may send may open fewer chats than it has room for messages
--   restricted_until  text  timestamptz[]: until when it may open no new chats, if none fails so again; null: it may
--   is_online       text  boolean[]: whether it counts as online: by its status, or as a platform's device
--   is_gone         text  boolean[]: whether it is not online, and does not come back
--   out_of_service  text  boolean[]: taken out of service in device_load_balance
--   in_flight       text  integer[]: its messages in flight
--   laid_out        text  integer[]: its messages that the rule spread has laid out, and whose time has not come
--   sent_in_hour    text  integer[]: its messages sent in the last 60 minutes
--   sent_in_day     text  integer[]: its messages sent in the last 24 hours
--   due_soon        text  integer[]: where it spreads, its messages that leave soon, laid out or not: gates/spread.sql
--   laid_until      text  timestamptz[]: no message is laid out beyond this, and that leaves less room; null: it does not
--   most_in_flight  text  integer[]: of those in flight or laid out, its limit
--   most_in_hour    text  integer[]: of those sent in 60 minutes, in flight or due soon, its limit
--   most_in_day     text  integer[]: of those sent in 24 hours, in flight or due soon, its limit
--   flying_by       text  text[]: the rule that is its limit in flight, and whose it is; null: that for all
--   hour_by         text  text[]: that of its limit in 60 minutes
--   day_by          text  text[]: that of its limit in 24 hours
--   new_in_day      text  integer[]: people whom it has written to in the last 24 hours for the first time, or is about to
--   most_new        text  integer[]: of those, its limit; null: none
--   new_by          text  text[]: that rule, and whose it is; null: none
--   away_until      text  timestamptz[]: until when its people wait for it before others take them; null: they do not
--   home_after      text  interval[]: how long it must be there before people it has lost go back; null: they do not
--   device_pauses   text  text[]: that it is paused, until when, and why; null: it is not
--   device_pause_ends  text  text[]: the instant of UTC when that ends; null: when somebody resumes it
--   unread_rules    text  jsonb: each rule for a device or user that cannot be read: its name, scope, whose, value
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?policy} \else \set policy 'queue' \endif
\if :{?online} \else \set online '{online}' \endif
\if :{?gone} \else \set gone '{banned,deleted,blocked}' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?asked} \else \set asked '{}' \endif
\if :{?users} \else \set users '{}' \endif
\if :{?counted} \else \set counted 'limit' \endif
\if :{?told} \else \set told 'true' \endif
\if :{?max_in_flight} \else \set max_in_flight '50' \endif
\if :{?max_per_hour} \else \set max_per_hour '80' \endif
\if :{?max_per_day} \else \set max_per_day '800' \endif
\if :{?grace} \else \set grace '0' \endif
\if :{?return_home} \else \set return_home 'false' \endif
\if :{?restricted} \else \set restricted '(^|[^0-9])463([^0-9]|$)|reach.?out|time.?lock|restricted' \endif
\if :{?distributed} \if :{?sent_devices} \else \ir ../gates/sent_distributed.sql \endif \endif
\if :{?sent_devices} \else \ir ../gates/sent.sql \endif
\if :{?distributed} \if :{?ramp_devices} \else \ir ../gates/ramps_distributed.sql \endif \endif
\if :{?ramp_devices} \else \ir ../gates/ramps.sql \endif
\if :{?distributed} \if :{?spread_devices} \else \ir ../gates/spread_distributed.sql \endif \endif
\if :{?spread_devices} \else \ir ../gates/spread.sql \endif
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
            ('max_in_flight', '^[01]?[0-9]{1,9}$', '0'),
            ('max_per_hour', '^[01]?[0-9]{1,9}$', '0'),
            ('max_per_day', '^[01]?[0-9]{1,9}$', '0'),
            ('grace', '^[0-9]{1,6}(ms|[smhd])$', '0s'),
            ('return_home', '^(true|false)$', 'false')
    ) as known (name, pattern, closed) on r.name = known.name
    where r.scope in ('device', 'user') and r.value is not null
),

ruled as materialized (
    select
        kept.scope,
        kept.scope_id,
        max(kept.value) filter (where kept.name = 'max_in_flight')::integer as flying,
        max(kept.value) filter (where kept.name = 'max_per_hour')::integer as an_hour,
        max(kept.value) filter (where kept.name = 'max_per_day')::integer as a_day,
        max(kept.value) filter (where kept.name = 'grace')::interval as grace,
        max(kept.value) filter (where kept.name = 'return_home')::boolean as return_home
    from kept
    group by kept.scope, kept.scope_id
),

sent as materialized (
    select s.*
    from unnest(
        :'sent_devices'::uuid [], :'sent_flying'::integer [], :'sent_hours'::integer [], :'sent_days'::integer []
    ) as s (id, in_flight, in_hour, in_day)
),

ramp as materialized (
    select r.*
    from unnest(
        :'ramp_devices'::uuid [], :'ramp_days'::bigint [], :'ramp_by'::text [], :'new_opened'::integer [],
        :'new_limits'::integer [], :'new_limits_by'::text [], :'seen_at'::timestamptz []
    ) as r (id, a_day, day_by, new_in_day, most_new, new_by, seen_at)
),

spread as materialized (
    select s.*
    from unnest(
        :'spread_devices'::uuid [], :'spread_ahead'::integer [], :'spread_soon'::integer [], :'spread_places'::integer [],
        :'spread_until'::timestamptz []
    ) as s (id, laid_out, due_soon, places, until)
),

-- Devices whose messages have failed within a day with an error that says that they may open no new chats. Nobody
-- writes when a message failed: the day begins when it was to be sent.
restricted as materialized (
    select
        m.device_id,
        max(least(
            m.created_at::timestamptz + interval '48 hours',
            greatest(m.created_at, m.scheduled_at, m.sent_at)::timestamptz + interval '24 hours'
        )) as until
    from broadcast_messages as m
    where
        :'policy'::text <> 'queue'
        and :'counted'::text <> 'no'
        and :'restricted'::text <> ''
        and m.created_at > :'now'::timestamptz - interval '48 hours'
        and m.sequence_stepid is not null
        and m.status not in ('pending', 'queued', 'processing', 'sent', 'delivered', 'read')
        and m.status = any(:'failed'::text [])
        and (:'asked'::uuid [] = '{}' or m.device_id = any(:'asked'::uuid []))
        and greatest(m.created_at, m.scheduled_at, m.sent_at) > :'now'::timestamptz - interval '24 hours'
        and concat_ws(': ', nullif(m.status, 'failed'), m.error_message) ~* :'restricted'::text
    group by m.device_id
),

-- paused: as in gates/steps.sql
paused as materialized (
    select p.*
    from (
        select
            r.scope,
            r.scope_id,
            r.scope || ' paused ' || r.value as words,
            -- In UTC. What names no instant has no end.
            substring(
                r.value from
                '^until ([0-9]{4}-(?:0[1-9]|1[0-2])-(?:[0-2][0-9]|3[01])T(?:[01][0-9]|2[0-3])(?::[0-5][0-9]){2}Z)'
            ) as ends
        from seqdev.rule as r
        where r.name = 'paused' and r.value is not null
    ) as p
    where coalesce(p.ends > to_char(:'now'::timestamptz at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), true)
)

select
    coalesce(array_agg(gate.id), '{}')::text as devices,
    coalesce(array_agg(gate.user_id), '{}')::text as device_users,
    coalesce(array_agg(gate.reason), '{}')::text as device_reasons,
    coalesce(array_agg(gate.room) filter (where :'counted'::text <> 'no'), '{}')::text as device_rooms,
    coalesce(array_agg(gate.new_room) filter (where :'counted'::text <> 'no'), '{}')::text as new_rooms,
    coalesce(array_agg(gate.new_reason) filter (where :'counted'::text <> 'no'), '{}')::text as new_reasons,
    coalesce(
        bool_or(coalesce(gate.new_room < gate.room, gate.new_room is not null)) filter (where gate.reason is null), false
    )::text as few_chats,
    coalesce(array_agg(gate.restricted_until) filter (where :'told'::boolean), '{}')::text as restricted_until,
    coalesce(array_agg(gate.is_online) filter (where :'told'::boolean), '{}')::text as is_online,
    coalesce(array_agg(gate.is_gone) filter (where :'told'::boolean), '{}')::text as is_gone,
    coalesce(array_agg(gate.out_of_service) filter (where :'told'::boolean), '{}')::text as out_of_service,
    coalesce(array_agg(gate.in_flight), '{}')::text as in_flight,
    coalesce(array_agg(gate.laid_out), '{}')::text as laid_out,
    coalesce(array_agg(gate.in_hour) filter (where :'told'::boolean), '{}')::text as sent_in_hour,
    coalesce(array_agg(gate.in_day) filter (where :'told'::boolean), '{}')::text as sent_in_day,
    coalesce(array_agg(gate.due_soon) filter (where :'told'::boolean), '{}')::text as due_soon,
    coalesce(array_agg(gate.laid_until) filter (where :'told'::boolean), '{}')::text as laid_until,
    coalesce(array_agg(gate.most_flying) filter (where :'told'::boolean), '{}')::text as most_in_flight,
    coalesce(array_agg(gate.most_an_hour) filter (where :'told'::boolean), '{}')::text as most_in_hour,
    coalesce(array_agg(gate.most_a_day) filter (where :'told'::boolean), '{}')::text as most_in_day,
    coalesce(array_agg(gate.flying_by) filter (where :'told'::boolean), '{}')::text as flying_by,
    coalesce(array_agg(gate.hour_by) filter (where :'told'::boolean), '{}')::text as hour_by,
    coalesce(array_agg(gate.day_by) filter (where :'told'::boolean), '{}')::text as day_by,
    coalesce(array_agg(gate.new_in_day) filter (where :'told'::boolean), '{}')::text as new_in_day,
    coalesce(array_agg(gate.most_new) filter (where :'told'::boolean), '{}')::text as most_new,
    coalesce(array_agg(gate.new_by) filter (where :'told'::boolean), '{}')::text as new_by,
    coalesce(array_agg(gate.away_until) filter (where :'told'::boolean), '{}')::text as away_until,
    coalesce(array_agg(gate.home_after) filter (where :'told'::boolean), '{}')::text as home_after,
    coalesce(array_agg(gate.pause) filter (where :'told'::boolean), '{}')::text as device_pauses,
    coalesce(array_agg(gate.pause_ends) filter (where :'told'::boolean), '{}')::text as device_pause_ends,
    coalesce(
        (
            select jsonb_agg(kept.unread order by kept.unread)
            from kept
            where kept.unread is not null
        ), '[]'
    )::text as unread_rules
from (
    select
        device.*,
        case
            when device.pause is not null then 'paused'
            when :'policy'::text = 'queue' then null
            when device.is_gone then 'device_gone'
            when device.away_until is not null and :'policy'::text in ('fallback', 'reassign') then 'device_away'
            when device.out_of_service or not device.is_online then 'device_offline'
            when device.room = 0 then 'device_full'
        end as reason
    from (
        select
            d.id,
            d.user_id,
            state.is_online,
            not state.is_online and coalesce(d.status = any(:'gone'::text []), false) as is_gone,
            resting.device_id is not null as out_of_service,
            coalesce(sent.in_flight, 0) as in_flight,
            coalesce(sent.in_hour, 0) as in_hour,
            coalesce(sent.in_day, 0) as in_day,
            coalesce(spread.laid_out, 0) as laid_out,
            coalesce(spread.due_soon, 0) as due_soon,
            spread.until as laid_until,
            most.flying as most_flying,
            most.an_hour as most_an_hour,
            most.a_day as most_a_day,
            ramp.new_in_day,
            ramp.most_new,
            ramp.new_by,
            case
                when own.flying is not null then 'max_in_flight of the device'
                when owner.flying is not null then 'max_in_flight of the user'
            end as flying_by,
            case
                when own.an_hour is not null then 'max_per_hour of the device'
                when owner.an_hour is not null then 'max_per_hour of the user'
            end as hour_by,
            case
                when ramp.a_day < rule.a_day then ramp.day_by
                when own.a_day is not null then 'max_per_day of the device'
                when owner.a_day is not null then 'max_per_day of the user'
            end as day_by,
            restricted.until as restricted_until,
            held.words as pause,
            held.ends as pause_ends,
            case
                when :'policy'::text <> 'queue' and :'counted'::text <> 'no' then greatest(0, least(
                    most.flying - coalesce(sent.in_flight, 0) - coalesce(spread.laid_out, 0),
                    most.an_hour - coalesce(sent.in_flight + sent.in_hour, 0) - coalesce(spread.due_soon, 0),
                    most.a_day - coalesce(sent.in_flight + sent.in_day, 0) - coalesce(spread.due_soon, 0),
                    spread.places
                ))
            end as room,
            case
                when restricted.device_id is not null then 0
                else ramp.most_new - least(ramp.most_new, ramp.new_in_day)
            end as new_room,
            case
                when restricted.device_id is not null then 'device_restricted'
                when ramp.most_new is not null then 'new_chats_full'
            end as new_reason,
            case
                when state.is_online or d.status = any(:'gone'::text []) then null
                when ramp.seen_at + rule.grace > :'now'::timestamptz then ramp.seen_at + rule.grace
            end as away_until,
            case when rule.return_home then rule.grace end as home_after
        from user_devices as d
        cross join lateral (
            -- A device of a platform is always online, whatever its status says.
            select
                coalesce(d.status = any(:'online'::text []), false)
                or coalesce(d.platform ~ '\S', false) as is_online
        ) as state
        left join (
            select distinct b.device_id
            from device_load_balance as b
            where not b.is_available
        ) as resting on d.id = resting.device_id
        left join ruled as own on own.scope = 'device' and d.id = own.scope_id
        left join ruled as owner on owner.scope = 'user' and d.user_id = owner.scope_id
        left join restricted on d.id = restricted.device_id
        left join paused as held on held.scope = 'device' and d.id = held.scope_id
        cross join lateral (
            select
                coalesce(own.flying, owner.flying, :'max_in_flight'::integer) as flying,
                coalesce(own.an_hour, owner.an_hour, :'max_per_hour'::integer) as an_hour,
                coalesce(own.a_day, owner.a_day, :'max_per_day'::integer) as a_day,
                coalesce(own.grace, owner.grace, :'grace'::interval) as grace,
                coalesce(owner.return_home, :'return_home'::boolean) as return_home
        ) as rule
        left join sent on d.id = sent.id
        left join ramp on d.id = ramp.id
        left join spread on d.id = spread.id
        cross join lateral (
            select
                rule.flying,
                rule.an_hour,
                least(rule.a_day, ramp.a_day)::integer as a_day
        ) as most
        where
            (:'asked'::uuid [] = '{}' or d.id = any(:'asked'::uuid []))
            and (:'users'::uuid [] = '{}' or d.user_id = any(:'users'::uuid []))
    ) as device
) as gate
\gset
