-- What every device will have to send by day, who waits meanwhile, and for which limit
--
-- Time goes by parts of an hour, from now (forecast/calendar.sql): mostly whole hours; within a part no window opens or
-- shuts, and no pause ends. Ticks come in regular intervals, and the broadcast worker sends at once: so whoever waits for
-- a limit at the end of a part waits for one that is used up, and the number that a device sends in each part is that of
-- ticks a minute. Of contacts due in the same part those of the earlier step go first, where not all can. A delay that
-- is no whole number of hours counts as the next whole hour. Nobody enrols but those asked about; a device stays what it
-- is now, but for pauses, graces and restrictions that end.
--
-- Contacts are counted by device, step and part before anything else. Devices that no limit touches are told by what
-- becomes due alone; only the others, under policies that move people those of their users, go through every part.
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
--   national          text         a regular expression that tells a number without a country code
--   country           text         what stands for its match
--   moves             boolean      who cannot go on their own device goes on another one of the user
--   reassigns         boolean      who goes on another device is assigned to it from then on
--   failed            text[]       values of broadcast_messages.status of a message that will never be sent
--   one_more          boolean      each user has one device more, for people of others
--   in_flight_instead  integer      messages of a device in flight, instead of each device's limit; empty: that
--   per_hour_instead  integer      the same of 60 minutes
--   per_day_instead   integer      the same of 24 hours
--   new_chats_instead  text         people whom it writes to for the first time in 24 hours, or none; empty: its limit
--   doubled           text         the limit that is twice as high, such as max_per_day; empty: none
--   later_devices     uuid[]       devices, as gates/devices.sql has them at the end of the last day
--   later_reasons     text[]       why they may not send then; null: they may
--   waiting           text[]       values of sequence_contacts.status: a later step's row, made beforehand
--   enroll_sequences  uuid[]       sequences that people are enrolled in now
--   enroll_people     integer[]    how many, in each of them; on the devices of the user's leads, by their share
-- Gates: gates/windows.sql, gates/steps.sql, gates/devices.sql, forecast/calendar.sql, forecast/warmed.sql
-- Row:
--   user_id      uuid     the device's user, or the contacts'
--   device_id    uuid     the device; null: contacts that have none
--   device_name  text     its name
--   reason       text     contacts that wait for this are not sent; null: a day of a device
--   contacts     integer  how many of them are due by the end of the last day
--   day          integer  the day, from 1
--   sends        integer  messages that ticks queue on the device
--   moved        integer  of these: for people of other devices
--   queued       integer  messages that wait in its queue already, and go out on that day
--   room         integer  what its limits allow on that day, while windows are open; null: any number
--   waiting      integer  contacts that wait at the end of the day because a limit of the device held them back
--   shut         integer  contacts that wait at its end for their window, or for the end of a pause or grace
--   held_until   integer  hours from now after which nobody waits for a limit that day; null: nobody does
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
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
\if :{?moves} \else \set moves 'false' \endif
\if :{?reassigns} \else \set reassigns 'false' \endif
\if :{?one_more} \else \set one_more 'false' \endif
\if :{?in_flight_instead} \else \set in_flight_instead '' \endif
\if :{?per_hour_instead} \else \set per_hour_instead '' \endif
\if :{?per_day_instead} \else \set per_day_instead '' \endif
\if :{?new_chats_instead} \else \set new_chats_instead '' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?doubled} \else \set doubled '' \endif
\if :{?later_devices} \else \set later_devices '{}' \endif
\if :{?later_reasons} \else \set later_reasons '{}' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?enroll_sequences} \else \set enroll_sequences '{}' \endif
\if :{?enroll_people} \else \set enroll_people '{}' \endif
\if :{?within} \else \set within '14 days' \endif
\if :{?change_windows} \else \ir ../gates/windows.sql \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
\if :{?parts} \else \ir ../forecast/calendar.sql \endif
\if :{?warm_devices} \else \ir ../forecast/warmed.sql \endif
with recursive unit as materialized (
    -- Seconds from tick to tick; ticks and parts of an hour.
    select
        extract(epoch from :'every'::interval) as seconds,
        3600 / extract(epoch from :'every'::interval) as ticks,
        cardinality(:'parts'::integer []) as parts,
        :'hours'::integer * cardinality(:'parts'::integer []) as all_parts
),

part as materialized (
    select
        p.place::integer - 1 as number,
        lead(p.tick::numeric, 1, unit.ticks) over (order by p.place) - p.tick as ticks
    from unit
    cross join unnest(:'parts'::integer []) with ordinality as p (tick, place)
),

calendar as materialized (
    select
        c.id, c.zones, c.opens::integer [] as opens
    from unnest(:'calendar_windows'::text [], :'calendar_zones'::text [], :'calendar_opens'::text [])
        as c (id, zones, opens)
),

-- A step that is paused only for a while begins when that ends.
step as materialized (
    select
        s.user_id, s.sequence_id, s.id, s.entry_trigger, s.next_id, s.next_hours, s.place, timed.win,
        case when pause.is_over then s.fault else s.reason end as reason,
        case when pause.is_over then floor(tick.n / unit.ticks)::integer * unit.parts + width_bucket((tick.n - floor(tick.n / unit.ticks) * unit.ticks)::integer, :'parts'::integer []) - 1 else 0 end as begins
    from unnest(
        :'step_users'::uuid [], :'step_sequences'::uuid [], :'steps'::uuid [], :'step_reasons'::text [],
        :'step_faults'::text [], :'step_pause_ends'::text [], :'entry_triggers'::text [], :'next_steps'::uuid [],
        :'next_step_hours'::numeric []
    ) with ordinality as s (
        user_id, sequence_id, id, reason, fault, pause_ends, entry_trigger, next_id, next_hours, place
    )
    cross join unit
    left join unnest(:'timed_steps'::uuid [], :'timed_windows'::text []) as timed (id, win) on s.id = timed.id
    cross join lateral (
        select
            coalesce(
                s.reason = 'paused'
                and s.pause_ends::timestamptz < :'now'::timestamptz + :'hours'::integer * interval '1 hour', false
            ) as is_over
    ) as pause
    cross join lateral (
        select ceil(extract(epoch from s.pause_ends::timestamptz - :'now'::timestamptz) / unit.seconds) as n
    ) as tick
    where :'users'::uuid [] = '{}' or s.user_id = any(:'users'::uuid [])
),

