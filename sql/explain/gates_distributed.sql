-- What a person's waiting steps must pass before a message is queued, in the order of the tick's judgement (distributed)
--
-- One row for each waiting step and gate. The first gate that is shut is the tick's decision: the order and
-- the reasons are those of tick/plan.sql. The policy queue does not ask grace, online, new_chats and capacity; grace is
-- asked by fallback and reassign alone. It and new_chats are shown where there is a rule.
--
-- Parameters:
--   now            timestamptz  the instant of the transaction
--   phones         text[]       the phone, in every writing that is tried
--   user           uuid         only sequences of this user
--   due_by         timestamptz  contacts are due that are due by then: the instant the run began
--   oldest         timestamptz  contacts that were due before are too late, and left out
--   stale          timestamptz  a claim that another processor made later than that is respected
--   without_lead   boolean      people without a lead of the sequence's user are due, too
--   national      text         a regular expression that tells a number without a country code
--   country       text         what stands for its match
--   waiting        text[]       values of sequence_contacts.status: a later step's row, made beforehand
--   done           text[]       values of sequence_contacts.status: the step is done
--   failed         text[]       values of broadcast_messages.status of a message that will never be sent
--   replied        uuid[]       rows that the next tick stops before all else: their people have written back
-- Gates: gates/steps.sql, gates/windows.sql ahead for the person's sequences, gates/devices.sql under strict of the
--   person's devices, all their messages counted
-- Row:
--   contact_id   uuid         the row of the person and step
--   gate         text         the gate
--   reason       text         what the tick calls it when this gate is shut
--   open         boolean      whether the step may pass; null where the gate cannot be asked
--   since        timestamptz  since when it is shut, as far as the database tells
--   eligible_at  timestamptz  when it opens by itself, at the earliest; null where that is not known
--   detail       text         what the gate saw
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?phones} \else \set phones '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?due_by} \else \set due_by 'now' \endif
\if :{?oldest} \else \set oldest '-infinity' \endif
\if :{?stale} \else \set stale '-infinity' \endif
\if :{?without_lead} \else \set without_lead 'false' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?done} \else \set done '{completed,sent,failed}' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?replied} \else \set replied '{}' \endif
\if :{?timed_steps} \else \ir ../gates/windows.sql \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'all' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with step_gate as materialized (
    select s.*
    from unnest(
        :'step_users'::uuid [], :'step_sequences'::uuid [], :'steps'::uuid [], :'step_reasons'::text [],
        :'step_faults'::text [], :'step_pauses'::text [], :'step_pause_ends'::text []
    ) as s (user_id, sequence_id, id, reason, fault, pause, pause_ends)
),

step as materialized (
    select step_gate.*
    from step_gate
    where coalesce(step_gate.reason is null, false)
),

device as materialized (
    select
        g.*,
        d.status,
        -- By way of JSON, because some installations have no such column.
        (to_jsonb(d) ->> 'last_seen')::timestamptz as last_seen
    from unnest(
        :'devices'::uuid [], :'device_users'::uuid [], :'device_reasons'::text [], :'device_rooms'::integer [],
        :'out_of_service'::boolean [], :'in_flight'::integer [], :'sent_in_hour'::integer [], :'sent_in_day'::integer [],
        :'most_in_flight'::integer [], :'most_in_hour'::integer [], :'most_in_day'::integer [], :'flying_by'::text [],
        :'hour_by'::text [], :'day_by'::text [], :'new_rooms'::integer [], :'new_reasons'::text [],
        :'new_in_day'::integer [], :'most_new'::integer [], :'new_by'::text [], :'away_until'::timestamptz [],
        :'is_online'::boolean [], :'is_gone'::boolean [], :'device_pauses'::text [], :'device_pause_ends'::text [],
        :'laid_out'::integer [], :'due_soon'::integer [], :'laid_until'::timestamptz []
    ) as g (
        id, user_id, reason, room, out_of_service, in_flight, an_hour, a_day, most_in_flight, most_in_hour, most_in_day,
        flying_by, hour_by, day_by, new_room, new_reason, new_in_day, most_new, new_by, away_until,
        is_online, is_gone, pause, pause_ends, laid_out, due_soon, laid_until
    )
    inner join user_devices as d on g.id = d.id
),

