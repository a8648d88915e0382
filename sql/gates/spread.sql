-- Which devices lay their messages out instead of sending them all at once, and when the next one can leave: the rule spread
--
-- Asked before gates/devices.sql, which takes its row, and before each claim, which goes on where the one before ended;
-- only where the rule is set: without, they take empty arrays. A rule that cannot be read is told to who asks.
--
-- Messages of a device leave a gap apart: an hour by the messages that it may send in one, or longer, where the host's
-- min_delay_seconds of a step that its user sends is more. Each leaves up to a quarter of a gap earlier or later. A
-- message that waits for its time has its place in all limits: whenever it leaves, late ones too, there are no more
-- of them in any 60 minutes than the limit. It is laid out no more than 75 minutes ahead (an hour, and a quarter of the
-- longest gap), so that what leaves in an hour with it leaves within 135 minutes: what the host has scheduled until then
-- counts, too.
--
-- Parameters:
--   now            timestamptz  the instant of the transaction
--   failed         text[]       values of broadcast_messages.status of a message that will never be sent
--   asked          uuid[]       devices that are asked about; empty: all
--   users          uuid[]       only devices of these users; empty: of all
--   counted        text         messages: limit: counted, though no further than the limit; all: every one
--   max_per_hour   integer      messages of a device sent in 60 minutes, where no rule is set for it or its user
--   spread         boolean      whether they are laid out, where no rule is set for its user
--   host_columns   boolean      min_delay_seconds of sequence_steps, else of sequences, counts, where there are such
-- Gates: gates/windows.sql closing, gates/steps.sql
-- Row:
--   spread_devices  text  uuid[]: a device whose messages are laid out
--   spread_ahead    text  integer[]: its messages that are laid out, and whose time has not come
--   spread_soon     text  integer[]: its messages of whatever kind whose time comes within 135 minutes
--   spread_places   text  integer[]: messages that can be laid out before spread_until
--   spread_until    text  timestamptz[]: the end of 75 minutes, or when the first window of its user closes before
--   paces           text  jsonb: by device, "at", the time of its next message, and "gap", in seconds
--   unread_spreads  text  jsonb: each rule for a user that cannot be read: its name, scope, whose, value
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?asked} \else \set asked '{}' \endif
\if :{?users} \else \set users '{}' \endif
\if :{?counted} \else \set counted 'limit' \endif
\if :{?max_per_hour} \else \set max_per_hour '80' \endif
\if :{?spread} \else \set spread 'false' \endif
\if :{?host_columns} \else \set host_columns 'false' \endif
\if :{?closing_users} \else \ir ../gates/windows.sql \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
with kept as materialized (
    select
        r.scope,
        r.scope_id,
        r.name,
        case when r.value ~ known.pattern then r.value else known.closed end as value,
        case
            when r.name = 'spread' and r.value !~ known.pattern
                then jsonb_build_array(r.name, r.scope, r.scope_id, r.value)
        end as unread
    from seqdev.rule as r
    inner join (
        values
            ('max_per_hour', '^[01]?[0-9]{1,9}$', '0'),
            ('spread', '^(true|false)$', 'true')
    ) as known (name, pattern, closed) on r.name = known.name
    where r.scope in ('device', 'user') and r.value is not null
),

ruled as materialized (
    select
        kept.scope,
        kept.scope_id,
        max(kept.value) filter (where kept.name = 'max_per_hour')::integer as an_hour,
        max(kept.value) filter (where kept.name = 'spread')::boolean as spread
    from kept
    group by kept.scope, kept.scope_id
),

-- The longest of the delays that the host has for what its users send, in seconds. Where it has no such column, the name
-- is found further out.
slowest as materialized (
    select
        told.user_id,
        max(substring(coalesce(told.of_step, told.of_sequence) from '^[0-9]{1,9}')::integer) as seconds
    from (
        select
            s.user_id,
            (
                select min_delay_seconds::text
                from (select st.*) as host
            ) as of_step,
            (
                select min_delay_seconds::text
                from (select s.*) as host
            ) as of_sequence
        from (select null::text as min_delay_seconds) as missing
        cross join sequences as s
        inner join sequence_steps as st on s.id = st.sequence_id
        where :'host_columns'::boolean and s.id = any(:'active_sequences'::uuid [])
    ) as told
    group by told.user_id
),