-- What is said of a contact whose step is none of the sequence's; whether its windows are the recipients' own.
sequence as materialized (
    select step.*, theirs.sequence_id is not null as is_recipients
    from step
    left join (
        select distinct timed.sequence_id
        from step as timed
        inner join calendar on timed.win = calendar.id
        where calendar.zones <> ''
    ) as theirs on step.sequence_id = theirs.sequence_id
    where step.id is null and coalesce(step.reason <> 'sequence_inactive', true)
),

prefix as materialized (
    select p.digits, p.zones
    from unnest(:'zoned_prefixes'::text [], :'zoned_zones'::text []) as p (digits, zones)
    where exists (select 1 from sequence where sequence.is_recipients)
),

-- Why a device may not send when all has ended that ends. From the part "opens" on it sends; from "leaves" on people go
-- elsewhere who cannot go on it, if the policy moves people.
listed as materialized (
    select
        d.id, d.user_id, last.reason, d.flying_by, d.hour_by, d.day_by, d.new_by, d.place,
        last.reason is null as is_open, d.room is not null as is_limited,
        d.most_flying, d.most_an_hour, coalesce(warm.top, d.most_a_day) as most_a_day, d.most_new,
        warm.first, warm.more, coalesce(warm.days, 0) as days, warm.named as warm_by,
        floor(ceil(extract(epoch from warm.last - :'now'::timestamptz) / unit.seconds) / unit.ticks)::integer * unit.parts + width_bucket((ceil(extract(epoch from warm.last - :'now'::timestamptz) / unit.seconds) - floor(ceil(extract(epoch from warm.last - :'now'::timestamptz) / unit.seconds) / unit.ticks) * unit.ticks)::integer, :'parts'::integer []) - 1 as last_day,
        floor(ceil(extract(epoch from warm.used - :'now'::timestamptz) / unit.seconds) / unit.ticks)::integer * unit.parts + width_bucket((ceil(extract(epoch from warm.used - :'now'::timestamptz) / unit.seconds) - floor(ceil(extract(epoch from warm.used - :'now'::timestamptz) / unit.seconds) / unit.ticks) * unit.ticks)::integer, :'parts'::integer []) - 1 as used,
        coalesce(floor(ceil(extract(epoch from d.restricted_until - :'now'::timestamptz) / unit.seconds) / unit.ticks)::integer * unit.parts + width_bucket((ceil(extract(epoch from d.restricted_until - :'now'::timestamptz) / unit.seconds) - floor(ceil(extract(epoch from d.restricted_until - :'now'::timestamptz) / unit.seconds) / unit.ticks) * unit.ticks)::integer, :'parts'::integer []) - 1, 0) as restricted,
        case when last.reason is null then held.until end as opens,
        case
            when last.reason is null then held.until
            when last.reason not in ('paused', 'device_away') then greatest(held.until, floor(ceil(extract(epoch from d.away_until - :'now'::timestamptz) / unit.seconds) / unit.ticks)::integer * unit.parts + width_bucket((ceil(extract(epoch from d.away_until - :'now'::timestamptz) / unit.seconds) - floor(ceil(extract(epoch from d.away_until - :'now'::timestamptz) / unit.seconds) / unit.ticks) * unit.ticks)::integer, :'parts'::integer []) - 1)
        end as leaves
    from unnest(
        :'devices'::uuid [], :'device_users'::uuid [], :'device_reasons'::text [], :'device_rooms'::integer [],
        :'most_in_flight'::integer [], :'most_in_hour'::integer [], :'most_in_day'::integer [], :'flying_by'::text [],
        :'hour_by'::text [], :'day_by'::text [], :'most_new'::integer [], :'new_by'::text [],
        :'restricted_until'::timestamptz [], :'away_until'::timestamptz [], :'device_pause_ends'::text []
    ) with ordinality as d (
        id, user_id, reason, room, most_flying, most_an_hour, most_a_day, flying_by, hour_by, day_by, most_new, new_by,
        restricted_until, away_until, pause_ends, place
    )
    cross join unit
    left join unnest(:'later_devices'::uuid [], :'later_reasons'::text []) as later (id, reason) on d.id = later.id
    left join unnest(
        :'warm_devices'::uuid [], :'warm_firsts'::integer [], :'warm_mores'::integer [], :'warm_tops'::integer [],
        :'warm_by'::text [], :'warm_days'::integer [], :'warm_lasts'::timestamptz [], :'warm_useds'::timestamptz []
    ) as warm (id, first, more, top, named, days, last, used) on d.id = warm.id
    cross join lateral (
        -- Whether it is full is a matter of time.
        select nullif(case when later.id is null then d.reason else later.reason end, 'device_full') as reason
    ) as last
    cross join lateral (
        select coalesce(floor(ceil(extract(epoch from d.pause_ends::timestamptz - :'now'::timestamptz) / unit.seconds) / unit.ticks)::integer * unit.parts + width_bucket((ceil(extract(epoch from d.pause_ends::timestamptz - :'now'::timestamptz) / unit.seconds) - floor(ceil(extract(epoch from d.pause_ends::timestamptz - :'now'::timestamptz) / unit.seconds) / unit.ticks) * unit.ticks)::integer, :'parts'::integer []) - 1, 0) as until
    ) as held
    where :'users'::uuid [] = '{}' or d.user_id = any(:'users'::uuid [])
),

