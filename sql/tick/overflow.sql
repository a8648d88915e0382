-- Who cannot go on their own device, and which available device of the same user takes them instead
--
-- For the policies fallback and reassign. What a device's own due contacts leave of its room is dealt out one
-- by one, to the least loaded device first; the oldest contacts come first, after those of sequences of a higher priority. The same state gives the same
-- answer: a tick does what this says, and a dry run counts it. Who waits for a paused device stays with it.
--
-- A device that may open only so many chats takes as many people of others as if all were new to it. What is left of its
-- room then is for people whom it knows, and who has come and was known leaves a chat to somebody else. A person who comes
-- with two rows counts twice.
--
-- Parameters:
--   due_by        timestamptz  contacts are due that are due by then: the instant the run began
--   oldest        timestamptz  contacts that were due before are too late, and left out
--   stale         timestamptz  a claim that another processor made later than that is respected
--   without_lead  boolean      people without a lead of the sequence's user are due, too
--   national      text         a regular expression that tells a number without a country code
--   country       text         what stands for its match
--   passed        uuid[]       contacts that take no place: another session holds what they need
--   failed        text[]       values of broadcast_messages.status of a message that will never be sent
--   emptied       uuid[]       devices whose own contacts are claimed: another session holds those that are left
--   most          integer      contacts, at most
-- Gates: gates/windows.sql, gates/steps.sql, gates/devices.sql of all devices of the users it is about
-- Row:
--   contact_id   uuid  the contact
--   device_id    uuid  the device that takes it
--   device_name  text  its name
--   preferred    uuid  its own device; null where there is none
--   reason       text  why that one does not: device_offline, device_full, new_chats_full, device_missing, no_device …
-- Locks: none
\if :{?due_by} \else \set due_by 'now' \endif
\if :{?oldest} \else \set oldest '-infinity' \endif
\if :{?stale} \else \set stale '-infinity' \endif
\if :{?without_lead} \else \set without_lead 'false' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
\if :{?passed} \else \set passed '{}' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?emptied} \else \set emptied '{}' \endif
\if :{?most} \else \set most '10000' \endif
\if :{?recipient_hours} \else \ir ../gates/windows.sql \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with recursive step as materialized (
    select s.*
    from unnest(
        :'step_users'::uuid [], :'step_sequences'::uuid [], :'steps'::uuid [], :'step_reasons'::text []
    ) as s (user_id, sequence_id, id, reason)
    -- "coalesce": as in tick/claim.sql
    where coalesce(s.reason is null, false)
),

passed as materialized (
    select p.id from unnest(:'passed'::uuid []) as p (id)
),

device as materialized (
    select d.*
    from unnest(
        :'devices'::uuid [], :'device_users'::uuid [], :'device_reasons'::text [], :'device_rooms'::integer [],
        :'in_flight'::integer [], :'laid_out'::integer [], :'new_rooms'::integer [], :'new_reasons'::text []
    ) as d (id, user_id, reason, room, in_flight, laid_out, new_room, new_reason)
),

-- Who is due on a device that may open only so many chats.
chat as materialized (
    select
        device.id as device_id,
        own.contact_phone,
        own.turn,
        own.next_trigger_time
    from device
    cross join lateral (
        select
            sc.contact_phone,
            -- As in tick/claim.sql.
            case when :'priorities'::jsonb = '{}' then 0 else -coalesce((:'priorities'::jsonb ->> sc.sequence_id::text)::integer, 0) end as turn,
            sc.next_trigger_time
        from sequence_contacts as sc
        where
            sc.assigned_device_id = device.id
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
        -- One by one, by index: else the planner may read all that are due.
        offset 0
    ) as own
    where device.new_room is not null and coalesce(device.reason = 'device_full', true)
    union all
    -- Contacts without an assigned device are their lead's.
    select
        l.device_id,
        sc.contact_phone,
        case when :'priorities'::jsonb = '{}' then 0 else -coalesce((:'priorities'::jsonb ->> sc.sequence_id::text)::integer, 0) end as turn,
        sc.next_trigger_time
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    cross join lateral (
        select leads.device_id
        from leads
        where leads.user_id = s.user_id and leads.phone = sc.contact_phone
        limit 1
    ) as l
    where
        (select count(*) from device where device.new_room is not null) > 0
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
        and ((s.user_id, l.device_id) in (select device.user_id, device.id from device)) is true
),