pace as materialized (
    select
        device.*,
        least(device.now + interval '75 minutes', closing.at) as until,
        greatest(device.now, newest.at + device.gap) + ahead.laid_out * device.gap as next_at,
        ahead.laid_out,
        ahead.due_soon
    from (
        select
            d.id,
            d.user_id,
            limits.an_hour,
            :'now'::timestamptz as now,
            least(
                interval '1 hour',
                greatest(
                    interval '1 millisecond',
                    interval '1 hour' / greatest(1, limits.an_hour),
                    coalesce(slowest.seconds, 0) * interval '1 second'
                )
            ) as gap
        from user_devices as d
        left join ruled as own on own.scope = 'device' and d.id = own.scope_id
        left join ruled as owner on owner.scope = 'user' and d.user_id = owner.scope_id
        left join slowest on d.user_id = slowest.user_id
        cross join lateral (
            select coalesce(own.an_hour, owner.an_hour, :'max_per_hour'::integer) as an_hour
        ) as limits
        where
            coalesce(owner.spread, :'spread'::boolean)
            and (:'asked'::uuid [] = '{}' or d.id = any(:'asked'::uuid []))
            and (:'users'::uuid [] = '{}' or d.user_id = any(:'users'::uuid []))
    ) as device
    left join unnest(:'closing_users'::uuid [], :'closing_ats'::timestamptz []) as closing (user_id, at)
        on device.user_id = closing.user_id
    -- What has left the device, or is about to.
    cross join lateral (
        select greatest(
            (
                select m.sent_at::timestamptz
                from broadcast_messages as m
                where
                    m.device_id = device.id
                    and m.sent_at <= device.now
                    and m.status not in ('pending', 'queued', 'processing', 'failed')
                    and m.status <> all(:'failed'::text [])
                order by m.sent_at desc
                limit 1
            ),
            (
                select m.scheduled_at::timestamptz
                from broadcast_messages as m
                where
                    m.device_id = device.id
                    and m.status in ('pending', 'queued', 'processing')
                    and m.scheduled_at <= device.now
                order by m.scheduled_at desc
                limit 1
            )
        ) as at
    ) as newest
    cross join lateral (
        select
            count(soon.is_own) filter (where soon.is_own)::integer as laid_out,
            count(*)::integer as due_soon
        from (
            select
                -- Its id says whose it is: as in tick/claim.sql. Of a campaign there is none.
                coalesce((
                    select m.id = md5('seqdev message ' || sc.id)::uuid
                    from sequence_contacts as sc
                    where
                        (sc.sequence_id, sc.contact_phone, sc.sequence_stepid)
                        = (m.sequence_id, m.recipient_phone, m.sequence_stepid)
                    limit 1
                ), false) as is_own
            from broadcast_messages as m
            where
                m.device_id = device.id
                and m.status in ('pending', 'queued', 'processing')
                -- The others are in flight: gates/sent.sql.
                and m.scheduled_at > device.now
                and m.scheduled_at <= device.now + interval '135 minutes'
                and (m.scheduled_at <= m.created_at) is not true
            limit case :'counted'::text when 'limit' then device.an_hour end
        ) as soon
    ) as ahead
)

select
    coalesce(array_agg(pace.id), '{}')::text as spread_devices,
    coalesce(array_agg(pace.laid_out), '{}')::text as spread_ahead,
    coalesce(array_agg(pace.due_soon), '{}')::text as spread_soon,
    coalesce(
        array_agg(
            greatest(
                0,
                floor(extract(epoch from pace.until - pace.next_at) / extract(epoch from pace.gap) + 0.75)
            )::integer
        ), '{}'
    )::text as spread_places,
    coalesce(array_agg(pace.until), '{}')::text as spread_until,
    coalesce(
        jsonb_object_agg(
            pace.id, jsonb_build_object('at', pace.next_at, 'gap', extract(epoch from pace.gap))
        ) filter (where pace.id is not null), '{}'
    )::text as paces,
    coalesce(
        (
            select jsonb_agg(kept.unread order by kept.unread)
            from kept
            where kept.unread is not null
        ), '[]'
    )::text as unread_spreads
from pace
\gset
