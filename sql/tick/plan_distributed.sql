-- What a tick would do with every due contact, and why the others wait, on Citus
--
-- The dry run, and after a run the account of what still waits. Contacts are counted before they are
-- joined to anything, so that a long backlog stays cheap.
--
-- Parameters:
--   due_by        timestamptz  contacts are due that are due by then: the instant the run began
--   oldest        timestamptz  contacts that were due before are too late, and wait
--   stale         timestamptz  a claim that another processor made later than that is respected
--   without_lead  boolean      people without a lead of the sequence's user are due, too
--   failed        text[]       values of broadcast_messages.status of a message that will never be sent
--   national      text         a regular expression that tells a number without a country code
--   country       text         what stands for its match
--   moved         uuid[]       contacts that go to another device (overflow.sql): they are not counted, and no new chats
--     are left for them on their own
--   many          integer      so many outside their windows are read as they lie in the table, not device by device
-- Gates: gates/windows.sql, gates/steps.sql, gates/devices.sql of all devices; fallback and reassign as strict
--   (overflow.sql says who goes to another device)
-- Row:
--   device_id    uuid     the preferred device; null where there is none
--   device_name  text     its name
--   decision     text     queue, or the reason to wait
--   contacts     integer  due contacts
-- Locks: none
\if :{?due_by} \else \set due_by 'now' \endif
\if :{?oldest} \else \set oldest '-infinity' \endif
\if :{?stale} \else \set stale '-infinity' \endif
\if :{?without_lead} \else \set without_lead 'false' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
\if :{?moved} \else \set moved '{}' \endif
\if :{?many} \else \set many '30000' \endif
\if :{?recipient_hours} \else \ir ../gates/windows.sql \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with any_step as materialized (
    select s.*
    from unnest(
        :'step_users'::uuid [], :'step_sequences'::uuid [], :'steps'::uuid [], :'step_reasons'::text []
    ) as s (user_id, sequence_id, id, reason)
),

step as materialized (
    select any_step.*
    from any_step
    where coalesce(any_step.reason is null, false)
),

-- What is said of a contact whose step is none of the sequence's.
sequence as materialized (
    select any_step.*
    from any_step
    where any_step.id is null and any_step.reason <> 'sequence_inactive'
),

device as materialized (
    select d.*
    from unnest(
        :'devices'::uuid [], :'device_users'::uuid [], :'device_reasons'::text [], :'device_rooms'::integer [],
        :'new_rooms'::integer [], :'new_reasons'::text []
    ) as d (id, user_id, reason, room, new_room, new_reason)
),

moved as materialized (
    select m.id from unnest(:'moved'::uuid []) as m (id)
),

-- Who is due on a device that may open only so many chats.
chat as materialized (
    select
        device.id as device_id,
        sc.contact_phone,
        case when :'priorities'::jsonb = '{}' then 0 else -coalesce((:'priorities'::jsonb ->> sc.sequence_id::text)::integer, 0) end as turn,
        sc.next_trigger_time
    from sequence_contacts as sc
    inner join device on sc.assigned_device_id = device.id
    where
        device.new_room is not null
        and coalesce(device.reason = 'device_full', true)
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
        and sc.id not in (select moved.id from moved)
    union all
    -- Contacts without an assigned device are their lead's.
    select
        l.device_id,
        sc.contact_phone,
        case when :'priorities'::jsonb = '{}' then 0 else -coalesce((:'priorities'::jsonb ->> sc.sequence_id::text)::integer, 0) end as turn,
        sc.next_trigger_time
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    inner join leads as l on sc.contact_phone = l.phone and s.user_id = l.user_id
    inner join device on l.device_id = device.id and s.user_id = device.user_id
    where
        device.new_room is not null
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
        and sc.id not in (select moved.id from moved)
),

-- Whom these devices know.
known_person as materialized (
    select
        m.recipient_phone,
        m.device_id
    from broadcast_messages as m
    inner join chat on m.recipient_phone = chat.contact_phone and m.device_id = chat.device_id
    where
        -- known: as in tick/pick.sql
        (m.sent_at is not null or m.status in ('pending', 'queued', 'processing'))
        and m.status <> 'failed'
        and m.status <> all(:'failed'::text [])
    group by m.recipient_phone, m.device_id
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
        (fresh.device_id, fresh.contact_phone) not in (
            select
                known_person.device_id,
                known_person.recipient_phone
            from known_person
        )
),

barred as materialized (
    select
        newcomer.device_id,
        newcomer.contact_phone,
        newcomer.reason
    from newcomer
    where newcomer.is_barred
),

open_step as materialized (
    select step.id
    from step
    where step.id is not null
),