waiting as materialized (
    select
        sc.id,
        sc.contact_phone,
        sc.sequence_id,
        sc.status,
        sc.last_error,
        sc.next_trigger_time,
        sc.next_trigger_time::timestamptz as due_at,
        sc.processing_started_at::timestamptz as claimed_at,
        sc.completed_at is not null as was_done,
        sc.processing_device_id,
        sc.assigned_device_id,
        s.id is not null as has_sequence,
        coalesce(s.user_id, sc.user_id) as user_id,
        s.is_active,
        s.status as sequence_status,
        sc.sequence_stepid,
        case when st.id is null then sg.reason else st.reason end as step_reason,
        st.id is not null as has_step,
        st.fault as step_fault,
        sg.pause,
        sg.pause_ends,
        hours.id is not null as has_hours,
        hours.id = any(:'shut_steps'::uuid []) as is_shut,
        hours.opens_at,
        hours.words as hours,
        l.id is not null as has_lead,
        coalesce(sc.assigned_device_id, l.device_id) as device_id
    from sequence_contacts as sc
    left join sequences as s on sc.sequence_id = s.id
    left join step_gate as sg on sc.sequence_id = sg.sequence_id and sg.id is null
    left join step_gate as st on sc.sequence_id = st.sequence_id and sc.sequence_stepid = st.id
    left join unnest(:'timed_steps'::uuid [], :'timed_opens'::timestamptz [], :'timed_words'::text [])
        as hours (id, opens_at, words)
        on st.id = hours.id
    left join leads as l on s.user_id = l.user_id and sc.contact_phone = l.phone
    where
        sc.contact_phone = any(:'phones'::text [])
        and (sc.status = any(:'done'::text [])) is not true
        and (
            nullif(:'user', '')::uuid is null
            or coalesce(s.user_id, sc.user_id) = nullif(:'user', '')::uuid
        )
),

-- What is due on the devices of that person's rows: it comes to the coordinator.
queue as materialized (
    select
        device.id as device_id,
        sc.id,
        sc.contact_phone,
        sc.sequence_id,
        sc.next_trigger_time
    from sequence_contacts as sc
    inner join device on sc.assigned_device_id = device.id
    where
        device.id in (select waiting.device_id from waiting)
        -- due: as in tick/claim.sql
        and sc.status = 'active'
        and sc.next_trigger_time between :'oldest'::timestamptz and :'due_by'::timestamptz
        and coalesce(
            sc.processing_started_at <= :'stale'::timestamptz,
            sc.processing_device_id is null or sc.completed_at is not null
        )
        and sc.contact_phone ~ '\S'
        and (:'without_lead'::boolean or (
            select true from leads as person
            where (person.user_id, person.phone) = (device.user_id, sc.contact_phone) limit 1
        ))
        and (:'recipient_hours'::jsonb = '{}' or (
            -- The longest prefix of the phone that there is tells: gates/windows.sql.
            select (:'recipient_hours'::jsonb ->> of.key)::boolean
            from (
                -- digits: as in enroll/persons.sql
                select
                    case when sc.contact_phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                        else regexp_replace(bare.digits, :'national'::text, :'country'::text) end as digits
                from (
                    select regexp_replace(
                        sc.contact_phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
                    ) as digits
                ) as bare
            ) as person
            cross join generate_series(9, 0, -1) as prefix (size)
            cross join lateral (
                select (:'recipient_hours'::jsonb ->> sc.sequence_stepid::text) || ' ' || left(person.digits, prefix.size) as key
            ) as of
            where :'recipient_hours'::jsonb ? of.key
            limit 1
        ) is not false)
        and ((device.user_id, sc.sequence_id, sc.sequence_stepid)
            in (select step.user_id, step.sequence_id, step.id from step)) is true
        and sc.id <> all(:'replied'::uuid [])
    union all
    -- Contacts without an assigned device are their lead's.
    select
        l.device_id,
        sc.id,
        sc.contact_phone,
        sc.sequence_id,
        sc.next_trigger_time
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    inner join leads as l on s.user_id = l.user_id and sc.contact_phone = l.phone
    where
        l.device_id in (select waiting.device_id from waiting)
        and sc.assigned_device_id is null
        -- due: as in tick/claim.sql
        and sc.status = 'active'
        and sc.next_trigger_time between :'oldest'::timestamptz and :'due_by'::timestamptz
        and coalesce(
            sc.processing_started_at <= :'stale'::timestamptz,
            sc.processing_device_id is null or sc.completed_at is not null
        )
        and sc.contact_phone ~ '\S'
        and (:'without_lead'::boolean or (
            select true from leads as person
            where (person.user_id, person.phone) = (s.user_id, sc.contact_phone) limit 1
        ))
        and (:'recipient_hours'::jsonb = '{}' or (
            -- The longest prefix of the phone that there is tells: gates/windows.sql.
            select (:'recipient_hours'::jsonb ->> of.key)::boolean
            from (
                -- digits: as in enroll/persons.sql
                select
                    case when sc.contact_phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                        else regexp_replace(bare.digits, :'national'::text, :'country'::text) end as digits
                from (
                    select regexp_replace(
                        sc.contact_phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
                    ) as digits
                ) as bare
            ) as person
            cross join generate_series(9, 0, -1) as prefix (size)
            cross join lateral (
                select (:'recipient_hours'::jsonb ->> sc.sequence_stepid::text) || ' ' || left(person.digits, prefix.size) as key
            ) as of
            where :'recipient_hours'::jsonb ? of.key
            limit 1
        ) is not false)
        and ((s.user_id, sc.sequence_id, sc.sequence_stepid)
            in (select step.user_id, step.sequence_id, step.id from step)) is true
        and sc.id <> all(:'replied'::uuid [])
        and ((s.user_id, l.device_id) in (select device.user_id, device.id from device)) is true
),