device as materialized (
    select
        d.id, d.user_id, d.reason, d.flying_by, d.hour_by, d.day_by, d.new_by, d.warm_by, d.is_open, d.is_limited,
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
        case when d.is_limited then
            coalesce(nullif(nullif(:'new_chats_instead', ''), 'none')::integer, d.most_new)::bigint
            * case :'doubled'::text when 'new_chats_per_day' then 2 else 1 end
        end as most_new,
        case when d.is_limited then d.first::bigint * case :'doubled'::text when 'warm_up' then 2 else 1 end end as first,
        d.more::bigint * case :'doubled'::text when 'warm_up' then 2 else 1 end as more,
        d.days, d.last_day, d.used, d.restricted, d.opens, d.leaves, d.place
    from (
        select
            l.id, l.user_id, l.reason, l.flying_by, l.hour_by, l.day_by, l.new_by, l.warm_by, l.is_open, l.is_limited,
            l.most_flying, l.most_an_hour, l.most_a_day,
            case when :'new_chats_instead'::text <> 'none' then l.most_new end as most_new,
            l.first, l.more, l.days, l.last_day, l.used, l.restricted, l.opens, l.leaves, l.place
        from listed as l
        union all
        -- One more, as the user's others are, but new.
        select
            null, listed.user_id, null, null, null, null, null, max(listed.warm_by), true, bool_or(listed.is_limited),
            max(listed.most_flying), max(listed.most_an_hour), max(listed.most_a_day),
            case when :'new_chats_instead'::text <> 'none' then max(listed.most_new) end,
            max(listed.first), max(listed.more), 0, null, null, 0, 0, 0,
            max(max(listed.place)) over () + row_number() over (order by listed.user_id)
        from listed
        where :'one_more'::boolean
        group by listed.user_id
    ) as d
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
        greatest(1, least(100000, ceil(step.next_hours)))::integer * unit.parts as parts
    from step
    inner join step as next_step on step.next_id = next_step.id
    cross join unit
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
        jsonb_object_agg(step.place, floor(ceil(extract(epoch from sc.next_trigger_time - :'now'::timestamptz) / unit.seconds) / unit.ticks)::integer * unit.parts + width_bucket((ceil(extract(epoch from sc.next_trigger_time - :'now'::timestamptz) / unit.seconds) - floor(ceil(extract(epoch from sc.next_trigger_time - :'now'::timestamptz) / unit.seconds) / unit.ticks) * unit.ticks)::integer, :'parts'::integer []) - 1) as not_before
    from sequence_contacts as sc
    cross join unit
    inner join step on sc.sequence_stepid = step.id and sc.sequence_id = step.sequence_id
    where
        sc.status = any(:'waiting'::text [])
        and sc.next_trigger_time > :'now'::timestamptz
        and sc.next_trigger_time < :'now'::timestamptz + interval '1000 days'
    group by sc.sequence_id, sc.contact_phone
),

-- Devices that may open only so many chats, and of the people due on these, the first row of each that a device has
-- never written to.
choosy as materialized (
    select device.*
    from device
    where device.is_limited and (device.most_new is not null or device.restricted > 0)
),

stranger as materialized (
    select distinct on (own.device_id, own.contact_phone) own.id
    from (
        select sc.id, sc.contact_phone, sc.next_trigger_time, coalesce(sc.assigned_device_id, l.device_id) as device_id
        from sequence_contacts as sc
        inner join sequence as s on sc.sequence_id = s.sequence_id
        left join lateral (
            select leads.device_id
            from leads
            where leads.user_id = s.user_id and leads.phone = sc.contact_phone
            limit 1
        ) as l on true
        where
            (select count(*) from choosy) > 0
            and sc.status = 'active'
            and sc.next_trigger_time < :'now'::timestamptz + :'hours'::integer * interval '1 hour'
    ) as own
    where
        own.device_id in (select choosy.id from choosy)
        and (
            -- known
            select true
            from broadcast_messages as m
            where
                m.recipient_phone = own.contact_phone
                and m.device_id = own.device_id
                and (m.sent_at is not null or m.status in ('pending', 'queued', 'processing'))
                and m.status <> 'failed'
                and m.status <> all(:'failed'::text [])
            limit 1
        ) is null
    order by own.device_id, own.contact_phone, own.next_trigger_time, own.id
),

counted as materialized (
    select
        coalesce(sc.assigned_device_id, l.device_id) as device_id, sc.sequence_id, sc.sequence_stepid,
        floor(tick.n / unit.ticks)::integer * unit.parts + width_bucket((tick.n - floor(tick.n / unit.ticks) * unit.ticks)::integer, :'parts'::integer []) - 1 as due,
        sc.next_trigger_time < :'oldest'::timestamptz as is_late,
        coalesce(sc.contact_phone ~ '\S', false) as has_phone,
        sc.processing_started_at is null and sc.processing_device_id is not null and sc.completed_at is null as is_claimed,
        not :'without_lead'::boolean and l.user_id is null as is_leadless, ahead.not_before,
        coalesce(
            case when s.is_recipients then (
                -- The longest prefix of the phone that there is tells: gates/windows.sql.
                select of.zones
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
                cross join generate_series(9, 1, -1) as first (size)
                inner join prefix as of on left(person.digits, first.size) = of.digits
                order by first.size desc
                limit 1
            ) end, ''
        ) as zones,
        sc.id in (select stranger.id from stranger) as is_new,
        count(*) as contacts
    from sequence_contacts as sc
    cross join unit
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
    cross join lateral (
        select ceil(extract(epoch from came.due - :'now'::timestamptz) / unit.seconds) as n
    ) as tick
    where
        sc.status = 'active'
        and sc.next_trigger_time < :'now'::timestamptz + :'hours'::integer * interval '1 hour'
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
    union all
    select
        share.device_id, e.sequence_id, e.id, 0, false, true, false, false, null, '',
        share.device_id in (select choosy.id from choosy),
        (
            round(e.people * share.up_to / share.total) - round(e.people * (share.up_to - share.weight) / share.total)
        )::bigint
    from entered as e
    inner join share on e.place = share.place
),

