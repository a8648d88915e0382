-- The steps of a person as they stood at an instant, as far as the journal and the rows' own instants tell
--
-- A row as it was then is the row of now, with the old value of each column's first change since. That a row was made,
-- done or queued later its own instants tell. What neither tells is null, and named in unknown: never the value of now.
-- A value is not known either where the last change before left another one: somebody has changed it without the journal.
--
-- Parameters:
--   phones  text[]       the phone, in every writing that is tried
--   user    uuid         only sequences of this user
--   at      timestamptz  the instant
--   done    text[]       values of sequence_contacts.status: the step is done
--   waiting  text[]      values of sequence_contacts.status: a later step's row, made beforehand
-- Row:
--   user_id              uuid         the sequence's user; the contact's own where the sequence is gone
--   sequence_id          uuid         the sequence
--   sequence_name        text         its name now; null where it is gone
--   phone                text         as it was written there then
--   contact_id           uuid         the id that the row of the person and step had then
--   step_id              uuid         the step that the row was about then
--   day                  integer      its day as it is now; where the step is gone, the contact's current_step
--   state                text         of then: not_there, waiting (active), done, or other: see status; null: not known
--   status               text         of then; null: none, or not known
--   due_at               timestamptz  of then: when it was due; null: not known, or not there
--   completed_at         timestamptz  when it had been done; null: it was not, or it is not known
--   device_id            uuid         of then: the preferred device; null: none, or not known
--   device_name          text         what that device is called now
--   device_from          text         of then: assigned, or lead: where the preferred device came from
--   message              text         of then: none, queued (and not sent), or sent; null: not known
--   message_id           uuid         that message
--   message_by           text         seqdev, or other_processor
--   queued_at            timestamptz  when it was queued
--   sent_at              timestamptz  when it was sent; null: not by then
--   message_device_id    uuid         of then: the device that the message was given to
--   message_device_name  text         what that device is called now
--   status_now           text         of now: the row's status
--   device_id_now        uuid         of now: the assigned device
--   message_status_now   text         of now: what the broadcast worker says of the message
--   unknown              text[]       which of the fields of then cannot be known, and not only are none
-- Locks: none
\if :{?phones} \else \set phones '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?at} \else \set at 'now' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?done} \else \set done '{completed,sent,failed}' \endif
with contact as materialized (
    select
        sc.id,
        to_jsonb(sc) as now_row,
        sc.sequence_id,
        sc.status,
        sc.assigned_device_id,
        coalesce(s.user_id, sc.user_id) as owner_id,
        s.user_id as lead_user_id,
        coalesce(s.name, left(s.id::text, 0))::text as sequence_name
    from sequence_contacts as sc
    left join sequences as s on sc.sequence_id = s.id
    where
        sc.contact_phone = any(:'phones'::text [])
        and (nullif(:'user', '')::uuid is null or coalesce(s.user_id, sc.user_id) = nullif(:'user', '')::uuid)
),

-- Who begins anew gets other ids: the change is found by the one that came.
named as materialized (
    with recursive hop (contact, id) as (
        select
            contact.id as contact,
            contact.id as own
        from contact
        union
        select
            hop.contact,
            ch.old_value::uuid as own
        from hop
        inner join seqdev.change as ch on hop.id = ch.row_id
        where ch.table_name = 'sequence_contacts' and ch.column_name = 'id' and ch.old_value is not null
    )

    select hop.*
    from hop
),

journal as materialized (
    select
        named.contact,
        ch.id,
        ch.column_name,
        ch.old_value,
        ch.new_value,
        ch.changed_at,
        ch.changed_at > :'at'::timestamptz as is_later
    from named
    inner join seqdev.change as ch on named.id = ch.row_id
    where ch.table_name = 'sequence_contacts'
),

later as (
    select
        one.contact,
        jsonb_object_agg(one.column_name, one.old_value) as was
    from (
        select distinct on (j.contact, j.column_name) j.*
        from journal as j
        where j.is_later
        order by j.contact, j.column_name, j.id
    ) as one
    group by one.contact
),

