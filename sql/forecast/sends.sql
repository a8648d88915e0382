-- What every device will have to send by day, who waits meanwhile, and for which limit
--
-- Time goes by the hour, from now. Ticks come in regular intervals, and the broadcast worker sends at once: so whoever
-- waits at the end of an hour waits for a limit that is used up, and the number that a device sends in each hour is
-- that of ticks a minute. Of contacts due in the same hour those of the earlier step go first, where not all can. A
-- delay that is no whole number of hours counts as the next whole hour. Nobody enrols but those asked about; a device
-- stays what it is now.
--
-- Contacts are counted by device, step and hour before anything else. Devices that no limit touches are told by what
-- becomes due alone; only the others, under policies that move people those of their users, go through every hour.
--
-- Parameters:
--   users             uuid[]       only these users; empty: all
--   now               timestamptz  the instant from which days of 24 hours are counted
--   hours             integer      how far to look
--   every             interval     time from tick to tick: an hour, or a part of it
--   oldest            timestamptz  contacts that were due before are too late, and wait
--   max_lateness      interval     so long after it was due a contact is too late; 0: never
--   claim_timeout     interval     how long the claim of another processor is respected
--   without_lead      boolean      people without a lead of the sequence's user are sent to, too
--   moves             boolean      who cannot go on their own device goes on another one of the user
--   reassigns         boolean      who goes on another device is assigned to it from then on
--   failed            text[]       values of broadcast_messages.status of a message that will never be sent
--   one_more          boolean      each user has one device more, for people of others
--   in_flight_instead  integer      messages of a device in flight, instead of each device's limit; empty: that
--   per_hour_instead  integer      the same of 60 minutes
--   per_day_instead   integer      the same of 24 hours
--   doubled           text         the limit that is twice as high, such as max_per_day; empty: none
--   waiting           text[]       values of sequence_contacts.status: a later step's row, made beforehand
--   enroll_sequences  uuid[]       sequences that people are enrolled in now
--   enroll_people     integer[]    how many, in each of them; on the devices of the user's leads, by their share
-- Gates: gates/steps.sql, gates/devices.sql
-- Row:
--   user_id      uuid     the device's user, or the contacts'
--   device_id    uuid     the device; null: contacts whose device is none that can send
--   device_name  text     its name
--   reason       text     contacts that wait for this are not sent; null: a day of a device
--   contacts     integer  how many of them are due by the end of the last day
--   day          integer  the day, from 1
--   sends        integer  messages that ticks queue on the device
--   moved        integer  of these: for people of other devices
--   queued       integer  messages that wait in its queue already, and go out on that day
--   room         integer  what the limits of the device allow on a day; null: none
--   waiting      integer  contacts that wait at the end of the day because the device is full
--   held_until   integer  hours from now after which nobody waits for it that day; null: nobody does
--   held_by      text     the limit that they wait for in most hours of the day, and whose rule it is
-- Locks: none
\if :{?users} \else \set users '{}' \endif
\if :{?now} \else \set now 'now' \endif
\if :{?hours} \else \set hours '336' \endif
\if :{?every} \else \set every '1 minute' \endif
\if :{?oldest} \else \set oldest '-infinity' \endif
\if :{?max_lateness} \else \set max_lateness '0' \endif
\if :{?claim_timeout} \else \set claim_timeout '5 minutes' \endif
\if :{?without_lead} \else \set without_lead 'false' \endif
\if :{?moves} \else \set moves 'false' \endif
\if :{?reassigns} \else \set reassigns 'false' \endif
\if :{?one_more} \else \set one_more 'false' \endif
\if :{?in_flight_instead} \else \set in_flight_instead '' \endif
\if :{?per_hour_instead} \else \set per_hour_instead '' \endif
\if :{?per_day_instead} \else \set per_day_instead '' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?doubled} \else \set doubled '' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?enroll_sequences} \else \set enroll_sequences '{}' \endif
\if :{?enroll_people} \else \set enroll_people '{}' \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with recursive step as materialized (
    select s.*
    from unnest(
        :'step_users'::uuid [], :'step_sequences'::uuid [], :'steps'::uuid [], :'step_reasons'::text [],
        :'entry_triggers'::text [], :'next_steps'::uuid [], :'next_step_hours'::numeric []
    ) with ordinality as s (user_id, sequence_id, id, reason, entry_trigger, next_id, next_hours, place)
    where :'users'::uuid [] = '{}' or s.user_id = any(:'users'::uuid [])
),

