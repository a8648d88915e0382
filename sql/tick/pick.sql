-- The due contacts that are a device's own: those assigned to it, or only those of its leads that nobody is assigned to
--
-- The claim finds those assigned to a device itself. It is given those without an assigned device, which are their
-- lead's; those of a device that may open fewer chats than it takes, known ones and so many others; and all of them
-- where the database has refused a claim, which is then made for a part of them at a time, until the contact that is
-- refused stands alone.
--
-- Parameters:
--   due_by        timestamptz  contacts are due that are due by then: the instant the run began
--   oldest        timestamptz  contacts that were due before are too late, and left out
--   stale         timestamptz  a claim that another processor made later than that is respected
--   without_lead  boolean      people without a lead of the sequence's user are due, too
--   national      text         a regular expression that tells a number without a country code
--   country       text         what stands for its match
--   own           boolean      those assigned to a device too
--   passed        uuid[]       contacts that are left out: another session holds what they need
--   failed        text[]       values of broadcast_messages.status of a message that will never be sent
--   take          integer      contacts for one device, at most
--   most          integer      contacts in all, at most
-- Gates: gates/windows.sql, gates/steps.sql, gates/devices.sql of the devices that this transaction has locked
-- Row:
--   contact_id  uuid  a contact
--   device_id   uuid  the device it is for
-- Locks: the contacts that are assigned to the devices, but not those that somebody else has locked
\if :{?due_by} \else \set due_by 'now' \endif
\if :{?oldest} \else \set oldest '-infinity' \endif
\if :{?stale} \else \set stale '-infinity' \endif
\if :{?without_lead} \else \set without_lead 'false' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
\if :{?own} \else \set own 'true' \endif
\if :{?passed} \else \set passed '{}' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?take} \else \set take '100' \endif
\if :{?most} \else \set most '10000' \endif
\if :{?recipient_hours} \else \ir ../gates/windows.sql \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with step as materialized (
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
    select
        d.id,
        d.user_id,
        d.reason,
        least(:'take'::integer, d.room) as room,
        -- Where all that it takes now may be new to it, nobody has to be chosen: as in tick/claim.sql
        case when d.new_room < least(:'take'::integer, d.room) then d.new_room end as new_room,
        d.new_reason
    from unnest(
        :'devices'::uuid [], :'device_users'::uuid [], :'device_reasons'::text [], :'device_rooms'::integer [],
        :'new_rooms'::integer [], :'new_reasons'::text []
    ) as d (id, user_id, reason, room, new_room, new_reason)
    where coalesce(d.reason is null, false)
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

-- The oldest of each device, some to spare for those that somebody else has locked.
unassigned as materialized (
    select
        l.device_id,
        (array_agg(sc.id order by first.turn, sc.next_trigger_time))[1 : 2 * :'take'::integer] as contact_ids,
        (array_agg(first.turn order by first.turn, sc.next_trigger_time))[1 : 2 * :'take'::integer] as turns,
        (array_agg(sc.next_trigger_time order by first.turn, sc.next_trigger_time))[1 : 2 * :'take'::integer] as due_at
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    -- As in tick/claim.sql.
    cross join lateral (
        select case when :'priorities'::jsonb = '{}' then 0 else -coalesce((:'priorities'::jsonb ->> sc.sequence_id::text)::integer, 0) end as turn
    ) as first
    -- One lookup by key for each, whatever the planner expects: user and phone are unique.
    cross join lateral (
        select leads.device_id
        from leads
        where leads.user_id = s.user_id and leads.phone = sc.contact_phone
        limit 1
    ) as l
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
        and ((s.user_id, l.device_id) in (select device.user_id, device.id from device)) is true
        and ((l.device_id, sc.contact_phone) in (select barred.device_id, barred.contact_phone from barred)) is not true
    group by l.device_id
)

select
    due.id as contact_id,
    device.id as device_id
from device
cross join lateral (
    select pick.id
    from (
        select own.*
        from (
            select
                sc.id,
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
                and sc.id not in (select passed.id from passed)
                and ((device.id, sc.contact_phone)
                    in (select barred.device_id, barred.contact_phone from barred)) is not true
            order by turn, sc.next_trigger_time
            limit case when :'own'::boolean or device.new_room is not null then device.room else 0 end
            for update of sc skip locked
        ) as own
        union all
        select
            contact.id,
            contact.turn,
            contact.due_at
        from unassigned
        cross join unnest(unassigned.contact_ids, unassigned.turns, unassigned.due_at) as contact (id, turn, due_at)
        where unassigned.device_id = device.id and device.room > 0
    ) as pick
    order by pick.turn, pick.next_trigger_time
    limit case when :'own'::boolean then device.room end
) as due
limit case when :'own'::boolean then :'most'::integer end;
