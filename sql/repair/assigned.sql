-- Assign to people the device that last wrote to them
--
-- Found as the mismatch audit finds them, by cause: the last message to a person in a sequence, made within the
-- time given, went to another device than its row of person and step is assigned to. The rows still to come of that
-- person in that sequence get the device of that message, unless a repair has assigned them since; with history, the
-- past row itself gets the device of its own last message.
--
-- Master of online, written and judged: sql/audit/mismatches.sql
--
-- Parameters:
--   now       timestamptz  the instant of the transaction
--   since     interval     age of the messages that are looked at
--   user      uuid         only sequences of this user
--   sequence  uuid         only this sequence
--   device    uuid         only what was assigned to this device, or written from it
--   history   boolean      past rows (done) instead of those still to come
--   causes    text[]       only mismatches of these causes; repaired: those that a repair has dealt with
--   waiting   text[]       values of sequence_contacts.status: a later step's row, made beforehand
--   done      text[]       values of sequence_contacts.status: the step is done
-- Gates: gates/devices.sql of all devices
-- Row:
--   table_name   text   the table of the row
--   row_id       uuid   the row
--   user_id      uuid   the user of the sequence
--   phone        text   whose row it is
--   sequence     text   name of the sequence
--   from_device  uuid   the device assigned now
--   from_name    text   its name
--   to_device    uuid   the device that wrote last
--   to_name      text   its name
--   why          text   the cause of the mismatch
--   refused      text   device_missing, device_of_other_user or device_gone; null where the row changes
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '1 hour' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?history} \else \set history 'false' \endif
\if :{?causes} \else \set causes '{fallback_used,lead_reowned,other_users_assignment}' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?done} \else \set done '{completed,sent,failed}' \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'no' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with online as materialized (
    select d.id
    from unnest(:'devices'::uuid [], :'is_online'::boolean []) as d (id, is_online)
    where d.is_online
),

gone as materialized (
    select d.id
    from unnest(:'devices'::uuid [], :'is_gone'::boolean []) as d (id, is_gone)
    where d.is_gone
),

written as (
    select
        sc.id as contact_id,
        sc.contact_phone,
        sc.assigned_device_id,
        m.id as message_id,
        m.device_id,
        m.sequence_stepid,
        m.created_at,
        s.id as sequence_id,
        coalesce(s.name, left(s.id::text, 0))::text as sequence_name,
        s.user_id,
        m.id = md5('seqdev message ' || sc.id)::uuid as is_own
    from broadcast_messages as m
    inner join sequences as s on m.sequence_id = s.id
    cross join lateral (
        select c.*
        from sequence_contacts as c
        where
            c.sequence_id = m.sequence_id
            and c.contact_phone = m.recipient_phone
            and (m.sequence_stepid is null or c.sequence_stepid = m.sequence_stepid)
        order by
            c.assigned_device_id is not distinct from m.device_id desc,
            c.status in ('completed', 'failed') desc nulls last,
            c.completed_at desc nulls last,
            c.id
        limit 1
    ) as sc
    where
        m.created_at >= :'now'::timestamptz - :'since'::interval
        and (
            nullif(:'user', '')::uuid is null
            or s.user_id = nullif(:'user', '')::uuid
            and coalesce(sc.user_id, s.user_id) = s.user_id
        )
        and (nullif(:'sequence', '')::uuid is null or s.id = nullif(:'sequence', '')::uuid)
),

placed as (
    select
        w.*,
        row_number() over (
            partition by w.sequence_id, w.contact_phone, case when :'history'::boolean then w.contact_id end
            order by w.created_at desc, w.message_id
        ) = 1 as is_last
    from written as w
),

looked_at as materialized (
    select p.*
    from placed as p
    where
        p.is_last
        and p.assigned_device_id is distinct from p.device_id
        and (
            nullif(:'device', '')::uuid is null
            or p.assigned_device_id = nullif(:'device', '')::uuid
            or p.device_id = nullif(:'device', '')::uuid
        )
),

-- The person's other rows in the sequence.
other as materialized (
    select distinct
        w.contact_id,
        other.id
    from looked_at as w
    inner join sequence_contacts as other
        on w.contact_phone = other.contact_phone and w.sequence_id = other.sequence_id and w.contact_id <> other.id
    where w.assigned_device_id is distinct from w.device_id
),