-- What is said of a contact whose step is none of the sequence's.
sequence as materialized (
    select step.*
    from step
    where step.id is null and step.reason <> 'sequence_inactive'
),

listed as materialized (
    select
        d.id, d.user_id, d.reason, d.flying_by, d.hour_by, d.day_by,
        -- Whether it is full is a matter of time.
        d.reason is null or d.reason = 'device_full' as is_open, d.room is not null as is_limited,
        least(
            coalesce(nullif(:'in_flight_instead', '')::integer, d.most_flying)::bigint
            * case :'doubled'::text when 'max_in_flight' then 2 else 1 end, 1000000000
        )::integer as most_flying,
        least(
            coalesce(nullif(:'per_hour_instead', '')::integer, d.most_an_hour)::bigint
            * case :'doubled'::text when 'max_per_hour' then 2 else 1 end, 1000000000
        )::integer as most_an_hour,
        least(
            coalesce(nullif(:'per_day_instead', '')::integer, d.most_a_day)::bigint
            * case :'doubled'::text when 'max_per_day' then 2 else 1 end, 1000000000
        )::integer as most_a_day,
        d.place
    from unnest(
        :'devices'::uuid [], :'device_users'::uuid [], :'device_reasons'::text [], :'device_rooms'::integer [],
        :'most_in_flight'::integer [], :'most_in_hour'::integer [], :'most_in_day'::integer [], :'flying_by'::text [],
        :'hour_by'::text [], :'day_by'::text []
    ) with ordinality as d (
        id, user_id, reason, room, most_flying, most_an_hour, most_a_day, flying_by, hour_by, day_by, place
    )
    where :'users'::uuid [] = '{}' or d.user_id = any(:'users'::uuid [])
),

device as materialized (
    select l.*
    from listed as l
    union all
    -- One more, as the user's others are.
    select
        null, listed.user_id, null, null, null, null, true, bool_or(listed.is_limited), max(listed.most_flying),
        max(listed.most_an_hour), max(listed.most_a_day),
        max(max(listed.place)) over () + row_number() over (order by listed.user_id)
    from listed
    where :'one_more'::boolean
    group by listed.user_id
),

-- Who comes to a step again has been there: the steps go in a circle, and end.
walked (place, path) as (
    select step.place, array[step.place]
    from step
    where step.entry_trigger is not null
    union all
    select next_step.place, walked.path || next_step.place
    from walked
    inner join step on walked.place = step.place
    inner join step as next_step on step.next_id = next_step.id
    where next_step.place <> all(walked.path)
),

follows as materialized (
    select
        step.place, next_step.place as next_place,
        greatest(1, least(100000, ceil(step.next_hours)))::integer as hours
    from step
    inner join step as next_step on step.next_id = next_step.id
    where
        step.reason is null
        and not exists (
            select 1
            from walked
            where walked.place = step.place and next_step.place = any(walked.path)
        )
),

entered as materialized (
    select distinct on (asked.place)
        asked.place, asked.people, step.user_id, step.sequence_id, step.id
    from unnest(:'enroll_sequences'::uuid [], :'enroll_people'::integer [])
        with ordinality as asked (sequence_id, people, place)
    inner join step on asked.sequence_id = step.sequence_id
    inner join sequence_steps as st on step.id = st.id
    where step.entry_trigger is not null
    order by asked.place, st.day_number, st.id
),

-- By the leads of each device; of a user without such, by the devices.
share as materialized (
    select
        e.place, candidate.device_id,
        sum(candidate.weight) over (partition by e.place order by candidate.device_id) as up_to, candidate.weight,
        sum(candidate.weight) over (partition by e.place) as total
    from entered as e
    cross join lateral (
        select d.id as device_id, 1 + 1000000 * count(l.device_id) as weight
        from device as d
        left join leads as l on d.id = l.device_id and d.user_id = l.user_id
        where d.user_id = e.user_id and d.id is not null
        group by d.id
    ) as candidate
),