-- Who is due on one that may open only so many chats.
due_chat as materialized (
    select distinct on (chat.device_id, chat.contact_phone)
        chat.device_id,
        chat.contact_phone,
        chat.room,
        chat.turn,
        chat.next_trigger_time as due_at
    from (
        select
            queue.device_id,
            queue.contact_phone,
            device.new_room as room,
            -- As in tick/claim.sql.
            case when :'priorities'::jsonb = '{}' then 0 else -coalesce((:'priorities'::jsonb ->> queue.sequence_id::text)::integer, 0) end as turn,
            queue.next_trigger_time
        from queue
        inner join device on queue.device_id = device.id
        where device.new_room is not null and coalesce(device.reason = 'device_full', true)
    ) as chat
    order by chat.device_id, chat.contact_phone, chat.turn, chat.next_trigger_time
),

-- Whom it knows: as in explain/gates.sql.
known as materialized (
    select distinct
        m.device_id,
        m.recipient_phone
    from broadcast_messages as m
    inner join (
        select
            due_chat.device_id,
            due_chat.contact_phone
        from due_chat
        union
        select
            waiting.device_id,
            waiting.contact_phone
        from waiting
    ) as met on m.recipient_phone = met.contact_phone and m.device_id = met.device_id
    where
        (m.sent_at is not null or m.status in ('pending', 'queued', 'processing'))
        and m.status <> 'failed'
        and m.status <> all(:'failed'::text [])
),

-- Of those who are due, who has never had a message from it, as their turn comes.
fresh as materialized (
    select
        due_chat.device_id,
        due_chat.contact_phone,
        -- What is left of new chats is dealt out in the order in which room is.
        row_number() over (
            partition by due_chat.device_id order by due_chat.turn, due_chat.due_at, due_chat.contact_phone
        ) > due_chat.room as is_barred
    from due_chat
    left join known on due_chat.device_id = known.device_id and due_chat.contact_phone = known.recipient_phone
    where known.device_id is null
),