earlier as (
    select
        one.contact,
        jsonb_object_agg(one.column_name, one.new_value) as became
    from (
        select distinct on (j.contact, j.column_name) j.*
        from journal as j
        where not j.is_later
        order by j.contact, j.column_name, j.id desc
    ) as one
    group by one.contact
),

-- What the first values ever were: when it was made, and first done.
first_value as (
    select
        c.id as contact,
        coalesce(
            (
                select j.old_value
                from journal as j
                where j.contact = c.id and j.column_name = 'next_trigger_time'
                order by j.id
                limit 1
            ), c.now_row ->> 'next_trigger_time'
        )::timestamptz as due_at,
        coalesce(
            (
                select j.old_value
                from journal as j
                where j.contact = c.id and j.column_name = 'sequence_stepid'
                order by j.id
                limit 1
            ), c.now_row ->> 'sequence_stepid'
        )::uuid as step_id,
        least(
            (c.now_row ->> 'completed_at')::timestamptz,
            (
                select min(least(j.old_value::timestamptz, j.new_value::timestamptz))
                from journal as j
                where j.contact = c.id and j.column_name = 'completed_at'
            )
        ) as done_at
    from contact as c
),

was as materialized (
    select
        c.*,
        coalesce(e.became, '{}') as became,
        f.due_at as first_due_at,
        c.now_row || coalesce(l.was, '{}') as then_row,
        ((c.now_row || coalesce(l.was, '{}')) ->> 'id')::uuid as then_id,
        ((c.now_row || coalesce(l.was, '{}')) ->> 'sequence_stepid')::uuid as step_id,
        (c.now_row || coalesce(l.was, '{}')) ->> 'contact_phone' as contact_phone,
        f.step_id as next_id
    from contact as c
    inner join first_value as f on c.id = f.contact
    left join later as l on c.id = l.contact
    left join earlier as e on c.id = e.contact
),

row_then as materialized (
    select
        w.*,
        w.then_id as contact_id,
        w.then_row ->> 'status' as then_status,
        (w.then_row ->> 'next_trigger_time')::timestamptz as then_due,
        (w.then_row ->> 'completed_at')::timestamptz as then_done,
        (w.then_row ->> 'assigned_device_id')::uuid as then_device,
        -- When seqdev has made it, active: with what was done of the step before, or by an enrolment.
        coalesce(
            (
                select min(f.done_at)
                from named
                inner join first_value as f on named.contact = f.contact
                where named.contact <> w.id and w.then_id = md5('seqdev contact ' || named.id || ' ' || w.next_id)::uuid
            ),
            (
                select w.first_due_at
                from seqdev.run as r
                where r.command = 'enroll' and w.first_due_at between r.started_at and r.finished_at
                limit 1
            )
        ) as made_at
    from was as w
),

-- All that may be their messages: by the ids that seqdev gives, and by the phone.
message as materialized (
    select
        own.id,
        own.recipient_phone,
        own.user_id,
        own.sequence_id,
        own.sequence_stepid,
        own.device_id,
        own.status,
        own.created_at::timestamptz as created_at,
        own.sent_at::timestamptz as sent_at
    from broadcast_messages as own
    where
        own.id = any(array(
            select md5('seqdev message ' || r.contact_id)::uuid
            from row_then as r
        ))
        and own.created_at <= :'at'::timestamptz
    union
    select
        other.id,
        other.recipient_phone,
        other.user_id,
        other.sequence_id,
        other.sequence_stepid,
        other.device_id,
        other.status,
        other.created_at::timestamptz as created_at,
        other.sent_at::timestamptz as sent_at
    from broadcast_messages as other
    where
        other.recipient_phone = any(array(
            select r.contact_phone
            from row_then as r
        ))
        and other.created_at <= :'at'::timestamptz
),

lead as materialized (
    select
        l.id,
        l.user_id,
        l.phone,
        l.device_id
    from leads as l
    where
        l.phone = any(array(
            select r.contact_phone
            from row_then as r
        ))
),

