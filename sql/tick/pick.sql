-- The contacts that a claim of locked devices would take now
--
-- Asked when the database has refused a claim: the claim is then made for a part of them at a time, until the
-- contact that is refused stands alone. The choice is that of claim.sql.
--
-- Parameters:
--   now            timestamptz  the instant of the transaction
--   due_by         timestamptz  contacts are due that are due by then: the instant the run began
--   oldest         timestamptz  contacts that were due before are too late, and left out
--   policy         text         device policy: queue, strict, fallback or reassign
--   devices        uuid[]       devices that this transaction has locked
--   take           integer      contacts for one device, at most
--   most           integer      contacts in all, at most
--   active         text[]       values of sequences.status that count as active
--   claimed        interval     how long the claim of another processor is respected
--   max_in_flight  integer      messages of a device in flight (not under queue)
--   max_per_hour   integer      messages of a device sent in 60 minutes, plus those in flight
--   max_per_day    integer      messages of a device sent in 24 hours, plus those in flight
-- Row:
--   contact_id  uuid  a contact
--   device_id   uuid  the device it is for
-- Locks: the contacts, but not those that somebody else has locked
\if :{?now} \else \set now 'now' \endif
\if :{?due_by} \else \set due_by 'now' \endif
\if :{?oldest} \else \set oldest '-infinity' \endif
\if :{?policy} \else \set policy 'queue' \endif
\if :{?devices} \else \set devices '{}' \endif
\if :{?take} \else \set take '100' \endif
\if :{?most} \else \set most '10000' \endif
\if :{?active} \else \set active '{active}' \endif
\if :{?claimed} \else \set claimed '5 minutes' \endif
\if :{?max_in_flight} \else \set max_in_flight '50' \endif
\if :{?max_per_hour} \else \set max_per_hour '80' \endif
\if :{?max_per_day} \else \set max_per_day '800' \endif
with step as materialized (
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
        greatest(
            0,
            case
                when :'policy'::text = 'queue' then :'take'::integer
                else least(
                    :'take'::integer,
                    :'max_in_flight'::integer - flying.messages,
                    :'max_per_hour'::integer - flying.messages - hour.messages,
                    :'max_per_day'::integer - flying.messages - day.messages
                )
            end
        ) as room
    from user_devices as d
    -- Counted no further than the limit, so that a long queue costs no more than a full one.
    cross join lateral (
        select count(*)::integer as messages
        from (
            select 1
            from broadcast_messages as m
            where
                :'policy'::text <> 'queue'
                and m.device_id = d.id
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
                :'policy'::text <> 'queue'
                and m.device_id = d.id
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
                :'policy'::text <> 'queue'
                and m.device_id = d.id
                and m.sent_at > :'now'::timestamptz - interval '24 hours'
                and m.status not in ('pending', 'queued', 'processing', 'failed')
            limit :'max_per_day'::integer
        ) as m
    ) as day
    where d.id = any(:'devices'::uuid [])
),

-- Contacts without an assigned device are their lead's: the oldest of each device, some to spare for those
-- that somebody else has locked.
unassigned as materialized (
    select
        l.device_id,
        (array_agg(sc.id order by sc.next_trigger_time))[1 : 2 * :'take'::integer] as contact_ids
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    -- One lookup by key for each, whatever the planner expects: user and phone are unique.
    cross join lateral (
        select leads.device_id
        from leads
        where leads.user_id = s.user_id and leads.phone = sc.contact_phone
        limit 1
    ) as l
    where
        sc.assigned_device_id is null
        and sc.status = 'active'
        and sc.next_trigger_time <= :'due_by'::timestamptz
        and (:'oldest'::timestamptz = '-infinity' or sc.next_trigger_time >= :'oldest'::timestamptz)
        and (s.user_id in (select device.user_id from device)) is true
        and l.device_id = any(:'devices'::uuid [])
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
    group by l.device_id
),

own as materialized (
    select
        due.*,
        device.id as device_id
    from device
    cross join lateral (
        select pick.*
        from (
            select own.*
            from (
                select
                    sc.id,
                    sc.next_trigger_time
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
                    -- "is true" keeps this a lookup in a hash, and the scan in the order of the index.
                    and ((device.user_id, sc.sequence_id, sc.sequence_stepid) in (
                        select
                            step.user_id,
                            step.sequence_id,
                            step.id
                        from step
                    )) is true
                order by sc.next_trigger_time
                limit device.room
                for update of sc skip locked
            ) as own
            union all
            select borrowed.*
            from (
                select held.*
                from unassigned as u
                cross join unnest(u.contact_ids) as contact (id)
                cross join lateral (
                    select
                        sc.id,
                        sc.next_trigger_time
                    from sequence_contacts as sc
                    where
                        sc.id = contact.id
                        -- Judged anew under the lock. "is true" keeps this out of the choice of the index.
                        and (
                            sc.assigned_device_id is null
                            and sc.status = 'active'
                            and sc.next_trigger_time <= :'due_by'::timestamptz
                            and (:'oldest'::timestamptz = '-infinity' or sc.next_trigger_time >= :'oldest'::timestamptz)
                            and sc.contact_phone ~ '\S'
                            and (
                                sc.processing_started_at is null
                                or sc.processing_started_at <= :'due_by'::timestamptz - :'claimed'::interval
                            )
                            and (device.user_id, sc.sequence_id, sc.sequence_stepid) in (
                                select
                                    step.user_id,
                                    step.sequence_id,
                                    step.id
                                from step
                            )
                        ) is true
                    limit 1
                    for update of sc skip locked
                ) as held
                where u.device_id = device.id
                limit device.room
            ) as borrowed
        ) as pick
        order by pick.next_trigger_time
        limit device.room
    ) as due
    limit :'most'::integer
)

select
    own.id as contact_id,
    own.device_id
from own
order by own.device_id, own.next_trigger_time, own.id;
