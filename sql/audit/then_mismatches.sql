-- Messages that were from another device than the one assigned, as that stood at an instant
--
-- The assigned device and that of the message are those of now, with the old value of their first change since. Not known
-- is what another hand has changed, whether a row was there that nothing had been done of, and which row a message
-- without a step belonged to, where the person's rows had several devices. What else made a cause is not kept.
--
-- Finds:
--   mismatch        the message was from another device
--   repaired        so it was, and a repair had assigned a row of the person in the sequence since
--   assigned_since  so it was, and the device had been the assigned one when it wrote
--   not_known       whether it was so
--
-- Parameters:
--   now       timestamptz  the instant
--   since     interval     age of the messages that are looked at
--   user      uuid         only sequences of this user
--   sequence  uuid         only this sequence
--   device    uuid         only what was assigned to this device, or written from it
--   matches   boolean      list the messages that matched too
--   limit     integer      rows to return; empty: all
-- Row:
--   finding             text         mismatch, repaired, assigned_since or not_known; null for a match
--   at                  timestamptz  when the message was made
--   phone               text         whom it went to
--   sequence            text         name of the sequence now
--   sequence_id         uuid         the sequence
--   step                integer      day of the step now; null where the message does not say its step
--   step_id             uuid         the step
--   assigned_device     text         what the device that was assigned is called now
--   assigned_device_id  uuid         the device that was assigned; null: none, or not known
--   used_device         text         what the device of the message is called now
--   used_device_id      uuid         the device that the message was given to by then; null: not known
--   writer              text         seqdev, or other: another processor made the message
--   contact_id          uuid         the row of the person and step; null where several could be it
--   message_id          uuid         the message
--   total               integer      rows in all, listed or not
--   found               jsonb        rows in all by finding: number, severity, repair
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '1 hour' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?matches} \else \set matches 'false' \endif
\if :{?limit} \else \set limit '20' \endif
with kind (kind, severity, repair) as (
    values
        ('mismatch', 2, 'see what is open now: seqdev audit mismatches --since'),
        ('repaired', 3, 'nothing: the steps to come had been assigned since'),
        ('assigned_since', 3, 'nothing: it was right when it was written'),
        ('not_known', 3, 'see how it is now: seqdev audit mismatches --since')
),

message as (
    select
        m.id,
        m.created_at,
        m.recipient_phone,
        m.sequence_stepid,
        m.device_id,
        s.id as sequence_id,
        s.name as sequence_name,
        s.user_id
    from broadcast_messages as m
    inner join sequences as s on m.sequence_id = s.id
    where
        m.created_at >= :'now'::timestamptz - :'since'::interval
        and m.created_at <= :'now'::timestamptz
        and (nullif(:'user', '')::uuid is null or s.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'sequence', '')::uuid is null or s.id = nullif(:'sequence', '')::uuid)
),

written as materialized (
    select
        m.id,
        m.created_at,
        m.recipient_phone,
        m.sequence_stepid,
        m.sequence_id,
        m.sequence_name,
        m.user_id,
        case when later.was ? 'device_id' then later.was ->> 'device_id' else m.device_id::text end::uuid as device_id,
        coalesce(earlier.device_id = coalesce(later.was ->> 'device_id', m.device_id::text), true) as is_device_known
    from message as m
    left join lateral (
        select jsonb_object_agg(one.column_name, one.old_value) as was
        from (
            select distinct on (ch.column_name)
                ch.column_name,
                ch.old_value
            from seqdev.change as ch
            where ch.row_id = m.id and ch.table_name = 'broadcast_messages' and ch.changed_at > :'now'::timestamptz
            order by ch.column_name, ch.id
        ) as one
    ) as later on true
    left join lateral (
        select ch.new_value as device_id
        from seqdev.change as ch
        where
            ch.row_id = m.id
            and ch.table_name = 'broadcast_messages'
            and ch.column_name = 'device_id'
            and ch.changed_at <= :'now'::timestamptz
        order by ch.id desc
        limit 1
    ) as earlier on true
),

-- Every row that a message may have belonged to.
contact as (
    select
        w.id as message_id,
        w.sequence_stepid as message_step_id,
        c.id,
        c.assigned_device_id,
        c.sequence_stepid,
        c.completed_at
    from written as w
    inner join sequence_contacts as c on w.sequence_id = c.sequence_id and w.recipient_phone = c.contact_phone
),

