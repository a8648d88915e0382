-- Who cannot go on their own device, and which available device of the same user takes them instead
--
-- For the policies fallback and reassign. What a device's own due contacts leave of its room is dealt out one
-- by one, to the least loaded device first; the oldest contacts come first. The same state gives the same
-- answer: a tick does what this says, and a dry run counts it.
--
-- Parameters:
--   now            timestamptz  the instant of the transaction
--   due_by         timestamptz  contacts are due that are due by then: the instant the run began
--   oldest         timestamptz  contacts that were due before are too late, and left out
--   devices        uuid[]       devices that may send, with all available devices of their users; empty: all
--   most           integer      contacts, at most
--   active         text[]       values of sequences.status that count as active
--   online         text[]       values of user_devices.status that count as online
--   claimed        interval     how long the claim of another processor is respected
--   max_in_flight  integer      messages of a device in flight
--   max_per_hour   integer      messages of a device sent in 60 minutes, plus those in flight
--   max_per_day    integer      messages of a device sent in 24 hours, plus those in flight
-- Row:
--   contact_id   uuid  the contact
--   device_id    uuid  the device that takes it
--   device_name  text  its name
--   preferred    uuid  its own device; null where there is none
--   reason       text  why that one does not: device_offline, device_full, device_missing, no_device
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?due_by} \else \set due_by 'now' \endif
\if :{?oldest} \else \set oldest '-infinity' \endif
\if :{?devices} \else \set devices '{}' \endif
\if :{?most} \else \set most '10000' \endif
\if :{?active} \else \set active '{active}' \endif
\if :{?online} \else \set online '{online}' \endif
\if :{?claimed} \else \set claimed '5 minutes' \endif
\if :{?max_in_flight} \else \set max_in_flight '50' \endif
\if :{?max_per_hour} \else \set max_per_hour '80' \endif
\if :{?max_per_day} \else \set max_per_day '800' \endif
with recursive step as materialized (
    select
        s.user_id,
        st.sequence_id,
        st.id
    from sequences as s
    inner join sequence_steps as st on s.id = st.sequence_id
    where
        s.is_active
        and s.status = any(:'active'::text [])
        and (st.content ~ '\S' or st.media_url ~ '\S')
),