-- Of people whose rows of later steps wait: when each of these is due at the earliest, by the step's place.
ahead as materialized (
    select
        sc.sequence_id, sc.contact_phone,
        jsonb_object_agg(
            step.place,
            floor(
                ceil(extract(epoch from sc.next_trigger_time - :'now'::timestamptz) / extract(epoch from :'every'::interval))
                * extract(epoch from :'every'::interval) / 3600
            )::integer
        ) as not_before
    from sequence_contacts as sc
    inner join step on sc.sequence_stepid = step.id and sc.sequence_id = step.sequence_id
    where
        sc.status = any(:'waiting'::text [])
        and sc.next_trigger_time > :'now'::timestamptz
        and sc.next_trigger_time < :'now'::timestamptz + interval '1000 days'
    group by sc.sequence_id, sc.contact_phone
),

counted as materialized (
    select
        coalesce(sc.assigned_device_id, l.device_id) as device_id, sc.sequence_id, sc.sequence_stepid,
        floor(
            ceil(extract(epoch from came.due - :'now'::timestamptz) / extract(epoch from :'every'::interval))
            * extract(epoch from :'every'::interval) / 3600
        )::integer as due,
        sc.next_trigger_time < :'oldest'::timestamptz as is_late,
        coalesce(sc.contact_phone ~ '\S', false) as has_phone,
        sc.processing_started_at is null and sc.processing_device_id is not null and sc.completed_at is null as is_claimed,
        not :'without_lead'::boolean and l.user_id is null as is_leadless, ahead.not_before, count(*) as contacts
    from sequence_contacts as sc
    inner join sequence as s on sc.sequence_id = s.sequence_id
    left join ahead on sc.sequence_id = ahead.sequence_id and sc.contact_phone = ahead.contact_phone
    -- One lookup by key for each, whatever the planner expects: user and phone are unique.
    left join lateral (
        select leads.user_id, leads.device_id
        from leads
        where leads.user_id = s.user_id and leads.phone = sc.contact_phone
        limit 1
    ) as l on true
    cross join lateral (
        -- An instant that is infinite could not be subtracted from.
        select greatest(
            least(
                greatest(
                    sc.next_trigger_time::timestamptz,
                    sc.processing_started_at::timestamptz + :'claim_timeout'::interval
                ), :'now'::timestamptz + interval '1000 days'
            ), :'now'::timestamptz - interval '1000 days'
        ) as due
    ) as came
    where
        sc.status = 'active'
        and sc.next_trigger_time < :'now'::timestamptz + :'hours'::integer * interval '1 hour'
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9
    union all
    select
        share.device_id, e.sequence_id, e.id, 0, false, true, false, false, null,
        (
            round(e.people * share.up_to / share.total) - round(e.people * (share.up_to - share.weight) / share.total)
        )::bigint
    from entered as e
    inner join share on e.place = share.place
),

judged as materialized (
    select
        c.device_id, c.user_id, c.due, c.not_before, c.contacts, c.place as step, device.place as device,
        device.is_open, c.is_leadless,
        case
            when c.is_late then 'too_late'
            when not c.has_phone then 'bad_phone'
            when c.reason is not null then c.reason
            when c.is_claimed then 'claimed'
            when c.device_id is null then 'no_device'
            when device.id is null then 'device_missing'
            when device.user_id <> c.user_id then 'device_of_other_user'
            when not device.is_open then device.reason
            when c.is_leadless then 'no_lead'
        end as reason
    from (
        select
            counted.*, s.user_id, step.place,
            case when step.id is null then s.reason else step.reason end as reason
        from counted
        inner join sequence as s on counted.sequence_id = s.sequence_id
        left join step on counted.sequence_stepid = step.id and counted.sequence_id = step.sequence_id
    ) as c
    left join device on c.device_id = device.id
    where c.contacts > 0
),