repaired as materialized (
    select distinct w.message_id
    from looked_at as w
    inner join other on w.contact_id = other.contact_id
    cross join lateral (
        -- What is in effect: the last change of its device.
        select r.command
        from seqdev.change as ch
        inner join seqdev.run as r on ch.run_id = r.id
        where
            ch.row_id = other.id
            and ch.table_name = 'sequence_contacts'
            and ch.column_name = 'assigned_device_id'
            and ch.changed_at > w.created_at
        order by ch.id desc
        limit 1
    ) as last
    where w.assigned_device_id is distinct from w.device_id and last.command ~ '^repair (?!undo)'
),

owner as materialized (
    select distinct on (l.user_id, l.phone)
        l.user_id,
        l.phone,
        l.device_id
    from looked_at as w
    inner join leads as l on w.contact_phone = l.phone and w.user_id = l.user_id
    where w.assigned_device_id is distinct from w.device_id
    order by l.user_id, l.phone, l.id
),

judged as materialized (
    select
        w.*,
        coalesce(assigned.device_name, left(assigned.id::text, 0))::text as assigned_name,
        used.id as used_id,
        used.user_id as used_user_id,
        coalesce(used.device_name, left(used.id::text, 0))::text as used_name,
        w.message_id in (select repaired.message_id from repaired) as is_repaired,
        case
            when w.assigned_device_id = w.device_id then null
            when used.user_id <> w.user_id then 'other_users_device'
            when w.assigned_device_id is null then 'assignment_missing'
            when
                -- What the first change since has replaced is what was assigned when it was written.
                (
                    select ch.old_value
                    from seqdev.change as ch
                    where
                        ch.row_id = w.contact_id
                        and ch.table_name = 'sequence_contacts'
                        and ch.column_name = 'assigned_device_id'
                        and ch.changed_at > w.created_at
                    order by ch.id
                    limit 1
                ) = w.device_id::text
                then 'assigned_since'
            when assigned.id is null then 'device_deleted'
            when assigned.user_id <> w.user_id then 'other_users_assignment'
            when used.id is null then 'used_device_deleted'
            when l.device_id = w.device_id then 'lead_reowned'
            when w.is_own or assigned.id not in (select online.id from online) then 'fallback_used'
            else 'foreign_writer'
        end as cause
    from looked_at as w
    left join user_devices as assigned on w.assigned_device_id = assigned.id
    left join user_devices as used on w.device_id = used.id
    left join owner as l on w.user_id = l.user_id and w.contact_phone = l.phone
)

select
    'sequence_contacts' as table_name,
    sc.id as row_id,
    mm.user_id,
    sc.contact_phone::text as phone,
    mm.sequence_name::text as sequence,
    sc.assigned_device_id as from_device,
    coalesce(was.device_name, left(was.id::text, 0))::text as from_name,
    mm.device_id as to_device,
    mm.used_name::text as to_name,
    mm.cause as why,
    case
        when mm.used_id is null then 'device_missing'
        when not coalesce(mm.used_user_id = mm.user_id, false) then 'device_of_other_user'
        when mm.used_id in (select gone.id from gone) then 'device_gone'
    end as refused,
    jsonb_build_object('status', sc.status, 'assigned_device_id', sc.assigned_device_id) as expected,
    jsonb_build_object('assigned_device_id', mm.device_id) as becomes
from judged as mm
inner join sequence_contacts as sc
    on
        mm.sequence_id = sc.sequence_id
        and mm.contact_phone = sc.contact_phone
        and case
            when :'history'::boolean then sc.status = any(:'done'::text []) and mm.contact_id = sc.id
            else sc.status = 'active' or sc.status = any(:'waiting'::text [])
        end
left join user_devices as was on sc.assigned_device_id = was.id
where
    sc.assigned_device_id is distinct from mm.device_id
    and (
        mm.cause = any(:'causes'::text [])
        and (:'history'::boolean or not mm.is_repaired)
        or 'repaired' = any(:'causes'::text []) and mm.is_repaired
    )
    and (nullif(:'user', '')::uuid is null or coalesce(sc.user_id, mm.user_id) = mm.user_id)
order by mm.user_id, sc.contact_phone, sc.id;