-- Of those, who has never had a message from it, as their turn comes.
newcomer as materialized (
    select
        fresh.device_id,
        fresh.contact_phone,
        fresh.reason,
        -- What is left of new chats is dealt out in the order in which room is.
        row_number() over (
            partition by fresh.device_id order by fresh.turn, fresh.due_at, fresh.contact_phone
        ) > fresh.room as is_barred
    from (
        select distinct on (chat.device_id, chat.contact_phone)
            chat.device_id,
            chat.contact_phone,
            device.new_room as room,
            device.new_reason as reason,
            chat.turn,
            chat.next_trigger_time as due_at
        from chat
        inner join device on chat.device_id = device.id
        where device.new_room is not null and coalesce(device.reason = 'device_full', true)
        order by chat.device_id, chat.contact_phone, chat.turn, chat.next_trigger_time
    ) as fresh
    where
        (
            -- known
            select true
            from broadcast_messages as m
            where
                m.recipient_phone = fresh.contact_phone
                and m.device_id = fresh.device_id
                and (m.sent_at is not null or m.status in ('pending', 'queued', 'processing'))
                and m.status <> 'failed'
                and m.status <> all(:'failed'::text [])
            limit 1
        ) is null
),

barred as materialized (
    select
        newcomer.device_id,
        newcomer.contact_phone,
        newcomer.reason
    from newcomer
    where newcomer.is_barred
),

free_device as materialized (
    select device.*
    from device
    where coalesce(device.reason is null, false)
),

-- Contacts without an assigned device are their lead's, if it has one.
unassigned as materialized (
    select
        sc.id,
        sc.contact_phone,
        -- As in tick/claim.sql.
        case when :'priorities'::jsonb = '{}' then 0 else -coalesce((:'priorities'::jsonb ->> sc.sequence_id::text)::integer, 0) end as turn,
        sc.next_trigger_time,
        s.user_id,
        l.device_id,
        case
            when ((l.device_id, sc.contact_phone) in (select barred.device_id, barred.contact_phone from barred)) is true
                then (select device.new_reason from device where device.id = l.device_id)
        end as barred
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    left join leads as l on s.user_id = l.user_id and sc.contact_phone = l.phone
    where
        sc.assigned_device_id is null
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
        and sc.id not in (select passed.id from passed)
        and (s.user_id in (select free_device.user_id from free_device)) is true
),

-- Places that the own contacts of each device will take.
taken as materialized (
    select
        device.*,
        least(device.room, own.contacts + borrowed.contacts) as places
    from free_device as device
    cross join lateral (
        select count(*)::integer as contacts
        from (
            select 1
            from sequence_contacts as sc
            where
                sc.assigned_device_id = device.id
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
                and sc.id not in (select passed.id from passed)
                and device.id <> all(:'emptied'::uuid [])
                and ((device.id, sc.contact_phone)
                    in (select barred.device_id, barred.contact_phone from barred)) is not true
            limit device.room
        ) as sc
    ) as own
    cross join lateral (
        select count(*)::integer as contacts
        from unassigned as u
        where
            u.device_id = device.id
            and u.user_id = device.user_id
            and u.barred is null
            and device.id <> all(:'emptied'::uuid [])
    ) as borrowed
),

-- What is left of each device: room, and how much of that is for people who are new to it.
vacant as materialized (
    select
        taken.id,
        taken.user_id,
        taken.in_flight + taken.laid_out + taken.places as load,
        taken.room - taken.places as room,
        least(
            taken.room - taken.places,
            taken.new_room - (
                select count(*)
                from newcomer
                where
                    newcomer.device_id = taken.id
                    and not newcomer.is_barred
                    and taken.id <> all(:'emptied'::uuid [])
            )
        )::integer as chats
    from taken
    where taken.room > taken.places
),