-- Users as numbers: with a minus, they stand for people who have no device.
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

judged as materialized (
    select
        c.device_id, c.user_id, c.due, c.not_before, c.zones, c.is_new, c.contacts, c.place as step, told.reason,
        account.place as account, gone.leaves,
        case when gone.leaves and told.reason in ('no_device', 'device_missing') then -account.place else device.place end as device
    from (
        select
            counted.*, s.user_id, step.place,
            case when step.id is null then s.reason else step.reason end as reason
        from counted
        inner join sequence as s on counted.sequence_id = s.sequence_id
        left join step on counted.sequence_stepid = step.id and counted.sequence_id = step.sequence_id
    ) as c
    inner join account on c.user_id = account.user_id
    left join device on c.device_id = device.id
    cross join lateral (
        select
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
    ) as told
    cross join lateral (
        -- Another device of the user takes them.
        select
            account.moves and not c.is_leadless and coalesce(
                told.reason in ('no_device', 'device_missing')
                or told.reason = device.reason and device.leaves is not null, false
            ) as leaves
    ) as gone
    where c.contacts > 0
),

-- Contacts that ticks send, and the device that they are on, or their user's number with a minus.
going as materialized (
    select j.account, j.device, j.step, j.due, j.not_before, j.zones, j.is_new, sum(j.contacts)::bigint as contacts
    from judged as j
    cross join unit
    where j.due < unit.all_parts and (j.reason is null or j.leaves)
    group by 1, 2, 3, 4, 5, 6, 7
),

-- What becomes due, and goes, if nobody has to wait for a limit. Who goes in no part is too late, or shut out until the end.
flow (account, device, step, due, goes, is_late, not_before, zones, is_new, contacts) as (
    select
        g.account, g.device, g.step, g.due, case when not lateness.is_late then opening.goes end, lateness.is_late,
        g.not_before, g.zones, g.is_new, g.contacts
    from going as g
    cross join unit
    inner join step on g.step = step.place
    left join device on g.device = device.place
    left join calendar on step.win = calendar.id and g.zones = calendar.zones
    cross join lateral (
        select greatest(0, g.due, step.begins, coalesce(device.opens, device.leaves)) as at
    ) as ready
    cross join lateral (
        select
            case when step.win is not null then calendar.opens[ready.at + 1] when ready.at < unit.all_parts then ready.at end as goes
    ) as opening
    cross join lateral (
        select
            :'max_lateness'::interval > interval '0'
            and coalesce((opening.goes - g.due) * interval '1 hour' / unit.parts > :'max_lateness'::interval, false) as is_late
    ) as lateness
    union all
    select
        flow.account, flow.device, follows.next_place, came.due, case when not lateness.is_late then opening.goes end,
        lateness.is_late, flow.not_before, flow.zones, false, flow.contacts
    from flow
    inner join follows on flow.step = follows.place
    inner join step on follows.next_place = step.place
    cross join unit
    left join device on flow.device = device.place
    left join calendar on step.win = calendar.id and flow.zones = calendar.zones
    cross join lateral (
        select greatest(flow.goes + follows.parts, (flow.not_before ->> follows.next_place::text)::integer) as due
    ) as came
    cross join lateral (
        select greatest(came.due, step.begins, coalesce(device.opens, device.leaves)) as at
    ) as ready
    cross join lateral (
        select
            case when step.win is not null then calendar.opens[ready.at + 1] when ready.at < unit.all_parts then ready.at end as goes
    ) as opening
    cross join lateral (
        select
            :'max_lateness'::interval > interval '0'
            and coalesce((opening.goes - came.due) * interval '1 hour' / unit.parts > :'max_lateness'::interval, false) as is_late
    ) as lateness
    where flow.goes is not null and came.due < unit.all_parts
),

free as materialized (
    select
        flow.account, flow.device, flow.goes as part, sum(flow.contacts) as contacts,
        coalesce(sum(flow.contacts) filter (where flow.is_new), 0) as new_chats
    from flow
    inner join step on flow.step = step.place
    where step.reason is null and flow.goes is not null
    group by 1, 2, 3
),