own as materialized (
    select
        looked.device_id,
        looked.sequence_id,
        looked.sequence_stepid,
        looked.has_phone,
        looked.is_claimed,
        looked.is_late,
        looked.is_shut,
        looked.is_leadless,
        looked.is_barred,
        count(*) as contacts
    from (
        select
            sc.assigned_device_id as device_id,
            sc.sequence_id,
            sc.sequence_stepid,
            -- The pattern takes longer than all the rest.
            coalesce(ascii(sc.contact_phone) between 33 and 126 or sc.contact_phone ~ '\S', false) as has_phone,
            not coalesce(
                sc.processing_started_at <= :'stale'::timestamptz,
                sc.processing_device_id is null or sc.completed_at is not null
            ) as is_claimed,
            sc.next_trigger_time < :'oldest'::timestamptz as is_late,
            -- As in tick/claim.sql.
            :'recipient_hours'::jsonb <> '{}' and (
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
            ) is false as is_shut,
            -- Only of those that could go.
            coalesce(device.reason, 'device_full') = 'device_full' and not :'without_lead'::boolean
            and (sc.sequence_stepid in (select open_step.id from open_step)) is true and (
                select true
                from leads as person
                where (person.user_id, person.phone) = (device.user_id, sc.contact_phone)
                limit 1
            ) is null as is_leadless,
            case
                when device.new_room is not null
                    then ((sc.assigned_device_id, sc.contact_phone)
                        in (select barred.device_id, barred.contact_phone from barred)) is true
                else false
            end as is_barred
        from sequence_contacts as sc
        left join device on sc.assigned_device_id = device.id
        where
            sc.assigned_device_id is not null
            and sc.status = 'active'
            and sc.next_trigger_time <= :'due_by'::timestamptz
            and sc.id not in (select moved.id from moved)
    ) as looked
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9
),

-- Contacts without an assigned device are their lead's.
unassigned as materialized (
    select
        looked.device_id,
        looked.sequence_id,
        looked.sequence_stepid,
        looked.has_phone,
        looked.is_claimed,
        looked.is_late,
        looked.is_shut,
        looked.is_leadless,
        looked.is_barred,
        count(*) as contacts
    from (
        select
            l.device_id,
            sc.sequence_id,
            sc.sequence_stepid,
            coalesce(sc.contact_phone ~ '\S', false) as has_phone,
            not coalesce(
                sc.processing_started_at <= :'stale'::timestamptz,
                sc.processing_device_id is null or sc.completed_at is not null
            ) as is_claimed,
            sc.next_trigger_time < :'oldest'::timestamptz as is_late,
            -- As in tick/claim.sql.
            :'recipient_hours'::jsonb <> '{}' and (
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
            ) is false as is_shut,
            false as is_leadless,
            ((l.device_id, sc.contact_phone) in (select barred.device_id, barred.contact_phone from barred)) is true
                as is_barred
        from sequence_contacts as sc
        inner join sequences as s on sc.sequence_id = s.id
        left join leads as l on sc.contact_phone = l.phone and s.user_id = l.user_id
        where
            sc.assigned_device_id is null
            and sc.status = 'active'
            and sc.next_trigger_time <= :'due_by'::timestamptz
            and sc.id not in (select moved.id from moved)
    ) as looked
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9
),

due as materialized (
    select own.* from own
    union all
    select unassigned.* from unassigned
),

judged as materialized (
    select
        due.device_id,
        case
            when due.is_late then 'too_late'
            when not due.has_phone then 'bad_phone'
            when due.reason is not null then due.reason
            when due.is_shut then 'outside_window'
            when due.is_claimed then 'claimed'
            when due.device_id is null then 'no_device'
            when device.id is null then 'device_missing'
            when device.user_id <> due.user_id then 'device_of_other_user'
            -- Those who go on it are counted below: one more than none is one too many.
            when device.reason <> 'device_full' then device.reason
            when due.is_leadless then 'no_lead'
            when due.is_barred then device.new_reason
            else 'queue'
        end as decision,
        sum(due.contacts) as contacts
    from (
        select
            due.*,
            s.user_id,
            case when st.id is null then s.reason else st.reason end as reason
        from due
        inner join sequence as s on due.sequence_id = s.sequence_id
        left join any_step as st on due.sequence_stepid = st.id and due.sequence_id = st.sequence_id
    ) as due
    left join device on due.device_id = device.id
    group by 1, 2
)

select
    j.device_id,
    coalesce(d.device_name, left(d.id::text, 0))::text as device_name,
    split.decision,
    split.contacts::integer as contacts
from judged as j
left join device on j.device_id = device.id
left join user_devices as d on j.device_id = d.id
cross join lateral (
    -- A room that is null has no end.
    values
        (j.decision, case j.decision when 'queue' then least(j.contacts, device.room) else j.contacts end),
        ('device_full', case j.decision when 'queue' then greatest(0, j.contacts - device.room) end)
) as split (decision, contacts)
where split.contacts > 0
order by split.contacts desc, split.decision, j.device_id;