-- Users as numbers: with a minus, they stand for a device that sends nothing itself.
account as materialized (
    select
        known.user_id, row_number() over (order by known.user_id) as place,
        known.is_open and :'moves'::boolean as moves
    from (
        select u.user_id, coalesce(bool_or(device.is_open), false) as is_open
        from (
            select step.user_id
            from step
            union
            select d.user_id
            from device as d
        ) as u
        left join device on u.user_id = device.user_id
        group by u.user_id
    ) as known
),

-- Contacts that ticks send, and the device that they are on, or their user's number with a minus.
going as materialized (
    select
        account.place as account,
        case when j.reason is null then j.device else -account.place end as device,
        j.step, j.due, j.not_before, sum(j.contacts)::bigint as contacts
    from judged as j
    inner join account on j.user_id = account.user_id
    where
        j.due < :'hours'::integer
        and (
            j.reason is null
            or account.moves and not j.is_leadless
            and (j.reason in ('no_device', 'device_missing') or j.is_open is false and j.reason like 'device\_%' and j.reason <> 'device_away')
        )
    group by 1, 2, 3, 4, 5
),

-- What becomes due if nobody has to wait.
flow (account, device, step, hour, not_before, contacts) as (
    select g.account, g.device, g.step, greatest(0, g.due), g.not_before, g.contacts
    from going as g
    union all
    select
        flow.account, flow.device, follows.next_place,
        greatest(flow.hour + follows.hours, (flow.not_before ->> follows.next_place::text)::integer),
        flow.not_before, flow.contacts
    from flow
    inner join follows on flow.step = follows.place
    where
        greatest(flow.hour + follows.hours, (flow.not_before ->> follows.next_place::text)::integer)
        < :'hours'::integer
),

free as materialized (
    select flow.account, flow.device, flow.hour, sum(flow.contacts) as contacts
    from flow
    inner join step on flow.step = step.place
    where step.reason is null
    group by 1, 2, 3
),

-- Messages of each device that were sent in the last 24 hours, or wait in its queue, by the hour: as in
-- gates/devices.sql, which counts them.
message as materialized (
    select
        device.place as device,
        floor(
            ceil(extract(epoch from m.at - :'now'::timestamptz) / extract(epoch from :'every'::interval))
            * extract(epoch from :'every'::interval) / 3600
        )::integer as hour,
        count(*) as messages, count(*) filter (where m.is_queued) as queued
    from device
    cross join lateral (
        select
            case
                when
                    m.scheduled_at is null
                    or m.scheduled_at <= :'now'::timestamptz
                    or m.scheduled_at <= m.created_at
                    then :'now'::timestamptz
                else m.scheduled_at::timestamptz
            end as at,
            true as is_queued
        from broadcast_messages as m
        where
            m.device_id = device.id
            and m.status in ('pending', 'queued', 'processing')
            and (
                m.scheduled_at is null
                or m.scheduled_at < :'now'::timestamptz + :'hours'::integer * interval '1 hour'
                or m.scheduled_at <= m.created_at
            )
        union all
        select least(m.sent_at::timestamptz, :'now'::timestamptz), false
        from broadcast_messages as m
        where
            m.device_id = device.id
            and m.sent_at > :'now'::timestamptz - interval '24 hours'
            and m.status not in ('pending', 'queued', 'processing', 'failed')
            and m.status <> all(:'failed'::text [])
    ) as m
    group by 1, 2
),

-- By the hour, and in the 24 hours up to its end.
demand as materialized (
    select
        both_kinds.device, both_kinds.hour, sum(both_kinds.contacts) as contacts,
        sum(both_kinds.messages) as an_hour,
        sum(sum(both_kinds.messages)) over (
            partition by both_kinds.device order by both_kinds.hour range between 23 preceding and current row
        ) as a_day
    from (
        select free.device, free.hour, free.contacts, free.contacts as messages
        from free
        where free.device > 0
        union all
        select message.device, message.hour, 0, message.messages
        from message
    ) as both_kinds
    group by 1, 2
),