-- How many places each user's devices have left for anybody.
spare as materialized (
    select
        vacant.user_id,
        sum(greatest(vacant.chats, 0)) as places,
        bool_or(vacant.chats < vacant.room) as asks_known
    from vacant
    group by vacant.user_id
),

-- Each assigned device once, by hopping from one to the next in the index.
assigned (device_id) as (
    (
        select sc.assigned_device_id
        from sequence_contacts as sc
        where sc.status = 'active' and sc.assigned_device_id is not null
        order by sc.assigned_device_id
        limit 1
    )
    union all
    select (
        select sc.assigned_device_id
        from sequence_contacts as sc
        where sc.status = 'active' and sc.assigned_device_id > a.device_id
        order by sc.assigned_device_id
        limit 1
    )
    from assigned as a
    where a.device_id is not null
),

-- Devices whose contacts may have to go elsewhere; the first "stays" of them go on their own device, but for those who
-- would be a new chat too many.
source as materialized (
    select
        d.id as device_id,
        d.user_id,
        spare.places,
        spare.asks_known,
        case when d.reason is null then d.room else 0 end as stays,
        coalesce(d.reason, 'device_full') as reason,
        d.new_reason
    from device as d
    inner join spare on d.user_id = spare.user_id
    where
        (d.reason is not null or d.id <> all(:'emptied'::uuid []) or d.new_room is not null)
        -- Their people wait for them.
        and d.reason in ('paused', 'device_away') is not true
    union all
    -- A device that is gone may have people of any user.
    select
        a.device_id,
        spare.user_id,
        spare.places,
        spare.asks_known,
        0 as stays,
        'device_missing' as reason,
        null as new_reason
    from (
        select assigned.device_id
        from assigned
        union
        -- The lead's, where the host has no foreign key.
        select unassigned.device_id
        from unassigned
    ) as a
    cross join spare
    where
        a.device_id is not null
        and not exists (
            select 1
            from user_devices as d
            where d.id = a.device_id
        )
),

pick as materialized (
    select
        source.user_id,
        source.device_id as preferred,
        coalesce(due.barred, source.reason) as reason,
        due.id,
        due.contact_phone,
        due.turn,
        due.next_trigger_time
    from source
    cross join lateral (
        select
            ordered.id,
            ordered.contact_phone,
            ordered.turn,
            ordered.next_trigger_time,
            ordered.barred
        from (
            select
                both_kinds.id,
                both_kinds.contact_phone,
                both_kinds.turn,
                both_kinds.next_trigger_time,
                both_kinds.barred,
                row_number() over in_turn as place,
                count(*) filter (where both_kinds.barred is null) over in_turn as stay
            from (
                (
                    select
                        sc.id,
                        sc.contact_phone,
                        case when :'priorities'::jsonb = '{}' then 0 else -coalesce((:'priorities'::jsonb ->> sc.sequence_id::text)::integer, 0) end as turn,
                        sc.next_trigger_time,
                        case
                            when ((source.device_id, sc.contact_phone)
                                in (select barred.device_id, barred.contact_phone from barred)) is true
                                then source.new_reason
                        end as barred
                    from sequence_contacts as sc
                    where
                        sc.assigned_device_id = source.device_id
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
                            where (person.user_id, person.phone) = (source.user_id, sc.contact_phone) limit 1
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
                        and ((source.user_id, sc.sequence_id, sc.sequence_stepid)
                            in (select step.user_id, step.sequence_id, step.id from step)) is true
                        and sc.id not in (select passed.id from passed)
                    order by turn, sc.next_trigger_time
                    -- Whom a device knows may stand anywhere in the line.
                    limit case when not source.asks_known then source.stays + source.places end
                )
                union all
                select
                    u.id,
                    u.contact_phone,
                    u.turn,
                    u.next_trigger_time,
                    u.barred
                from unassigned as u
                where u.device_id = source.device_id and u.user_id = source.user_id
            ) as both_kinds
            window in_turn as (order by both_kinds.turn, both_kinds.next_trigger_time, both_kinds.id)
        ) as ordered
        where ordered.stay > source.stays or ordered.barred is not null
        order by ordered.place
        limit case when not source.asks_known then source.places end
    ) as due
    union all
    select
        u.user_id,
        null as preferred,
        'no_device' as reason,
        u.id,
        u.contact_phone,
        u.turn,
        u.next_trigger_time
    from unassigned as u
    where u.device_id is null
),