known as materialized (
    select
        r.*,
        m.id as message_id,
        m.is_own,
        m.status as message_status,
        m.created_at as queued_at,
        m.sent_at,
        m.then_device as message_device,
        m.is_device_known,
        m.was_status as message_was
    from row_then as r
    left join lateral (
        select
            one.*,
            -- Of what has changed since, the first old value.
            case when device.is_later then device.old_value else one.device_id::text end::uuid as then_device,
            case
                when device.is_later is null or device.is_later then true
                else (device.new_value::uuid is not distinct from one.device_id)
            end as is_device_known,
            status.old_value as was_status
        from (
            select
                x.*,
                x.id = md5('seqdev message ' || r.contact_id)::uuid as is_own
            from message as x
            where
                x.id = md5('seqdev message ' || r.contact_id)::uuid
                or (
                    x.recipient_phone = r.contact_phone
                    and x.user_id = r.owner_id
                    and x.sequence_id = r.sequence_id
                    and x.sequence_stepid = r.step_id
                )
        ) as one
        left join lateral (
            select
                ch.old_value,
                ch.new_value,
                ch.changed_at > :'at'::timestamptz as is_later
            from seqdev.change as ch
            where ch.row_id = one.id and ch.table_name = 'broadcast_messages' and ch.column_name = 'device_id'
            order by
                ch.changed_at > :'at'::timestamptz desc,
                case when ch.changed_at > :'at'::timestamptz then ch.id else -ch.id end
            limit 1
        ) as device on true
        left join lateral (
            select ch.old_value
            from seqdev.change as ch
            where
                ch.row_id = one.id
                and ch.table_name = 'broadcast_messages'
                and ch.column_name = 'status'
                and ch.changed_at > :'at'::timestamptz
            order by ch.id
            limit 1
        ) as status on true
        order by one.is_own desc, one.created_at desc, one.id
        limit 1
    ) as m on true
),

-- stood, undone: as in audit/then_contacts.sql
stood as materialized (
    select
        k.*,
        case
            when k.became <> '{}' or k.made_at <= :'at'::timestamptz or k.then_done <= :'at'::timestamptz or k.is_own then true
            when k.made_at > :'at'::timestamptz then false
        end as is_there,
        coalesce(k.then_status = any(:'done'::text []) and k.then_done <= :'at'::timestamptz, false) as is_done,
        coalesce(
            (k.then_status = 'active' and k.then_done is null)
            or (k.then_status = any(:'done'::text []) and k.then_done > :'at'::timestamptz), false
        ) as was_active
    from known as k
),

undone as materialized (
    select
        s.*,
        case
            when s.is_there is not true or s.is_done then null
            when s.was_active and s.became ? 'status' then case when s.became ->> 'status' = 'active' then 'active' end
            when s.was_active then case when s.made_at <= :'at'::timestamptz then 'active' end
            when s.became ->> 'status' = s.then_status then s.then_status
        end as undone_status
    from stood as s
),

stated as materialized (
    select
        k.*,
        case
            when k.is_there = false then 'not_there'
            when k.is_done then 'done'
            when told.status = 'active' then 'waiting'
            when told.status is not null then 'other'
        end as state,
        told.status as told_status,
        -- Of a row that was there: no other hand has changed it since the last change before.
        k.is_there and (not k.became ? 'assigned_device_id' or (k.became ->> 'assigned_device_id')::uuid is not distinct from k.then_device)
        as is_assignment_known,
        (not k.became ? 'next_trigger_time' or (k.became ->> 'next_trigger_time')::timestamptz = k.then_due)
        -- What a step that begins to wait is due at when it is made active again, no journal keeps.
        and not exists (
            select
            from journal as j
            where
                j.contact = k.id
                and j.is_later
                and j.column_name = 'status'
                and j.new_value = any(:'waiting'::text [])
                and not exists (
                    select
                    from journal as due
                    where
                        due.contact = k.id
                        and due.is_later
                        and due.column_name = 'next_trigger_time'
                        and due.changed_at <= j.changed_at
                )
        ) as is_due_known,
        case
            when k.message_id is null and not k.is_done then 'none'
            when k.message_id is null then null
            when k.sent_at <= :'at'::timestamptz then 'sent'
            when coalesce(k.message_was, k.message_status) in ('pending', 'queued', 'processing') then 'queued'
            when k.message_was is null and k.sent_at > :'at'::timestamptz then 'queued'
        end as message
    from undone as k
    cross join lateral (
        select
            case
                when not k.is_done then k.undone_status
                -- One that had failed may be sent since, and the other way round.
                when
                    k.then_status = 'completed'
                    and coalesce(k.message_was is null and k.sent_at <= :'at'::timestamptz, false) then 'completed'
                when
                    k.then_status = 'completed'
                    and k.message_was is null and k.message_status in ('pending', 'queued', 'processing') then 'completed'
            end as status
    ) as told
),