pressed as materialized (
    select distinct
        account.place as account, device.place as device
    from demand
    inner join device on demand.device = device.place
    inner join account on device.user_id = account.user_id
    where
        device.is_limited
        and demand.contacts > 0
        and (
            demand.an_hour > least(device.most_an_hour, device.most_flying * 3600.0 / extract(epoch from :'every'::interval))
            or demand.a_day > device.most_a_day
        )
    union
    select distinct
        g.account, g.device
    from going as g
    where g.device < 0
),

-- The devices that go through every hour, with what each may send: in an hour's ticks, an hour, a day.
busy as materialized (
    select
        account.place as account, device.place as device,
        case when device.is_limited then
            least(device.most_flying * 3600.0 / extract(epoch from :'every'::interval), 1000000000)::integer
        end as most_flying,
        case when device.is_limited then device.most_an_hour end as most_an_hour,
        case when device.is_limited then device.most_a_day end as most_a_day
    from device
    inner join account on device.user_id = account.user_id
    where
        device.is_open
        and case
            when account.moves then account.place in (select pressed.account from pressed)
            else device.place in (select pressed.device from pressed)
        end
    union all
    select pressed.account, pressed.device, 0, 0, 0
    from pressed
    where pressed.device < 0
),

coming as materialized (
    select g.device, greatest(0, g.due) as hour, g.step, g.due, g.not_before, g.contacts
    from going as g
    where g.device in (select busy.device from busy)
),

