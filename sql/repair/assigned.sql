-- Assign to people the device that last wrote to them
--
-- Found as the mismatch audit finds them: the last message to a person in a sequence, made within the time
-- given, went to another device than its row of person and step is assigned to, and the audit does not say
-- assigned_since. The rows still to come of that person in that sequence get the device of that message; with
-- history, the past row itself gets the device of its own last message.
--
-- Master of "which row a message belongs to": sql/audit/mismatches.sql
-- Master of "the device was the assigned one then": sql/audit/mismatches.sql
--
-- Parameters:
--   now       timestamptz  the instant of the transaction
--   since     interval     age of the messages that are looked at
--   user      uuid         only sequences of this user
--   sequence  uuid         only this sequence
--   device    uuid         only what was assigned to this device, or written from it
--   history   boolean      past rows (completed or failed) instead of those still to come
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
--   why          text   last_wrote
--   refused      text   device_missing or device_of_other_user; null where the row changes
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '1 hour' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?history} \else \set history 'false' \endif
with message as materialized (
    select
        sc.id as contact_id,
        sc.contact_phone,
        sc.assigned_device_id,
        m.device_id,
        m.created_at,
        s.id as sequence_id,
        s.name as sequence_name,
        s.user_id,
        row_number() over (
            partition by s.id, sc.contact_phone, case when :'history'::boolean then sc.id end
            order by m.created_at desc, m.id
        ) = 1 as is_last
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
        m.created_at > :'now'::timestamptz - :'since'::interval
        and (
            nullif(:'user', '')::uuid is null
            or s.user_id = nullif(:'user', '')::uuid
            and coalesce(sc.user_id, s.user_id) = s.user_id
        )
        and (nullif(:'sequence', '')::uuid is null or s.id = nullif(:'sequence', '')::uuid)
),

candidate as materialized (
    select m.*
    from message as m
    where
        m.is_last
        and m.assigned_device_id is distinct from m.device_id
        and (
            nullif(:'device', '')::uuid is null
            or m.assigned_device_id = nullif(:'device', '')::uuid
            or m.device_id = nullif(:'device', '')::uuid
        )
),

mismatch as materialized (
    select
        c.*,
        used.id as used_id,
        used.user_id as used_user_id,
        used.device_name as used_name
    from candidate as c
    left join user_devices as used on c.device_id = used.id
    where
        case
            when used.user_id <> c.user_id or c.assigned_device_id is null then true
            else
                -- What the first change since has replaced is what was assigned when it was written.
                (
                    select ch.old_value
                    from seqdev.change as ch
                    where
                        ch.row_id = c.contact_id
                        and ch.table_name = 'sequence_contacts'
                        and ch.column_name = 'assigned_device_id'
                        and ch.changed_at > c.created_at
                    order by ch.id
                    limit 1
                ) is distinct from c.device_id::text
        end
)

select
    'sequence_contacts' as table_name,
    sc.id as row_id,
    mm.user_id,
    sc.contact_phone::text as phone,
    mm.sequence_name::text as sequence,
    sc.assigned_device_id as from_device,
    was.device_name::text as from_name,
    mm.device_id as to_device,
    mm.used_name::text as to_name,
    'last_wrote' as why,
    case
        when mm.used_id is null then 'device_missing'
        when not coalesce(mm.used_user_id = mm.user_id, false) then 'device_of_other_user'
    end as refused,
    jsonb_build_object('status', sc.status, 'assigned_device_id', sc.assigned_device_id) as expected,
    jsonb_build_object('assigned_device_id', mm.device_id) as becomes
from mismatch as mm
inner join sequence_contacts as sc
    on
        mm.sequence_id = sc.sequence_id
        and mm.contact_phone = sc.contact_phone
        and (
            not :'history'::boolean and sc.status = 'active'
            or :'history'::boolean and sc.status in ('completed', 'failed') and mm.contact_id = sc.id
        )
left join user_devices as was on sc.assigned_device_id = was.id
where
    sc.assigned_device_id is distinct from mm.device_id
    and (nullif(:'user', '')::uuid is null or coalesce(sc.user_id, mm.user_id) = mm.user_id)
order by mm.user_id, sc.contact_phone, sc.id;