told as materialized (
    select
        s.*,
        -- The lead's device counts where none was assigned.
        case
            when not s.is_assignment_known then null
            when s.then_device is not null then s.then_device
            when owner.is_known then owner.device_id
        end as preferred,
        case
            when not s.is_assignment_known then null
            when s.then_device is not null then 'assigned'
            when owner.is_known and owner.device_id is not null then 'lead'
        end as preferred_from,
        coalesce(s.is_assignment_known and (s.then_device is not null or owner.is_known), false) as is_preferred_known
    from stated as s
    left join lateral (
        select
            case when ch.is_later then ch.old_value else l.device_id::text end::uuid as device_id,
            case
                when ch.is_later is null or ch.is_later then true
                else (ch.new_value::uuid is not distinct from l.device_id)
            end as is_known
        from lead as l
        left join lateral (
            select
                one.old_value,
                one.new_value,
                one.changed_at > :'at'::timestamptz as is_later
            from seqdev.change as one
            where one.row_id = l.id and one.table_name = 'leads' and one.column_name = 'device_id'
            order by
                one.changed_at > :'at'::timestamptz desc,
                case when one.changed_at > :'at'::timestamptz then one.id else -one.id end
            limit 1
        ) as ch on true
        where l.user_id = s.lead_user_id and l.phone = s.contact_phone
        limit 1
    ) as owner on true
)

select
    t.owner_id as user_id,
    t.sequence_id,
    t.sequence_name::text as sequence_name,
    t.contact_phone::text as phone,
    t.contact_id,
    t.step_id,
    coalesce(st.day_number, (t.then_row ->> 'current_step')::integer) as day,
    t.state,
    t.told_status as status,
    case
        when t.is_due_known and (t.is_done or t.told_status is not null) and isfinite(t.then_due) then t.then_due
    end as due_at,
    case when t.state = 'done' and isfinite(t.then_done) then t.then_done end as completed_at,
    case when t.state <> 'not_there' then t.preferred end as device_id,
    case when t.state <> 'not_there' and d.user_id = t.owner_id then coalesce(d.device_name, left(d.id::text, 0)) end::text as device_name,
    case when t.state <> 'not_there' then t.preferred_from end as device_from,
    t.message,
    t.message_id,
    case when t.is_own then 'seqdev' when t.message_id is not null then 'other_processor' end as message_by,
    t.queued_at,
    case when t.sent_at <= :'at'::timestamptz then t.sent_at end as sent_at,
    case when t.is_device_known then t.message_device end as message_device_id,
    case when t.is_device_known and b.user_id = t.owner_id then coalesce(b.device_name, left(b.id::text, 0)) end::text as message_device_name,
    t.status::text as status_now,
    t.assigned_device_id as device_id_now,
    t.message_status::text as message_status_now,
    array_remove(
        array[
            case when t.state is null then 'state' end,
            case when t.told_status is null and t.state is distinct from 'not_there' then 'status' end,
            case
                when
                    t.state is distinct from 'not_there'
                    and not (t.is_due_known and (t.is_done or t.told_status is not null)) then 'due_at'
            end,
            case when t.state is null then 'completed_at' end,
            case when t.state is distinct from 'not_there' and not t.is_preferred_known then 'device_id' end,
            case when t.message is null then 'message' end,
            case when not t.is_device_known then 'message_device_id' end
        ], null
    )::text [] as unknown
from told as t
left join sequence_steps as st on t.step_id = st.id and t.sequence_id = st.sequence_id
left join user_devices as d on t.preferred = d.id
left join user_devices as b on t.message_device = b.id
order by t.owner_id, t.contact_phone, t.sequence_name, t.sequence_id, day, t.then_due, t.contact_id;
