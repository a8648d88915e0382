-- Every step of the sequences that a person is in: when it is due, who writes, what became of it
--
-- One row for each row of sequence_contacts, and one for each step that the person has not reached.
--
-- Parameters:
--   phones  text[]  the phone, in every writing that is tried
--   user    uuid    only sequences of this user
-- Gates: gates/steps.sql, gates/devices.sql of all devices
-- Row:
--   user_id                uuid         the sequence's user; the contact's own where the sequence is gone
--   sequence_id            uuid         the sequence
--   sequence_name          text         its name; null where it is gone
--   sequence_active        boolean      whether it is active
--   phone                  text         as it is written there
--   contact_id             uuid         the row of the person and step; null where it is not reached
--   contact_name           text         the person's name there
--   step_id                uuid         the step
--   day                    integer      its day; where the step is gone, the contact's current_step
--   trigger                text         its trigger
--   status                 text         the row's status, or not_reached
--   due_at                 timestamptz  when it is, or was, due
--   completed_at           timestamptz  when it was done
--   last_error             text         why it failed or ended
--   device_id              uuid         the preferred device: the assigned one, else the lead's
--   device_name            text         its name; null for a device of another user
--   device_from            text         assigned, or lead: where the preferred device comes from
--   device_gone            boolean      whether the preferred device does not come back
--   message_id             uuid         the message of this step
--   message_by             text         seqdev, or other_processor (the id is not the one seqdev derives)
--   message_status         text         what the broadcast worker says of it
--   message_at             timestamptz  when it was sent; of one not sent: when it was to be
--   message_error          text         why it could not be sent
--   message_device_id      uuid         the device it was given to
--   message_device_name    text         its name; null for a device of another user
--   message_device_online  boolean      whether that device is online now
--   message_device_gone    boolean      whether that device does not come back
--   preview                text         its first 40 characters
-- Locks: none
\if :{?phones} \else \set phones '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'no' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with gone as materialized (
    select g.id
    from unnest(:'devices'::uuid [], :'is_gone'::boolean []) as g (id, is_gone)
    where g.is_gone
),

contact as materialized (
    select
        sc.*,
        coalesce(s.user_id, sc.user_id) as owner_id,
        s.user_id as lead_user_id,
        coalesce(s.name, left(s.id::text, 0))::text as sequence_name,
        coalesce(s.id = any(:'active_sequences'::uuid []), false) as sequence_active
    from sequence_contacts as sc
    left join sequences as s on sc.sequence_id = s.id
    where
        sc.contact_phone = any(:'phones'::text [])
        and (
            nullif(:'user', '')::uuid is null
            or coalesce(s.user_id, sc.user_id) = nullif(:'user', '')::uuid
        )
),

lead as materialized (
    select
        l.user_id,
        l.phone,
        l.device_id
    from leads as l
    where l.phone = any(:'phones'::text [])
),

message as materialized (
    select
        m.id,
        m.recipient_phone,
        m.user_id,
        m.sequence_id,
        m.sequence_stepid,
        m.status,
        m.sent_at,
        m.scheduled_at,
        m.created_at,
        m.error_message,
        m.device_id,
        m.content
    from broadcast_messages as m
    where m.recipient_phone = any(:'phones'::text []) and m.sequence_id is not null
),

place as (
    select
        c.owner_id,
        c.sequence_id,
        c.sequence_name,
        c.sequence_active,
        c.contact_phone,
        c.id as contact_id,
        c.contact_name,
        c.sequence_stepid as step_id,
        coalesce(st.day_number, c.current_step) as day,
        coalesce(st.trigger, c.current_trigger) as trigger,
        coalesce(c.status, 'empty') as status,
        c.next_trigger_time::timestamptz as due_at,
        c.completed_at::timestamptz as completed_at,
        c.last_error,
        c.assigned_device_id,
        c.lead_user_id
    from contact as c
    left join sequence_steps as st on c.sequence_stepid = st.id and c.sequence_id = st.sequence_id
    union all
    select
        e.owner_id,
        e.sequence_id,
        e.sequence_name,
        e.sequence_active,
        e.contact_phone,
        null,
        null,
        st.id,
        st.day_number,
        st.trigger,
        'not_reached',
        null,
        null,
        null,
        null,
        null
    from (
        select distinct
            c.owner_id,
            c.sequence_id,
            c.sequence_name,
            c.sequence_active,
            c.contact_phone
        from contact as c
    ) as e
    inner join sequence_steps as st on e.sequence_id = st.sequence_id
    where
        not exists (
            select 1
            from contact as c
            where
                c.sequence_id = e.sequence_id
                and c.contact_phone = e.contact_phone
                and c.sequence_stepid = st.id
        )
)

select
    p.owner_id as user_id,
    p.sequence_id,
    p.sequence_name::text as sequence_name,
    p.sequence_active,
    p.contact_phone::text as phone,
    p.contact_id,
    p.contact_name::text as contact_name,
    p.step_id,
    p.day::integer as day,
    p.trigger::text as trigger,
    p.status::text as status,
    case when isfinite(p.due_at) then p.due_at end as due_at,
    case when isfinite(p.completed_at) then p.completed_at end as completed_at,
    p.last_error,
    a.id as device_id,
    case when d.user_id = p.owner_id then coalesce(d.device_name, left(d.id::text, 0)) end::text as device_name,
    a.source as device_from,
    coalesce(d.id in (select gone.id from gone), false) as device_gone,
    m.id as message_id,
    case when m.is_own then 'seqdev' when m.id is not null then 'other_processor' end as message_by,
    m.status::text as message_status,
    coalesce(m.sent_at, m.scheduled_at, m.created_at)::timestamptz as message_at,
    m.error_message as message_error,
    m.device_id as message_device_id,
    case when b.user_id = p.owner_id then coalesce(b.device_name, left(b.id::text, 0)) end::text as message_device_name,
    case when m.id is not null then coalesce(
        (
            select g.is_online
            from unnest(:'devices'::uuid [], :'is_online'::boolean []) as g (id, is_online)
            where g.id = m.device_id
        ), false
    ) end as message_device_online,
    coalesce(b.id in (select gone.id from gone), false) as message_device_gone,
    left(regexp_replace(left(m.content, 400), '\s+', ' ', 'g'), 40) as preview
from place as p
left join lead as l on p.lead_user_id = l.user_id and p.contact_phone = l.phone
cross join lateral (
    select
        coalesce(p.assigned_device_id, l.device_id) as id,
        case
            when p.assigned_device_id is not null then 'assigned'
            when l.device_id is not null then 'lead'
        end as source
) as a
left join user_devices as d on a.id = d.id
left join lateral (
    select one.*
    from (
        select
            true as is_own,
            own.id,
            own.status,
            own.sent_at,
            own.scheduled_at,
            own.created_at,
            own.error_message,
            own.device_id,
            own.content
        from message as own
        where own.id = md5('seqdev message ' || p.contact_id)::uuid
        union all
        select
            false,
            other.id,
            other.status,
            other.sent_at,
            other.scheduled_at,
            other.created_at,
            other.error_message,
            other.device_id,
            other.content
        from message as other
        where
            other.recipient_phone = p.contact_phone
            and other.user_id = p.owner_id
            and other.sequence_id = p.sequence_id
            and other.sequence_stepid = p.step_id
    ) as one
    order by one.is_own desc, one.created_at desc nulls last, one.id
    limit 1
) as m on true
left join user_devices as b on m.device_id = b.id
order by p.owner_id, p.contact_phone, p.sequence_name, p.sequence_id, p.day, p.due_at, p.contact_id, p.step_id;