device as materialized (
    select
        d.id,
        d.user_id,
        d.device_name::text as name,
        flying.messages as load,
        greatest(
            0,
            least(
                :'max_in_flight'::integer - flying.messages,
                :'max_per_hour'::integer - flying.messages - hour.messages,
                :'max_per_day'::integer - flying.messages - day.messages
            )
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
        (:'devices'::uuid [] = '{}' or d.id = any(:'devices'::uuid []))
        and d.status = any(:'online'::text [])
        and not exists (
            select 1
            from device_load_balance as b
            where b.device_id = d.id and not b.is_available
        )
),

-- Contacts without an assigned device are their lead's, if it has one.
unassigned as materialized (
    select
        sc.id,
        sc.next_trigger_time,
        s.user_id,
        l.device_id
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    left join leads as l on s.user_id = l.user_id and sc.contact_phone = l.phone
    where
        sc.assigned_device_id is null
        and sc.status = 'active'
        and sc.next_trigger_time <= :'due_by'::timestamptz
        and (:'oldest'::timestamptz = '-infinity' or sc.next_trigger_time >= :'oldest'::timestamptz)
        and (s.user_id in (select device.user_id from device)) is true
        and ((s.user_id, sc.sequence_id, sc.sequence_stepid) in (
            select
                step.user_id,
                step.sequence_id,
                step.id
            from step
        )) is true
        and sc.contact_phone ~ '\S'
        and (
            sc.processing_started_at is null
            or sc.processing_started_at <= :'due_by'::timestamptz - :'claimed'::interval
        )
),

-- Places that the own contacts of each device will take.
taken as materialized (
    select
        device.id,
        least(device.room, own.contacts + borrowed.contacts) as places
    from device
    cross join lateral (
        select count(*)::integer as contacts
        from (
            select 1
            from sequence_contacts as sc
            where
                sc.assigned_device_id = device.id
                and sc.status = 'active'
                and sc.next_trigger_time <= :'due_by'::timestamptz
                and (:'oldest'::timestamptz = '-infinity' or sc.next_trigger_time >= :'oldest'::timestamptz)
                and sc.contact_phone ~ '\S'
                and (
                    sc.processing_started_at is null
                    or sc.processing_started_at <= :'due_by'::timestamptz - :'claimed'::interval
                )
                and ((device.user_id, sc.sequence_id, sc.sequence_stepid) in (
                    select
                        step.user_id,
                        step.sequence_id,
                        step.id
                    from step
                )) is true
            limit device.room
        ) as sc
    ) as own
    cross join lateral (
        select count(*)::integer as contacts
        from unassigned as u
        where u.device_id = device.id and u.user_id = device.user_id
    ) as borrowed
),

slot as materialized (
    select
        device.user_id,
        device.id as device_id,
        device.name as device_name,
        row_number() over (
            partition by device.user_id order by device.load + taken.places + free.place, device.id
        ) as place
    from device
    inner join taken on device.id = taken.id
    cross join lateral generate_series(1, device.room - taken.places) as free (place)
),

spare as materialized (
    select
        slot.user_id,
        count(*)::integer as places
    from slot
    group by slot.user_id
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

-- Devices whose contacts may have to go elsewhere; the first "stays" of them go on their own device.
source as materialized (
    select
        d.id as device_id,
        d.user_id,
        spare.places,
        coalesce(device.room, 0) as stays,
        case when device.id is null then 'device_offline' else 'device_full' end as reason
    from user_devices as d
    inner join spare on d.user_id = spare.user_id
    left join device on d.id = device.id
    union all
    -- A device that is gone may have people of any user.
    select
        a.device_id,
        spare.user_id,
        spare.places,
        0 as stays,
        'device_missing' as reason
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
        source.reason,
        due.id,
        due.next_trigger_time
    from source
    cross join lateral (
        select
            ordered.id,
            ordered.next_trigger_time
        from (
            select
                both_kinds.id,
                both_kinds.next_trigger_time,
                row_number() over (order by both_kinds.next_trigger_time, both_kinds.id) as place
            from (
                (
                    select
                        sc.id,
                        sc.next_trigger_time
                    from sequence_contacts as sc
                    where
                        sc.assigned_device_id = source.device_id
                        and sc.status = 'active'
                        and sc.next_trigger_time <= :'due_by'::timestamptz
                        and (:'oldest'::timestamptz = '-infinity' or sc.next_trigger_time >= :'oldest'::timestamptz)
                        and sc.contact_phone ~ '\S'
                        and (
                            sc.processing_started_at is null
                            or sc.processing_started_at <= :'due_by'::timestamptz - :'claimed'::interval
                        )
                        and ((source.user_id, sc.sequence_id, sc.sequence_stepid) in (
                            select
                                step.user_id,
                                step.sequence_id,
                                step.id
                            from step
                        )) is true
                    order by sc.next_trigger_time
                    limit source.stays + source.places
                )
                union all
                select
                    u.id,
                    u.next_trigger_time
                from unassigned as u
                where u.device_id = source.device_id and u.user_id = source.user_id
            ) as both_kinds
        ) as ordered
        where ordered.place > source.stays
        order by ordered.place
        limit source.places
    ) as due
    union all
    select
        u.user_id,
        null as preferred,
        'no_device' as reason,
        u.id,
        u.next_trigger_time
    from unassigned as u
    where u.device_id is null
),

numbered as materialized (
    select
        pick.*,
        row_number() over (partition by pick.user_id order by pick.next_trigger_time, pick.id) as place
    from pick
)

select
    numbered.id as contact_id,
    slot.device_id,
    slot.device_name,
    numbered.preferred,
    numbered.reason
from numbered
inner join slot on numbered.user_id = slot.user_id and numbered.place = slot.place
order by numbered.next_trigger_time, numbered.id
limit :'most'::integer;