numbered as materialized (
    select
        pick.*,
        row_number() over (partition by pick.user_id order by pick.turn, pick.next_trigger_time, pick.id) as place
    from pick
),

-- These places, the least loaded first, as one array: "seated" finds its place by subscript. Joined row by row, where the
-- planner expects few, each person would be compared with each place. No more of them than there are people, however
-- much room there is.
seat as materialized (
    select
        vacant.user_id,
        array_agg(vacant.id order by vacant.load + free.place, vacant.id) as device_ids
    from vacant
    inner join (
        select
            numbered.user_id,
            count(*)::integer as people
        from numbered
        group by numbered.user_id
    ) as line on vacant.user_id = line.user_id
    cross join lateral generate_series(1, least(vacant.chats, line.people)) as free (place)
    group by vacant.user_id
),

-- The place's device alone goes on: the array would be copied with each person.
seated as materialized (
    select
        numbered.*,
        seat.device_ids[numbered.place] as device_id
    from numbered
    left join seat on numbered.user_id = seat.user_id
),

-- Whom a device with room for people it knows does know: of those who have no place, and of those whose place is there.
acquainted as materialized (
    select
        w.id,
        w.place,
        w.device_id is not null as is_seated,
        d.id as device_id,
        d.load,
        d.room - d.chats as known_places
    from vacant as d
    inner join seated as w on d.user_id = w.user_id
    where
        d.chats < d.room
        and coalesce(w.device_id = d.id, true)
        and (
            -- known
            select true
            from broadcast_messages as m
            where
                m.recipient_phone = w.contact_phone
                and m.device_id = d.id
                and (m.sent_at is not null or m.status in ('pending', 'queued', 'processing'))
                and m.status <> 'failed'
                and m.status <> all(:'failed'::text [])
            limit 1
        ) is not null
),

-- Where anybody has no place, all places for anybody are taken.
known_seat as materialized (
    select
        in_line.id,
        in_line.device_id
    from (
        select
            one.*,
            row_number() over (partition by one.device_id order by one.place) as seat
        from (
            select distinct on (a.id) a.*
            from acquainted as a
            where not a.is_seated
            order by a.id, a.load, a.device_id
        ) as one
    ) as in_line
    where in_line.seat <= in_line.known_places
),

-- Chats that those have left who have a place for anybody, and are known there.
chat_left as materialized (
    select
        vacant.user_id,
        array_agg(vacant.id order by vacant.load + free.place, vacant.id) as device_ids
    from vacant
    cross join lateral generate_series(
        1,
        least(
            (select count(*) from acquainted as a where a.is_seated and a.device_id = vacant.id),
            vacant.room - vacant.chats - (select count(*) from known_seat where known_seat.device_id = vacant.id)
        )::integer
    ) as free (place)
    where vacant.chats < vacant.room
    group by vacant.user_id
),

placed as materialized (
    select
        seated.id,
        seated.turn,
        seated.next_trigger_time,
        seated.preferred,
        seated.reason,
        coalesce(seated.device_id, known_seat.device_id, late.device_id) as device_id
    from seated
    left join known_seat on seated.id = known_seat.id
    left join (
        select
            in_line.id,
            chat_left.device_ids[in_line.place] as device_id
        from (
            select
                w.id,
                w.user_id,
                row_number() over (partition by w.user_id order by w.place) as place
            from seated as w
            where w.device_id is null and w.id not in (select known_seat.id from known_seat)
        ) as in_line
        inner join chat_left on in_line.user_id = chat_left.user_id
    ) as late on seated.id = late.id
)

select
    placed.id as contact_id,
    placed.device_id,
    coalesce(d.device_name, left(d.id::text, 0))::text as device_name,
    placed.preferred,
    placed.reason
from placed
inner join user_devices as d on placed.device_id = d.id
order by placed.turn, placed.next_trigger_time, placed.id
limit :'most'::integer;