-- An hour after the other. Kinds of rows: a device and its messages of the last 23 hours; contacts in the order in
-- which they became due; and of each hour what became of it, which nothing goes on from.
hourly (hour, kind, account, device, step, due, not_before, contacts, moved, waiting, held_by, recent) as (
    select
        -1, 'device', busy.account, busy.device, null::bigint, null::integer, null::jsonb, null::bigint,
        null::bigint, null::bigint, null::text,
        array(
            select coalesce(m.messages, 0)::integer
            from generate_series(-23, -1) as past (hour)
            left join message as m on busy.device = m.device and past.hour = m.hour
            order by past.hour
        )
    from busy
    union all
    (
        with state as materialized (
            select h.*
            from hourly as h
            where h.hour < :'hours'::integer - 1 and h.kind <> 'hour'
        ),

        room as materialized (
            select
                s.account, s.device, s.hour + 1 as hour, s.recent, coalesce(m.messages, 0) as planned,
                busy.most_flying - coalesce(m.messages, 0) as flying,
                busy.most_an_hour - coalesce(m.messages, 0) as an_hour,
                busy.most_a_day - coalesce(m.messages, 0) - (select sum(r.n) from unnest(s.recent) as r (n)) as a_day
            from state as s
            inner join busy on s.device = busy.device
            left join message as m on s.device = m.device and s.hour + 1 = m.hour
            where s.kind = 'device'
        ),

        due as materialized (
            select
                all_due.*, greatest(0, least(room.flying, room.an_hour, room.a_day)) as room, room.hour,
                sum(all_due.contacts) over (
                    partition by all_due.device order by all_due.due, all_due.step rows unbounded preceding
                ) - all_due.contacts as ahead
            from (
                select s.account, s.device, s.step, s.due, s.not_before, s.contacts
                from state as s
                where s.kind = 'contacts' and s.due <= s.hour + 1
                union all
                select r.account, r.device, c.step, c.due, c.not_before, c.contacts
                from room as r
                inner join coming as c on r.device = c.device and r.hour = c.hour
            ) as all_due
            inner join room on all_due.device = room.device
            where
                :'max_lateness'::interval = interval '0'
                or (room.hour - all_due.due) * interval '1 hour' <= :'max_lateness'::interval
        ),

        -- A room without end is null.
        own as materialized (
            select
                due.*, row_number() over () as place, least(due.contacts, greatest(0, due.room - due.ahead)) as gone
            from due
        ),

        -- Who goes on another device of the user: the oldest first, to each device as many as to the others, as far as
        -- its room goes.
        rest as materialized (
            select
                own.*,
                sum(own.contacts - own.gone) over (
                    partition by own.account order by own.due, own.device, own.step rows unbounded preceding
                ) as up_to,
                sum(own.contacts - own.gone) over (partition by own.account) as total
            from own
            where own.gone < own.contacts and :'moves'::boolean
        ),

        spare as materialized (
            select
                free_room.*, sum(free_room.places) over (partition by free_room.account) as total,
                sum(free_room.places) over (
                    partition by free_room.account order by free_room.places, free_room.device rows unbounded preceding
                ) - free_room.places as smaller,
                count(*) over (partition by free_room.account)
                - row_number() over (partition by free_room.account order by free_room.places, free_room.device)
                + 1 as larger
            from (
                select
                    room.account, room.device,
                    greatest(0, least(room.flying, room.an_hour, room.a_day)) - coalesce(sum(own.gone), 0) as places
                from room
                left join own on room.device = own.device
                where room.account in (select rest.account from rest)
                group by room.account, room.device, room.flying, room.an_hour, room.a_day
            ) as free_room
            where free_room.places > 0
        ),

        filled as materialized (
            select
                leveled.account, leveled.device,
                round(sum(least(leveled.places, leveled.level)) over (
                    partition by leveled.account order by leveled.device rows unbounded preceding
                )) as up_to,
                round(sum(least(leveled.places, leveled.level)) over (
                    partition by leveled.account order by leveled.device rows unbounded preceding
                ) - least(leveled.places, leveled.level)) as begins
            from (
                select spare.*, max((least(spare.total, asked.total) - spare.smaller) / spare.larger)
                        over (partition by spare.account) as level
                from spare
                inner join (select distinct rest.account, rest.total from rest) as asked
                    on spare.account = asked.account
            ) as leveled
        ),

        elsewhere as materialized (
            select
                rest.place, rest.account, rest.device, rest.step, rest.hour, rest.not_before, filled.device as onto,
                least(rest.up_to, filled.up_to)
                - greatest(rest.up_to - (rest.contacts - rest.gone), filled.begins) as contacts
            from rest
            inner join filled
                on
                    rest.account = filled.account
                    and rest.up_to > filled.begins
                    and rest.up_to - (rest.contacts - rest.gone) < filled.up_to
        ),

        left_over as materialized (
            select
                own.account, own.device, own.step, own.due, own.hour, own.not_before,
                own.contacts - own.gone - coalesce(away.contacts, 0) as contacts
            from own
            left join (
                select elsewhere.place, sum(elsewhere.contacts) as contacts
                from elsewhere
                group by elsewhere.place
            ) as away on own.place = away.place
        ),

        sent as materialized (
            select
                room.device, coalesce(sum(gone.contacts), 0)::bigint as contacts,
                coalesce(sum(gone.contacts) filter (where gone.is_moved), 0)::bigint as moved
            from room
            left join (
                select own.device, own.gone as contacts, false as is_moved
                from own
                union all
                select elsewhere.onto, elsewhere.contacts, true
                from elsewhere
            ) as gone on room.device = gone.device
            group by room.device
        )

        select
            room.hour, 'device' as kind, room.account, room.device, null::bigint as step, null::integer as due,
            null::jsonb as not_before, null::bigint as contacts, null::bigint as moved, null::bigint as waiting,
            null::text as held_by, room.recent[2 : 23] || (sent.contacts + room.planned)::integer as recent
        from room
        inner join sent on room.device = sent.device
        union all
        select
            room.hour, 'hour', room.account, room.device, null, null, null, sent.contacts, sent.moved,
            coalesce(behind.contacts, 0)::bigint,
            case
                when behind.contacts > 0 then
                    case
                        when room.device < 0 then null
                        when least(room.an_hour, room.flying) >= room.a_day then 'max_per_day'
                        when room.flying >= room.an_hour then 'max_per_hour'
                        else 'max_in_flight'
                    end
            end,
            null
        from room
        inner join sent on room.device = sent.device
        left join (
            select left_over.device, sum(left_over.contacts)::bigint as contacts
            from left_over
            group by left_over.device
        ) as behind on room.device = behind.device
        where sent.contacts > 0 or behind.contacts > 0
        union all
        select
            l.hour, 'contacts', l.account, l.device, l.step, l.due, l.not_before, l.contacts::bigint, null, null,
            null, null
        from left_over as l
        where l.contacts > 0
        union all
        select
            s.hour + 1, 'contacts', s.account, s.device, s.step, s.due, s.not_before, s.contacts, null, null, null,
            null
        from state as s
        where s.kind = 'contacts' and s.due > s.hour + 1
        union all
        select
            gone.hour, 'contacts', gone.account, gone.device, follows.next_place,
            greatest(gone.hour + follows.hours, (gone.not_before ->> follows.next_place::text)::integer),
            gone.not_before, sum(gone.contacts)::bigint, null, null, null, null
        from (
            select own.account, own.device, own.step, own.hour, own.not_before, own.gone as contacts
            from own
            where own.gone > 0
            union all
            select
                e.account,
                case when :'reassigns'::boolean then e.onto else e.device end,
                e.step, e.hour, e.not_before, e.contacts
            from elsewhere as e
        ) as gone
        inner join follows on gone.step = follows.place
        inner join step on follows.next_place = step.place
        where step.reason is null and gone.hour + follows.hours < :'hours'::integer
        group by 1, 2, 3, 4, 5, 6, 7
    )
),