-- Contacts that the device serves first: due earlier, and with all gates before its capacity open.
ahead as materialized (
    select
        w.id,
        least(count(q.id), d.room)::integer as contacts
    from waiting as w
    inner join device as d on w.device_id = d.id
    left join (
        select queue.*
        from queue
        left join fresh on queue.device_id = fresh.device_id and queue.contact_phone = fresh.contact_phone
        where fresh.is_barred is not true
    ) as q
        on
            w.device_id = q.device_id
            -- As in tick/claim.sql.
            and case
                when :'priorities'::jsonb = '{}' then w.next_trigger_time >= q.next_trigger_time
                else true
            end
            and (case when :'priorities'::jsonb = '{}' then 0 else -coalesce((:'priorities'::jsonb ->> q.sequence_id::text)::integer, 0) end, q.next_trigger_time, q.id)
            < (case when :'priorities'::jsonb = '{}' then 0 else -coalesce((:'priorities'::jsonb ->> w.sequence_id::text)::integer, 0) end, w.next_trigger_time, w.id)
    where w.due_at <= :'now'::timestamptz
    group by w.id, d.room
),

-- What has left those devices, the oldest first.
sent as materialized (
    select
        m.device_id,
        m.sent_at::timestamptz as at
    from broadcast_messages as m
    where
        m.device_id in (select waiting.device_id from waiting)
        and m.sent_at > :'now'::timestamptz - interval '24 hours'
        and m.status not in ('pending', 'queued', 'processing', 'failed')
        and m.status <> all(:'failed'::text [])
),

leaving as materialized (
    select
        sent.device_id,
        array_agg(sent.at order by sent.at) as day_ats,
        array_agg(sent.at order by sent.at) filter (where sent.at > :'now'::timestamptz - interval '60 minutes') as hour_ats
    from sent
    group by sent.device_id
),

asked as materialized (
    select
        w.*,
        d.id is not null as has_device,
        coalesce(d.user_id = w.user_id, false) as is_same_user,
        d.status as device_status,
        d.last_seen,
        d.out_of_service,
        coalesce(d.is_online and not d.out_of_service, true) as is_online,
        coalesce(d.is_gone, false) as is_gone,
        d.pause as device_pause,
        d.pause_ends as device_pause_ends,
        d.in_flight,
        d.laid_out,
        d.due_soon,
        case when d.laid_until < :'now'::timestamptz + interval '75 minutes' then d.laid_until end as laid_until,
        d.an_hour,
        d.a_day,
        d.room,
        d.most_in_flight,
        d.most_in_hour,
        d.most_in_day,
        d.flying_by,
        d.hour_by,
        d.day_by,
        d.new_room,
        d.new_reason,
        d.new_in_day,
        d.most_new,
        d.new_by,
        d.away_until,
        d.new_room is not null and known.device_id is null as is_new,
        -- Whose turn has not come yet is behind all of them.
        coalesce(
            fresh.is_barred,
            d.new_room <= (
                select count(*)
                from fresh as taken
                where taken.device_id = d.id and not taken.is_barred
            )
        ) as is_barred,
        coalesce(a.contacts, 0) as ahead,
        -- Messages that must leave the window of an hour, and of a day, before this one fits.
        d.in_flight + d.due_soon + d.an_hour + coalesce(a.contacts, 0) + 1 - d.most_in_hour as hour_over,
        d.in_flight + d.due_soon + d.a_day + coalesce(a.contacts, 0) + 1 - d.most_in_day as day_over,
        case when w.due_at <= :'now'::timestamptz and isfinite(w.due_at) then w.due_at end as due_since
    from waiting as w
    left join device as d on w.device_id = d.id
    left join ahead as a on w.id = a.id
    left join known on w.device_id = known.device_id and w.contact_phone = known.recipient_phone
    left join fresh on w.device_id = fresh.device_id and w.contact_phone = fresh.contact_phone
)

select
    k.id as contact_id,
    g.gate,
    g.reason,
    g.open,
    case when not g.open then g.since end as since,
    case when not g.open then g.eligible_at end as eligible_at,
    g.detail
