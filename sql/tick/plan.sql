-- What a tick would do with every due contact, and why the others wait
--
-- The dry run, and after a run the account of what still waits. Contacts are counted before they are
-- joined to anything, so that a long backlog stays cheap.
--
-- Parameters:
--   now            timestamptz  the instant of the transaction
--   due_by         timestamptz  contacts are due that are due by then: the instant the run began
--   oldest         timestamptz  contacts that were due before are too late
--   policy         text         device policy; fallback and reassign as strict (overflow.sql says who goes elsewhere)
--   active         text[]       values of sequences.status that count as active
--   online         text[]       values of user_devices.status that count as online
--   claimed        interval     how long the claim of another processor is respected
--   max_in_flight  integer      messages of a device in flight (not under queue)
--   max_per_hour   integer      messages of a device sent in 60 minutes, plus those in flight
--   max_per_day    integer      messages of a device sent in 24 hours, plus those in flight
-- Row:
--   device_id    uuid     the preferred device; null where there is none
--   device_name  text     its name
--   decision     text     queue, or the reason to wait
--   contacts     integer  due contacts
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?due_by} \else \set due_by 'now' \endif
\if :{?oldest} \else \set oldest '-infinity' \endif
\if :{?policy} \else \set policy 'queue' \endif
\if :{?active} \else \set active '{active}' \endif
\if :{?online} \else \set online '{online}' \endif
\if :{?claimed} \else \set claimed '5 minutes' \endif
\if :{?max_in_flight} \else \set max_in_flight '50' \endif
\if :{?max_per_hour} \else \set max_per_hour '80' \endif
\if :{?max_per_day} \else \set max_per_day '800' \endif
with recursive active_sequence as materialized (
    select
        s.id,
        s.user_id
    from sequences as s
    where s.is_active and s.status = any(:'active'::text [])
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

due as materialized (
    select
        a.device_id,
        counted.*
    from assigned as a
    cross join lateral (
        select
            sc.sequence_id,
            sc.sequence_stepid,
            coalesce(sc.contact_phone ~ '\S', false) as has_phone,
            coalesce(sc.processing_started_at > :'due_by'::timestamptz - :'claimed'::interval, false) as is_claimed,
            sc.next_trigger_time < :'oldest'::timestamptz as is_late,
            count(*) as contacts
        from sequence_contacts as sc
        where
            sc.assigned_device_id = a.device_id
            and sc.status = 'active'
            and sc.next_trigger_time <= :'due_by'::timestamptz
        group by 1, 2, 3, 4, 5
    ) as counted
    union all
    -- Contacts without an assigned device are their lead's.
    select
        l.device_id,
        sc.sequence_id,
        sc.sequence_stepid,
        coalesce(sc.contact_phone ~ '\S', false),
        coalesce(sc.processing_started_at > :'due_by'::timestamptz - :'claimed'::interval, false),
        sc.next_trigger_time < :'oldest'::timestamptz,
        count(*)
    from sequence_contacts as sc
    inner join active_sequence as s on sc.sequence_id = s.id
    -- One lookup by key for each, whatever the planner expects: user and phone are unique.
    left join lateral (
        select leads.device_id
        from leads
        where leads.user_id = s.user_id and leads.phone = sc.contact_phone
        limit 1
    ) as l on true
    where
        sc.assigned_device_id is null
        and sc.status = 'active'
        and sc.next_trigger_time <= :'due_by'::timestamptz
    group by 1, 2, 3, 4, 5, 6
),

judged as materialized (
    select
        due.device_id,
        case
            when due.is_late then 'too_late'
            when not due.has_phone then 'bad_phone'
            when st.id is null then 'step_missing'
            when not (coalesce(st.content ~ '\S', false) or coalesce(st.media_url ~ '\S', false))
                then 'no_content'
            when due.is_claimed then 'claimed'
            when due.device_id is null then 'no_device'
            when d.id is null then 'device_missing'
            when d.user_id <> s.user_id then 'device_of_other_user'
            when
                :'policy'::text <> 'queue'
                and not (
                    d.status = any(:'online'::text [])
                    and not exists (
                        select 1
                        from device_load_balance as b
                        where b.device_id = d.id and not b.is_available
                    )
                )
                then 'device_offline'
            else 'queue'
        end as decision,
        sum(due.contacts) as contacts
    from due
    inner join active_sequence as s on due.sequence_id = s.id
    left join sequence_steps as st on due.sequence_stepid = st.id and due.sequence_id = st.sequence_id
    left join user_devices as d on due.device_id = d.id
    group by 1, 2
),

room as materialized (
    select
        j.device_id,
        j.decision,
        j.contacts,
        greatest(
            0,
            case
                when :'policy'::text <> 'queue' then least(
                    :'max_in_flight'::integer - flying.messages,
                    :'max_per_hour'::integer - flying.messages - hour.messages,
                    :'max_per_day'::integer - flying.messages - day.messages
                )
                else j.contacts
            end
        ) as messages
    from judged as j
    cross join lateral (
        select count(*)::integer as messages
        from (
            select 1
            from broadcast_messages as m
            where
                :'policy'::text <> 'queue'
                and j.decision = 'queue'
                and m.device_id = j.device_id
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
                and j.decision = 'queue'
                and m.device_id = j.device_id
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
                and j.decision = 'queue'
                and m.device_id = j.device_id
                and m.sent_at > :'now'::timestamptz - interval '24 hours'
                and m.status not in ('pending', 'queued', 'processing', 'failed')
            limit :'max_per_day'::integer
        ) as m
    ) as day
)

select
    r.device_id,
    d.device_name::text as device_name,
    split.decision,
    split.contacts::integer as contacts
from room as r
left join user_devices as d on r.device_id = d.id
cross join lateral (
    values
        (r.decision, case r.decision when 'queue' then least(r.contacts, r.messages) else r.contacts end),
        ('device_full', case r.decision when 'queue' then greatest(0, r.contacts - r.messages) end)
) as split (decision, contacts)
where split.contacts > 0
order by split.contacts desc, split.decision, r.device_id;