outcome as materialized (
    select free.device, free.account, free.hour, free.contacts, 0 as moved, 0 as waiting, null as held_by
    from free
    where free.device not in (select busy.device from busy)
    union all
    select h.device, h.account, h.hour, h.contacts, h.moved, h.waiting, h.held_by
    from hourly as h
    where h.kind = 'hour'
    union all
    select message.device, account.place, message.hour, 0, 0, 0, null
    from message
    inner join device on message.device = device.place
    inner join account on device.user_id = account.user_id
    where message.hour >= 0 and message.hour < :'hours'::integer and message.queued > 0
)

select
    account.user_id, device.id as device_id, d.device_name::text as device_name, null::text as reason,
    null::integer as contacts, by_day.day, by_day.sends::integer as sends, by_day.moved::integer as moved,
    coalesce(queue.messages, 0)::integer as queued,
    case
        when device.is_limited and device.is_open then least(
            device.most_flying * 86400.0 / extract(epoch from :'every'::interval), device.most_an_hour * 24.0,
            device.most_a_day
        )::integer
        when not device.is_open then 0
    end as room,
    by_day.waiting::integer as waiting, by_day.held_until,
    coalesce(
        case by_day.held_by
            when 'max_in_flight' then device.flying_by
            when 'max_per_hour' then device.hour_by
            when 'max_per_day' then device.day_by
        end,
        by_day.held_by || ' for all'
    ) as held_by
from (
    select
        o.account, o.device, o.hour / 24 + 1 as day, sum(o.contacts) as sends, sum(o.moved) as moved,
        coalesce(sum(o.waiting) filter (where o.hour % 24 = 23), 0) as waiting,
        max(o.hour) filter (where o.waiting > 0) + 1 as held_until,
        mode() within group (order by o.held_by) as held_by
    from outcome as o
    group by 1, 2, 3
) as by_day
inner join account on by_day.account = account.place and account.user_id in (select s.user_id from sequence as s)
left join device on by_day.device = device.place
left join user_devices as d on device.id = d.id
left join (
    select message.device, message.hour / 24 + 1 as day, sum(message.queued) as messages
    from message
    where message.hour >= 0
    group by 1, 2
) as queue on by_day.device = queue.device and by_day.day = queue.day
union all
select
    j.user_id, j.device_id, d.device_name::text, j.reason, sum(j.contacts)::integer, null, null, null, null, null,
    null, null, null
from judged as j
inner join account on j.user_id = account.user_id
left join user_devices as d on j.device_id = d.id
where
    j.reason is not null
    and not (
        account.moves and not j.is_leadless
        and (j.reason in ('no_device', 'device_missing') or j.is_open is false and j.reason like 'device\_%' and j.reason <> 'device_away')
    )
group by 1, 2, 3, 4
order by device_name, device_id, day, reason;