from asked as k
left join leaving on k.device_id = leaving.device_id
cross join lateral (
    select
        case when k.hour_over > 0 then leaving.hour_ats[k.hour_over] + interval '60 minutes' end as hour_at,
        case when k.day_over > 0 then leaving.day_ats[k.day_over] + interval '24 hours' end as day_at
) as leaves
cross join lateral (
    -- Not cast: what psql has written may be no day of any calendar.
    select
        (
            timestamp '2000-01-01' + make_interval(
                years => substring(k.pause_ends for 4)::integer - 2000,
                months => substring(k.pause_ends from 6 for 2)::integer - 1,
                days => substring(k.pause_ends from 9 for 2)::integer - 1,
                hours => substring(k.pause_ends from 12 for 2)::integer,
                mins => substring(k.pause_ends from 15 for 2)::integer,
                secs => substring(k.pause_ends from 18 for 2)::integer
            )
        ) at time zone 'UTC' as pause_ends,
        (
            timestamp '2000-01-01' + make_interval(
                years => substring(k.device_pause_ends for 4)::integer - 2000,
                months => substring(k.device_pause_ends from 6 for 2)::integer - 1,
                days => substring(k.device_pause_ends from 9 for 2)::integer - 1,
                hours => substring(k.device_pause_ends from 12 for 2)::integer,
                mins => substring(k.device_pause_ends from 15 for 2)::integer,
                secs => substring(k.device_pause_ends from 18 for 2)::integer
            )
        ) at time zone 'UTC' as device_pause_ends
) as instants
cross join lateral (
    values
        (
            1, 'row_active',
            case
                when k.status = 'set_aside' then 'quarantined'
                when k.status = any(:'waiting'::text []) then 'step_before'
                else 'row_not_active'
            end,
            coalesce(k.status = 'active', false),
            null::timestamptz, null::timestamptz,
            case k.status
                when 'set_aside' then coalesce(k.last_error, 'the reason is not known')
                else 'status ' || coalesce(k.status, 'empty') || coalesce(': ' || substring(k.last_error from '^ended.*'), '')
            end
        ),
        (
            2, 'sequence_exists', 'sequence_missing', k.has_sequence, null, null, null
        ),
        (
            3, 'sequence_active', 'sequence_inactive',
            case when k.has_sequence then k.step_reason is distinct from 'sequence_inactive' end,
            null, null,
            'is_active ' || coalesce(k.is_active::text, 'empty') || ', status ' || coalesce(k.sequence_status, 'empty')
        ),
        (
            4, 'due', 'not_due', coalesce(k.due_at <= :'now'::timestamptz, false),
            null, case when isfinite(k.due_at) then k.due_at end,
            case
                when k.due_at is null then 'next_trigger_time is empty'
                when not isfinite(k.due_at) then 'next_trigger_time is ' || k.due_at
            end
        ),
        (
            5, 'lateness', 'too_late',
            case when k.due_at is not null then k.due_at >= :'oldest'::timestamptz end,
            k.due_since, null,
            case when isfinite(:'oldest'::timestamptz)
                then 'max_lateness is ' || :'due_by'::timestamptz - :'oldest'::timestamptz
            end
        ),
        (
            6, 'phone', 'bad_phone', coalesce(k.contact_phone ~ '\S', false), k.due_since, null,
            case when coalesce(k.contact_phone ~ '\S', false) then null else 'contact_phone is empty' end
        ),
        (
            7, 'paused', 'paused', case when k.has_sequence then k.pause is null end, k.due_since,
            instants.pause_ends, k.pause
        ),
        (
            8, 'step', 'step_missing', k.has_step, k.due_since, null,
            case
                when not k.has_step and k.sequence_stepid is null then 'sequence_stepid is empty'
                when not k.has_step then 'sequence_stepid names no step of the sequence'
            end
        ),
        (
            -- Whatever else the gate has against the step.
            9, 'content', coalesce(k.step_fault, 'no_content'),
            case when k.has_step then k.step_fault is null end, k.due_since, null,
            case when k.step_fault = 'no_content' then 'the step has neither content nor media_url' end
        ),
        (
            10, 'window', 'outside_window', not k.is_shut, null, k.opens_at, k.hours
        ),
        (
            11, 'claim', 'claimed',
            coalesce(k.claimed_at <= :'stale'::timestamptz, k.processing_device_id is null or k.was_done),
            k.claimed_at, k.claimed_at + (:'due_by'::timestamptz - :'stale'::timestamptz),
            'claimed for device ' || left(k.processing_device_id::text, 8)
            || case when k.claimed_at is null then '; nobody wrote since when' else '' end
        ),
        (
            12, 'device_assigned', 'no_device', k.device_id is not null, k.due_since, null,
            case
                when k.assigned_device_id is not null then null
                when not k.has_lead then 'none assigned, and no lead of this user has the phone'
                when k.device_id is null then 'none assigned, and the lead has none'
                else 'none assigned: the lead''s'
            end
        ),
        (
            13, 'device_exists', 'device_missing',
            case when k.device_id is not null then k.has_device end, k.due_since, null, null
        ),
        (
            14, 'same_user', 'device_of_other_user',
            case when k.has_device then k.is_same_user end, k.due_since, null, null
        ),
        (
            15, 'device_paused', 'paused',
            case when k.has_device and k.is_same_user then k.device_pause is null end, k.due_since,
            instants.device_pause_ends, k.device_pause
        ),
        (
            16, 'grace', 'device_away', k.away_until is null, k.last_seen, k.away_until,
            'status ' || coalesce(k.device_status, 'empty') || ', waited for by the rule grace'
        ),
        (
            17, 'online', case when k.is_gone then 'device_gone' else 'device_offline' end,
            case when k.has_device and k.is_same_user then k.is_online end,
            case when not k.out_of_service then k.last_seen end, null,
            case when k.has_device and k.is_same_user then
                'status ' || coalesce(k.device_status, 'empty')
                || case when k.out_of_service then ', taken out of service (device_load_balance)' else '' end
            end
        ),
        (
            18, 'lead', 'no_lead', case when k.has_sequence then k.has_lead or :'without_lead'::boolean end,
            k.due_since, null,
            case when k.has_sequence and not k.has_lead then 'no lead of the user has this phone' end
        ),
        (
            19, 'new_chats', k.new_reason, case when k.is_same_user then not (k.is_new and k.is_barred) end,
            k.due_since, null,
            case
                when not k.is_new then 'the device has written to this phone before'
                when k.new_reason = 'device_restricted'
                    then 'a message of the device failed within a day with an error of restricted_errors'
                else format('new chats in a day %s of %s (%s)', k.new_in_day, k.most_new, k.new_by)
            end
        ),
        (
            20, 'capacity', 'device_full',
            case when k.has_device and k.is_same_user then k.room > k.ahead end,
            k.due_since,
            case
                -- What is in flight leaves when the worker sends it, and nobody knows when that is.
                when k.in_flight + k.laid_out + k.ahead + 1 > k.most_in_flight then null
                when k.hour_over > 0 and leaves.hour_at is null or k.day_over > 0 and leaves.day_at is null then null
                else coalesce(greatest(leaves.hour_at, leaves.day_at), k.laid_until)
            end,
            case when k.has_device and k.is_same_user then
                format(
                    'in flight %s%s of %s (%s), in an hour %s of %s (%s), in a day %s of %s (%s), due before it %s%s%s',
                    k.in_flight,
                    case when k.laid_out > 0 then format(' and laid out %s (spread),', k.laid_out) end,
                    k.most_in_flight,
                    coalesce(k.flying_by, 'max_in_flight for all'),
                    k.in_flight + k.due_soon + k.an_hour,
                    k.most_in_hour,
                    coalesce(k.hour_by, 'max_per_hour for all'),
                    k.in_flight + k.due_soon + k.a_day,
                    k.most_in_day,
                    coalesce(k.day_by, 'max_per_day for all'),
                    k.ahead,
                    case when k.due_soon > k.laid_out
                        then format('; %s more are scheduled within 135 minutes (spread)', k.due_soon - k.laid_out)
                    end,
                    '; none is laid out beyond a window that closes at '
                    || to_char(k.laid_until, 'HH24:MI') || ' (spread)'
                )
            end
        )
) as g (position, gate, reason, open, since, eligible_at, detail)
where
    case g.gate
        when 'lateness' then isfinite(:'oldest'::timestamptz)
        when 'window' then k.has_hours
        when 'grace' then k.away_until is not null
        when 'new_chats' then k.new_room is not null
        else true
    end
order by k.user_id, k.due_at nulls last, k.id, g.position;