-- Messages of each device that were sent in the last 24 hours, or wait in its queue, by the part: as in
-- gates/devices.sql, which counts them.
message as materialized (
    select
        device.place as device, floor(ceil(extract(epoch from m.at - :'now'::timestamptz) / unit.seconds) / unit.ticks)::integer * unit.parts + width_bucket((ceil(extract(epoch from m.at - :'now'::timestamptz) / unit.seconds) - floor(ceil(extract(epoch from m.at - :'now'::timestamptz) / unit.seconds) / unit.ticks) * unit.ticks)::integer, :'parts'::integer []) - 1 as part,
        count(*) as messages, count(*) filter (where m.is_queued) as queued
    from device
    cross join unit
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

-- People whom these have opened, or will open: as in gates/ramps.sql, which counts them.
opened as materialized (
    select first.device, floor(ceil(extract(epoch from first.at - :'now'::timestamptz) / unit.seconds) / unit.ticks)::integer * unit.parts + width_bucket((ceil(extract(epoch from first.at - :'now'::timestamptz) / unit.seconds) - floor(ceil(extract(epoch from first.at - :'now'::timestamptz) / unit.seconds) / unit.ticks) * unit.ticks)::integer, :'parts'::integer []) - 1 as part, count(*) as new_chats
    from (
        select choosy.place as device, m.recipient_phone, min(m.at) as at
        from choosy
        cross join lateral (
            select
                m.recipient_phone,
                case
                    when
                        m.scheduled_at is null
                        or m.scheduled_at <= :'now'::timestamptz
                        or m.scheduled_at <= m.created_at
                        then :'now'::timestamptz
                    else m.scheduled_at::timestamptz
                end as at
            from broadcast_messages as m
            where
                m.device_id = choosy.id
                and m.status in ('pending', 'queued', 'processing')
                and (
                    m.scheduled_at is null
                    or m.scheduled_at < :'now'::timestamptz + (:'hours'::integer + 24) * interval '1 hour'
                    or m.scheduled_at <= m.created_at
                )
            union all
            select m.recipient_phone, least(m.sent_at::timestamptz, :'now'::timestamptz)
            from broadcast_messages as m
            where
                m.device_id = choosy.id
                and m.sent_at > :'now'::timestamptz - interval '24 hours'
                and m.status not in ('pending', 'queued', 'processing', 'failed')
                and m.status <> all(:'failed'::text [])
        ) as m
        where
            not exists (
                select 1
                from broadcast_messages as before
                where
                    before.recipient_phone = m.recipient_phone
                    and before.device_id = choosy.id
                    and before.sent_at <= :'now'::timestamptz - interval '24 hours'
                    and before.status not in ('pending', 'queued', 'processing', 'failed')
                    and before.status <> all(:'failed'::text [])
            )
        group by choosy.place, m.recipient_phone
    ) as first
    cross join unit
    group by 1, 2
),

-- What is queued for later counts a day before.
reserved as materialized (
    select opened.device, earlier.part, sum(opened.new_chats) as new_chats
    from opened
    cross join unit
    cross join lateral generate_series(greatest(0, opened.part - 24 * unit.parts), opened.part) as earlier (part)
    where opened.part >= 0
    group by 1, 2
),

-- By the part, and in the hour and the 24 hours up to its end: parts are at least a minute, a sixtieth, apart.
demand as materialized (
    select
        every_kind.device, every_kind.part, sum(every_kind.contacts) as contacts, sum(every_kind.messages) as messages,
        sum(sum(every_kind.messages)) over (
            partition by every_kind.device order by every_kind.part::numeric / unit.parts
            range between 0.99 preceding and current row
        ) as an_hour,
        sum(sum(every_kind.messages)) over (
            partition by every_kind.device order by every_kind.part::numeric / unit.parts
            range between 23.99 preceding and current row
        ) as a_day,
        -- A day before as well: what is queued counts before it goes.
        sum(sum(every_kind.new_chats)) over (
            partition by every_kind.device order by every_kind.part::numeric / unit.parts
            range between 23.99 preceding and 24.01 following
        ) as new_chats,
        sum(every_kind.strangers) as strangers
    from (
        select
            free.device, free.part, free.contacts, free.contacts as messages, free.new_chats, free.new_chats as strangers
        from free
        where free.device > 0
        union all
        select message.device, message.part, 0, message.messages, 0, 0
        from message
        union all
        select opened.device, opened.part, 0, 0, opened.new_chats, 0
        from opened
    ) as every_kind
    cross join unit
    group by every_kind.device, every_kind.part, unit.parts
),

pressed as materialized (
    select distinct
        account.place as account, device.place as device
    from demand
    cross join unit
    inner join device on demand.device = device.place
    inner join account on device.user_id = account.user_id
    inner join part on demand.part - floor(demand.part::numeric / unit.parts) * unit.parts = part.number
    where
        device.is_limited
        and (
            demand.contacts > 0
            and (
                demand.messages > device.most_flying * part.ticks
                or device.first + device.more * device.days < device.most_a_day
                or demand.an_hour > device.most_an_hour
                or demand.a_day > least(device.most_a_day, device.first)
            )
            or demand.strangers > 0 and (demand.new_chats > device.most_new or device.restricted > 0)
        )
    union
    select distinct
        g.account, g.device
    from going as g
    left join device on g.device = device.place
    where g.device < 0 or not device.is_open
),

-- The devices that go through every part, with what each may send: in a tick, an hour, a day. Those that are closed only
-- stand for their people.
busy as materialized (
    select
        account.place as account, device.place as device, device.opens, device.leaves,
        case when device.is_limited then device.most_flying end as most_flying,
        case when device.is_limited then device.most_an_hour end as most_an_hour,
        case when device.is_limited then device.most_a_day end as most_a_day,
        device.first, device.more, device.days, device.last_day, device.used, device.most_new, device.restricted
    from device
    inner join account on device.user_id = account.user_id
    where
        case
            when device.is_open and account.moves then account.place in (select pressed.account from pressed)
            else device.place in (select pressed.device from pressed)
        end
    union all
    select pressed.account, pressed.device, null, 0, 0, 0, 0, null, null, 0, null, null, null, 0
    from pressed
    where pressed.device < 0
),

-- Who becomes due, for the part in which they do; who goes in none until the end waits in none.
coming as materialized (
    select
        g.device, greatest(0, g.due) as part, g.step, g.due, opening.goes, g.not_before, g.zones, g.is_new, g.contacts
    from going as g
    cross join unit
    inner join step on g.step = step.place
    left join device on g.device = device.place
    left join calendar on step.win = calendar.id and g.zones = calendar.zones
    cross join lateral (
        select greatest(0, g.due, step.begins, coalesce(device.opens, device.leaves)) as at
    ) as ready
    cross join lateral (
        select case when step.win is not null then calendar.opens[ready.at + 1] else ready.at end as goes
    ) as opening
    where g.device in (select busy.device from busy)
),

-- A part after the other. Kinds of rows: a device and its messages of the last 24 hours but one part; contacts in the
-- order in which they became due; and of each part what became of it, which nothing goes on from.
hourly (
    part, kind, account, device, step, due, goes, not_before, zones, is_new, contacts, was_held, moved, waiting, shut,
    held_by, room, recent, recent_new, days, last_day, used
) as (
    select
        -1, 'device', busy.account, busy.device, null::bigint, null::integer, null::integer, null::jsonb, null::text,
        null::boolean, null::bigint, null::boolean, null::bigint, null::bigint, null::bigint, null::text, null::bigint,
        array(
            select coalesce(m.messages, 0)::integer
            from generate_series(1 - 24 * unit.parts, -1) as past (part)
            left join message as m on busy.device = m.device and past.part = m.part
            order by past.part
        ),
        case when busy.most_new is not null then array(
            select coalesce(c.new_chats, 0)::integer
            from generate_series(1 - 24 * unit.parts, -1) as past (part)
            left join opened as c on busy.device = c.device and past.part = c.part
            order by past.part
        ) end,
        busy.days, busy.last_day, busy.used
    from busy
    cross join unit
    union all
    (
        with state as materialized (
            select h.*
            from hourly as h
            cross join unit
            where h.part < unit.all_parts - 1 and h.kind <> 'hour'
        ),

        -- What the limits leave: in the part, an hour, a day, and of new chats; null: they ask for none.
        room as materialized (
            select
                r.account, r.device, r.part, r.recent, r.recent_new, r.days, r.last_day, r.used, r.planned,
                r.is_open, r.leaves, r.warm, r.most_a_day, c.new_chats as planned_new,
                r.flying, r.an_hour, least(r.most_a_day, r.warm) - r.spent as a_day,
                case
                    when r.restricted > r.part then 0
                    -- Of null and 0 the greater would be 0.
                    when r.new_chats is not null then greatest(0, r.new_chats - coalesce(v.new_chats, 0))
                end as new_chats,
                r.restricted > r.part as is_restricted,
                case when not r.is_open then 0
                    else greatest(0, least(r.flying, r.an_hour, least(r.most_a_day, r.warm) - r.spent)) end as room
            from (
                select
                    s.account, s.device, s.part + 1 as part, s.recent, s.recent_new, s.days, s.last_day, s.used,
                    coalesce(m.messages, 0) as planned, busy.restricted, busy.most_a_day,
                    coalesce(s.part + 1 >= busy.opens, false) as is_open,
                    coalesce(s.part + 1 >= busy.leaves, false) as leaves,
                    busy.most_flying * part.ticks - coalesce(m.messages, 0) as flying,
                    busy.most_an_hour - coalesce(m.messages, 0)
                    - coalesce((select sum(n) from unnest(s.recent[23 * unit.parts + 1 :]) as n), 0) as an_hour,
                    coalesce(m.messages, 0) + (select sum(n) from unnest(s.recent) as n) as spent,
                    -- Who has been silent for a week begins anew; a day that has just begun does not count yet.
                    busy.first + busy.more * case
                        when s.used > s.part + 1 - 168 * unit.parts
                            then s.days - case when s.last_day > s.part + 1 - 24 * unit.parts then 1 else 0 end
                        else 0
                    end as warm,
                    busy.most_new - (select sum(n) from unnest(s.recent_new) as n) as new_chats
                from state as s
                cross join unit
                inner join part on (s.part + 1) % unit.parts = part.number
                inner join busy on s.device = busy.device
                left join message as m on s.device = m.device and s.part + 1 = m.part
                where s.kind = 'device'
            ) as r
            left join reserved as v on r.device = v.device and r.part = v.part
            left join opened as c on r.device = c.device and r.part = c.part
        ),

        open_to as materialized (
            select s.account, s.device, s.step, s.due, s.goes, s.not_before, s.zones, s.is_new, s.contacts, s.was_held, s.part + 1 as part
            from state as s
            where s.kind = 'contacts'
            union all
            select r.account, r.device, c.step, c.due, c.goes, c.not_before, c.zones, c.is_new, c.contacts, false, r.part
            from room as r
            inner join coming as c on r.device = c.device and r.part = c.part
        ),

        due as materialized (
            select
                o.*, room.room, room.new_chats, room.leaves,
                case when o.is_new and room.new_chats is not null then
                    sum(o.contacts) filter (where o.is_new) over (
                        partition by o.device order by o.due, o.step, o.zones, o.not_before rows unbounded preceding
                    ) - o.contacts
                end as new_ahead
            from open_to as o
            cross join unit
            inner join room on o.device = room.device
            where
                o.goes <= o.part
                and (
                    :'max_lateness'::interval = interval '0'
                    or (o.part - o.due) * interval '1 hour' / unit.parts <= :'max_lateness'::interval
                )
        ),

        -- New chats beyond their limit are passed over, whoever comes after them. A room without end is null.
        allowed as materialized (
            select
                d.*, sum(d.may_go) over (
                    partition by d.device order by d.due, d.step, d.zones, d.not_before, d.is_new rows unbounded preceding
                ) - d.may_go as ahead
            from (
                select
                    due.*, case when due.is_new and due.new_chats is not null
                        then least(due.contacts, greatest(0, due.new_chats - due.new_ahead)) else due.contacts end as may_go
                from due
            ) as d
        ),

        own as materialized (
            select
                allowed.*, row_number() over () as place,
                least(allowed.may_go, greatest(0, allowed.room - allowed.ahead)) as gone
            from allowed
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
            where own.gone < own.contacts and own.leaves and :'moves'::boolean
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
                    -- Whoever comes is a new chat there.
                    least(
                        room.room - coalesce(sum(own.gone), 0),
                        room.new_chats - coalesce(sum(own.may_go) filter (where own.is_new), 0)
                    ) as places
                from room
                left join own on room.device = own.device
                where room.account in (select rest.account from rest)
                group by room.account, room.device, room.room, room.new_chats
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
                rest.place, rest.account, rest.device, rest.step, rest.part, rest.not_before, rest.zones, rest.is_new,
                filled.device as onto,
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
                own.account, own.device, own.step, own.due, own.part, own.not_before, own.zones, own.is_new, own.leaves,
                own.contacts - own.gone - coalesce(away.contacts, 0) as contacts,
                own.contacts - own.may_go as barred
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
                coalesce(sum(gone.contacts) filter (where gone.is_moved), 0)::bigint as moved,
                coalesce(sum(gone.contacts) filter (where gone.is_moved or gone.is_new), 0)::bigint as new_chats
            from room
            left join (
                select own.device, own.gone as contacts, false as is_moved, own.is_new
                from own
                union all
                select elsewhere.onto, elsewhere.contacts, true, true
                from elsewhere
            ) as gone on room.device = gone.device
            group by room.device
        ),

        behind as materialized (
            select
                held.device, sum(held.contacts) filter (where held.is_held)::bigint as waiting,
                sum(held.contacts) filter (where not held.is_held)::bigint as shut,
                sum(held.barred)::bigint as barred, sum(held.present)::bigint as present
            from (
                select l.device, l.contacts, true as is_held, least(l.contacts, l.barred) as barred, l.contacts as present
                from left_over as l
                union all
                select o.device, o.contacts, o.was_held, 0, 0
                from open_to as o
                where o.due <= o.part and coalesce(o.goes > o.part, true)
            ) as held
            group by held.device
        )

        select
            room.part, 'device' as kind, room.account, room.device, null::bigint as step, null::integer as due,
            null::integer as goes, null::jsonb as not_before, null::text as zones, null::boolean as is_new,
            null::bigint as contacts, null::boolean as was_held, null::bigint as moved, null::bigint as waiting,
            null::bigint as shut, null::text as held_by, null::bigint as room,
            room.recent[2 :] || (sent.contacts + room.planned)::integer as recent,
            room.recent_new[2 :] || (sent.new_chats + coalesce(room.planned_new, 0))::integer as recent_new,
            case when sent.contacts + room.planned > 0 then began.days else room.days end as days,
            case when sent.contacts + room.planned > 0 then began.last_day else room.last_day end as last_day,
            case when sent.contacts + room.planned > 0 then room.part else room.used end as used
        from room
        cross join unit
        inner join sent on room.device = sent.device
        cross join lateral (
            select
                case
                    when coalesce(room.used <= room.part - 168 * unit.parts, true) then 1
                    when room.last_day > room.part - 24 * unit.parts then room.days
                    else room.days + 1
                end as days,
                case
                    when room.used > room.part - 168 * unit.parts and room.last_day > room.part - 24 * unit.parts
                        then room.last_day
                    else room.part
                end as last_day
        ) as began
        union all
        select
            room.part, 'hour', room.account, room.device, null, null, null, null, null, null, sent.contacts, null, sent.moved,
            coalesce(behind.waiting, 0), coalesce(behind.shut, 0),
            case
                when not room.is_open or coalesce(behind.present, 0) = 0 then null
                when behind.barred = behind.present then case when room.is_restricted then 'device_restricted' else 'new_chats_per_day' end
                when least(room.an_hour, room.flying) >= room.a_day
                    then case when room.warm < room.most_a_day then 'warm_up' else 'max_per_day' end
                when room.flying >= room.an_hour then 'max_per_hour'
                else 'max_in_flight'
            end,
            room.warm, null, null, null, null, null
        from room
        cross join unit
        inner join sent on room.device = sent.device
        left join behind on room.device = behind.device
        where
            sent.contacts > 0
            or behind.waiting > 0
            or (behind.shut > 0 or room.warm < room.most_a_day) and room.part % (24 * unit.parts) = 24 * unit.parts - 1
        union all
        select
            l.part, 'contacts', l.account, l.device, l.step, l.due,
            case when step.win is not null then calendar.opens[l.part + 2] else l.part + 1 end,
            l.not_before, l.zones, l.is_new, l.contacts::bigint, true, null, null, null, null, null, null, null, null, null, null
        from left_over as l
        inner join step on l.step = step.place
        left join calendar on step.win = calendar.id and l.zones = calendar.zones
        where l.contacts > 0
        union all
        select
            o.part, 'contacts', o.account, o.device, o.step, o.due, o.goes, o.not_before, o.zones, o.is_new, o.contacts,
            o.was_held, null, null, null, null, null, null, null, null, null, null
        from open_to as o
        where coalesce(o.goes > o.part, true)
        union all
        select
            n.part, 'contacts', n.account, n.device, n.step, n.due,
            case when step.win is not null then calendar.opens[ready.at + 1] else ready.at end,
            n.not_before, n.zones, n.is_new, n.contacts, false, null, null, null, null, null, null, null, null, null, null
        from (
            select
                gone.part, gone.account, gone.device, follows.next_place as step,
                greatest(gone.part + follows.parts, (gone.not_before ->> follows.next_place::text)::integer) as due,
                gone.not_before, gone.zones, gone.is_new, sum(gone.contacts)::bigint as contacts
            from (
                select own.account, own.device, own.step, own.part, own.not_before, own.zones, false as is_new, own.gone as contacts
                from own
                where own.gone > 0
                union all
                select
                    e.account,
                    case when :'reassigns'::boolean then e.onto else e.device end,
                    e.step, e.part, e.not_before, e.zones, e.is_new and not :'reassigns'::boolean, e.contacts
                from elsewhere as e
            ) as gone
            inner join follows on gone.step = follows.place
            group by 1, 2, 3, 4, 5, 6, 7, 8
        ) as n
        inner join step on n.step = step.place
        inner join busy on n.device = busy.device
        left join calendar on step.win = calendar.id and n.zones = calendar.zones
        cross join unit
        cross join lateral (
            select greatest(n.due, step.begins, coalesce(busy.opens, busy.leaves)) as at
        ) as ready
        where step.reason is null and n.due < unit.all_parts
    )
),

-- Who waits at the end of a day for a window, or a pause, where no limit holds anybody.
shut as materialized (
    select flow.account, flow.device, day.number as day, sum(flow.contacts) as contacts
    from flow
    cross join unit
    inner join step on flow.step = step.place
    cross join lateral generate_series(
        greatest(0, flow.due) / (24 * unit.parts), coalesce(flow.goes, unit.all_parts) / (24 * unit.parts) - 1
    ) as day (number)
    where step.reason is null and not flow.is_late and flow.device not in (select busy.device from busy)
    group by 1, 2, 3
),

outcome as materialized (
    select
        free.device, free.account, free.part, free.contacts, 0 as moved, 0 as waiting, 0 as shut, null as held_by,
        null::bigint as room
    from free
    where free.device not in (select busy.device from busy)
    union all
    select shut.device, shut.account, (shut.day + 1) * 24 * unit.parts - 1, 0, 0, 0, shut.contacts, null, null
    from shut
    cross join unit
    union all
    select h.device, h.account, h.part, h.contacts, h.moved, h.waiting, h.shut, h.held_by, h.room
    from hourly as h
    where h.kind = 'hour'
    union all
    select message.device, account.place, message.part, 0, 0, 0, 0, null, null
    from message
    cross join unit
    inner join device on message.device = device.place
    inner join account on device.user_id = account.user_id
    where message.part >= 0 and message.part < unit.all_parts and message.queued > 0
),

-- Ticks of each day in which some step of the user's may be sent.
open_ticks as materialized (
    select account.place as account, every_part.number / (24 * unit.parts) as day, sum(part.ticks) as ticks
    from account
    cross join unit
    cross join lateral generate_series(0, unit.all_parts - 1) as every_part (number)
    inner join part on every_part.number % unit.parts = part.number
    where
        exists (
            select 1
            from step
            left join calendar on step.win = calendar.id
            where
                step.user_id = account.user_id
                and step.id is not null
                and step.reason is null
                and (step.win is null or calendar.opens[every_part.number + 1] = every_part.number)
        )
        and (select count(*) from calendar) > 0
    group by 1, 2
)

select
    account.user_id, device.id as device_id, d.device_name::text as device_name, null::text as reason,
    null::integer as contacts, by_day.day, by_day.sends::integer as sends, by_day.moved::integer as moved,
    coalesce(queue.messages, 0)::integer as queued,
    case
        when device.is_limited and device.is_open then least(
            device.most_flying * open.ticks, ceil(device.most_an_hour * open.ticks / unit.ticks),
            device.most_a_day, by_day.room
        )::integer
        when not device.is_open then 0
    end as room,
    by_day.waiting::integer as waiting, by_day.shut::integer as shut, by_day.held_until,
    coalesce(
        case by_day.held_by
            when 'max_in_flight' then device.flying_by
            when 'max_per_hour' then device.hour_by
            when 'max_per_day' then case when device.first is null then device.day_by else 'max_per_day' end
            when 'new_chats_per_day' then device.new_by
            when 'warm_up' then device.warm_by
            when 'device_restricted' then 'device_restricted'
        end,
        by_day.held_by || ' for all'
    ) as held_by
from (
    select
        o.account, o.device, o.part / (24 * u.parts) + 1 as day, sum(o.contacts) as sends, sum(o.moved) as moved,
        coalesce(sum(o.waiting) filter (where o.part % (24 * u.parts) = 24 * u.parts - 1), 0) as waiting,
        coalesce(sum(o.shut) filter (where o.part % (24 * u.parts) = 24 * u.parts - 1), 0) as shut,
        max(o.part) filter (where o.waiting > 0) / u.parts + 1 as held_until,
        mode() within group (order by o.held_by) as held_by, max(o.room) as room
    from outcome as o
    cross join unit as u
    group by o.account, o.device, o.part / (24 * u.parts), u.parts
) as by_day
cross join unit
inner join account on by_day.account = account.place and account.user_id in (select s.user_id from sequence as s)
left join device on by_day.device = device.place
left join user_devices as d on device.id = d.id
left join open_ticks on account.place = open_ticks.account and by_day.day = open_ticks.day + 1
cross join lateral (
    select coalesce(open_ticks.ticks, case when (select count(*) from calendar) > 0 then 0 else 24 * unit.ticks end) as ticks
) as open
left join (
    select message.device, message.part / (24 * u.parts) + 1 as day, sum(message.queued) as messages
    from message
    cross join unit as u
    where message.part >= 0
    group by 1, 2
) as queue on by_day.device = queue.device and by_day.day = queue.day
union all
select
    j.user_id, j.device_id, d.device_name::text, j.reason, sum(j.contacts)::integer, null, null, null, null, null,
    null, null, null, null
from judged as j
left join user_devices as d on j.device_id = d.id
where j.reason is not null and not j.leaves
group by 1, 2, 3, 4
order by device_name, device_id, day, reason;