-- As it was.
row_then as materialized (
    select
        c.message_id,
        c.id,
        was.assigned_device_id,
        c.message_id = md5('seqdev message ' || c.id)::uuid as is_own,
        -- Who has begun anew has another row now.
        not was.is_anew
        and (
            earlier.became <> '{}'
            or coalesce(was.completed_at <= :'now'::timestamptz, false)
            or c.message_id = md5('seqdev message ' || c.id)::uuid
        )
        and (
            not earlier.became ? 'assigned_device_id'
            or (earlier.became ->> 'assigned_device_id')::uuid is not distinct from was.assigned_device_id
        ) as is_known,
        c.message_step_id is null or was.step_id = c.message_step_id as fits
    from contact as c
    cross join lateral (
        select coalesce(jsonb_object_agg(one.column_name, one.new_value), '{}') as became
        from (
            select distinct on (ch.column_name)
                ch.column_name,
                ch.new_value
            from seqdev.change as ch
            where ch.row_id = c.id and ch.table_name = 'sequence_contacts' and ch.changed_at <= :'now'::timestamptz
            order by ch.column_name, ch.id desc
        ) as one
    ) as earlier
    cross join lateral (
        select
            case when later.was ? 'assigned_device_id' then later.was ->> 'assigned_device_id' else c.assigned_device_id::text end::uuid
            as assigned_device_id,
            case when later.was ? 'sequence_stepid' then later.was ->> 'sequence_stepid' else c.sequence_stepid::text end::uuid
            as step_id,
            case when later.was ? 'completed_at' then later.was ->> 'completed_at' else c.completed_at::text end::timestamptz
            as completed_at,
            later.was ? 'id' as is_anew
        from (
            select coalesce(jsonb_object_agg(one.column_name, one.old_value), '{}') as was
            from (
                select distinct on (ch.column_name)
                    ch.column_name,
                    ch.old_value
                from seqdev.change as ch
                where ch.row_id = c.id and ch.table_name = 'sequence_contacts' and ch.changed_at > :'now'::timestamptz
                order by ch.column_name, ch.id
            ) as one
        ) as later
    ) as was
),

compared as materialized (
    select
        w.*,
        own.contact_id,
        own.assigned_device_id,
        own.is_own,
        w.is_device_known and own.is_known and own.devices <= 1 as is_known
    from written as w
    -- A message of whom no row is there is no mismatch.
    inner join (
        select
            r.message_id,
            case when count(*) = 1 then (array_agg(r.id))[1] end as contact_id,
            (array_agg(r.assigned_device_id))[1] as assigned_device_id,
            count(distinct coalesce(r.assigned_device_id::text, 'none')) as devices,
            bool_or(r.is_own) as is_own,
            bool_and(r.is_known) as is_known
        from row_then as r
        where r.fits
        group by r.message_id
    ) as own on w.id = own.message_id
),

repaired as materialized (
    select distinct c.id
    from compared as c
    inner join row_then as other on c.id = other.message_id
    cross join lateral (
        -- What was in effect: the last change of its device by then.
        select r.command
        from seqdev.change as ch
        inner join seqdev.run as r on ch.run_id = r.id
        where
            ch.row_id = other.id
            and ch.table_name = 'sequence_contacts'
            and ch.column_name = 'assigned_device_id'
            and ch.changed_at > c.created_at
            and ch.changed_at <= :'now'::timestamptz
        order by ch.id desc
        limit 1
    ) as last
    where
        c.is_known
        and c.assigned_device_id is distinct from c.device_id
        and other.id is distinct from c.contact_id
        and last.command ~ '^repair (?!undo)'
),

seen as materialized (
    select
        c.*,
        case
            when not c.is_known then 'not_known'
            when c.assigned_device_id = c.device_id then null
            when
                c.assigned_device_id is not null
                and not exists (
                    select
                    from user_devices as used
                    where used.id = c.device_id and used.user_id <> c.user_id
                )
                and (
                    select ch.old_value
                    from seqdev.change as ch
                    where
                        ch.row_id = c.contact_id
                        and ch.table_name = 'sequence_contacts'
                        and ch.column_name = 'assigned_device_id'
                        and ch.changed_at > c.created_at
                        and ch.changed_at <= :'now'::timestamptz
                    order by ch.id
                    limit 1
                ) = c.device_id::text
                then 'assigned_since'
            when c.id in (select repaired.id from repaired) then 'repaired'
            else 'mismatch'
        end as kind
    from compared as c
    where
        nullif(:'device', '')::uuid is null
        or c.assigned_device_id = nullif(:'device', '')::uuid
        or c.device_id = nullif(:'device', '')::uuid
),

finding as materialized (
    select seen.*
    from seen
    where :'matches'::boolean or seen.kind is not null
),

-- tally: as in audit/contacts.sql
tally as (
    select
        coalesce(sum(t.number), 0)::integer as total,
        coalesce(
            jsonb_object_agg(
                t.kind, jsonb_build_object('found', t.number, 'severity', kind.severity, 'repair', kind.repair)
            ) filter (where t.kind is not null),
            '{}'
        ) as found
    from (
        select
            finding.kind,
            count(*) as number
        from finding
        group by finding.kind
    ) as t
    left join kind on t.kind = kind.kind
)

select
    f.kind as finding,
    case when isfinite(f.created_at) then f.created_at::timestamptz end as at,
    f.recipient_phone::text as phone,
    f.sequence_name::text as sequence,
    f.sequence_id,
    st.day_number::integer as step,
    f.sequence_stepid as step_id,
    case when f.is_known then a.device_name end::text as assigned_device,
    case when f.is_known then f.assigned_device_id end as assigned_device_id,
    case when f.is_device_known then u.device_name end::text as used_device,
    case when f.is_device_known then f.device_id end as used_device_id,
    case when f.is_own then 'seqdev' else 'other' end as writer,
    f.contact_id,
    f.id as message_id,
    tally.total,
    tally.found
from finding as f
cross join tally
left join kind on f.kind = kind.kind
left join sequence_steps as st on f.sequence_stepid = st.id
left join user_devices as a on f.assigned_device_id = a.id
left join user_devices as u on f.device_id = u.id
order by kind.severity nulls last, f.created_at desc, f.id
limit nullif(:'limit', '')::integer;
