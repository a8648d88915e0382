-- Messages that were from another device than the one assigned, as that stood at an instant
--
-- The assigned device and that of the message are those of now, with the old value of their first change since. Not known
-- is what another hand has changed, whether a row was there that nothing had been done of, and which row a message
-- without a step belonged to, where the person's rows had several devices. What else made a cause is not kept.
--
-- Finds:
--   mismatch        the message was from another device
--   repaired        so it was, and a repair had assigned a row of the person in the sequence since
--   settled         so it was, and the last message to the person in the sequence came from the device that was assigned
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
--   done      text[]       values of sequence_contacts.status: the step is done
--   failed    text[]       values of broadcast_messages.status of a message that will never be sent
--   limit     integer      rows to return; empty: all
-- Row:
--   finding             text         mismatch, repaired, settled, assigned_since or not_known; null for a match
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
\if :{?done} \else \set done '{completed,sent,failed}' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?limit} \else \set limit '20' \endif
with kind (kind, severity, repair) as (
    values
        ('mismatch', 2, 'see what is open now: seqdev audit mismatches --since WHEN'),
        ('repaired', 3, 'nothing: the steps to come had been assigned since'),
        ('settled', 3, 'nothing: the assigned device had written last since'),
        ('assigned_since', 3, 'nothing: it was right when it was written'),
        ('not_known', 3, 'see how it is now: seqdev audit mismatches --since WHEN')
),

-- message_was: as in audit/then_failed.sql
message_was as materialized (
    select
        m.id,
        m.user_id,
        m.sequence_id,
        m.sequence_stepid,
        m.recipient_phone,
        m.created_at,
        case when later.was ? 'device_id' then later.was ->> 'device_id' else m.device_id::text end::uuid as device_id,
        coalesce(earlier.became ->> 'device_id' = coalesce(later.was ->> 'device_id', m.device_id::text), true) as is_device_known,
        case
            when later.was ->> 'status' <> all(:'failed'::text []) then false
            -- What a run has found failed since may have failed since, unless a run before had left it so.
            when later.was ? 'status' then nullif(later.was ->> 'status' = earlier.became ->> 'status', false)
            when m.status <> all(:'failed'::text []) then false
            -- Its worker writes when it last changed a message: that is when it failed.
            when
                (to_jsonb(m) ->> 'updated_at')::timestamptz > coalesce(earlier.changed_at, m.created_at::timestamptz)
                and (to_jsonb(m) ->> 'updated_at')::timestamptz <= :'now'::timestamptz
                then true
        end as has_failed,
        case when later.was ? 'status' then later.was ->> 'status' else m.status end as then_status,
        case when later.was ? 'error_message' then later.was ->> 'error_message' else m.error_message end as then_error
    from broadcast_messages as m
    cross join lateral (
        select coalesce(jsonb_object_agg(ch.column_name, ch.old_value order by ch.id desc), '{}') as was
        from seqdev.change as ch
        where ch.row_id = m.id and ch.table_name = 'broadcast_messages' and ch.changed_at > :'now'::timestamptz
    ) as later
    cross join lateral (
        select
            coalesce(jsonb_object_agg(ch.column_name, ch.new_value order by ch.id), '{}') as became,
            max(ch.changed_at) filter (where ch.column_name = 'status') as changed_at
        from seqdev.change as ch
        where ch.row_id = m.id and ch.table_name = 'broadcast_messages' and ch.changed_at <= :'now'::timestamptz
    ) as earlier
    where
        m.created_at >= :'now'::timestamptz - :'since'::interval
        and m.created_at <= :'now'::timestamptz
),

written as materialized (
    select
        m.*,
        coalesce(s.name, left(s.id::text, 0))::text as sequence_name,
        s.user_id as owner_id
    from message_was as m
    inner join sequences as s on m.sequence_id = s.id
    where
        (nullif(:'user', '')::uuid is null or s.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'sequence', '')::uuid is null or s.id = nullif(:'sequence', '')::uuid)
),

asked as materialized (
    select distinct
        w.sequence_id,
        w.recipient_phone as phone,
        '-infinity'::timestamptz as own_from
    from written as w
),

-- row_was, made, known and stood: as in audit/then_contacts.sql
-- The row of now, with the old value of each column's first change since. Of who has begun anew since, it was another.
row_was as materialized (
    select
        c.id,
        c.sequence_id,
        c.contact_phone as phone,
        a.own_from,
        j.became,
        j.was ? 'id' as is_anew,
        coalesce(j.was ->> 'id', c.id::text)::uuid as contact_id,
        case when j.was ? 'sequence_stepid' then j.was ->> 'sequence_stepid' else c.sequence_stepid::text end::uuid as then_step,
        case when j.was ? 'status' then j.was ->> 'status' when not j.was ? 'id' then c.status end as then_status,
        case when j.was ? 'next_trigger_time' then j.was ->> 'next_trigger_time' else c.next_trigger_time::text end::timestamptz
        as then_due,
        case when j.was ? 'completed_at' then j.was ->> 'completed_at' else c.completed_at::text end::timestamptz as then_done,
        case when j.was ? 'assigned_device_id' then j.was ->> 'assigned_device_id' else c.assigned_device_id::text end::uuid
        as then_device,
        case when j.was ? 'last_error' then j.was ->> 'last_error' else c.last_error end as then_error,
        case when j.first ? 'next_trigger_time' then j.first ->> 'next_trigger_time' else c.next_trigger_time::text end::timestamptz
        as first_due,
        case when j.first ? 'sequence_stepid' then j.first ->> 'sequence_stepid' else c.sequence_stepid::text end::uuid as next_id,
        least(c.completed_at::timestamptz, j.first_done) as first_done
    from asked as a
    inner join sequence_contacts as c on a.sequence_id = c.sequence_id and a.phone = c.contact_phone
    -- Row by row, since nobody can foretell how many of them have changed.
    left join lateral (
        select true as is_there
        from seqdev.change as ch
        where ch.row_id = c.id and ch.table_name = 'sequence_contacts'
        limit 1
    ) as changed on true
    cross join lateral (
        select
            -- Of several the last in order stays: the first change since, and the last before.
            coalesce(
                jsonb_object_agg(ch.column_name, ch.old_value order by ch.id desc) filter (where ch.changed_at > :'now'::timestamptz), '{}'
            ) as was,
            coalesce(
                jsonb_object_agg(ch.column_name, ch.new_value order by ch.id) filter (where ch.changed_at <= :'now'::timestamptz), '{}'
            ) as became,
            coalesce(jsonb_object_agg(ch.column_name, ch.old_value order by ch.id desc), '{}') as first,
            min(least(ch.old_value::timestamptz, ch.new_value::timestamptz))
            filter (where ch.column_name = 'completed_at') as first_done
        from seqdev.change as ch
        where changed.is_there and ch.row_id = c.id and ch.table_name = 'sequence_contacts'
    ) as j
),

-- When seqdev has made the row, active: with what was done of the step before, or by an enrolment that ran then.
made as materialized (
    select
        n.id,
        min(b.first_done) as at
    from row_was as n
    inner join row_was as b on n.sequence_id = b.sequence_id and n.phone = b.phone and n.id <> b.id
    where
        -- Of what was done, nobody asks when it was made.
        (n.then_status = any(:'done'::text []) and n.then_done <= :'now'::timestamptz) is not true
        and n.contact_id = md5('seqdev contact ' || b.contact_id || ' ' || n.next_id)::uuid
    group by n.id
    union all
    select
        line.id,
        line.at
    from (
        select
            one.id,
            one.at,
            max(one.ends) over (order by one.at, one.id is not null) as ends
        from (
            select
                w.id,
                w.first_due as at,
                null::timestamptz as ends
            from row_was as w
            where
                (w.then_status = any(:'done'::text []) and w.then_done <= :'now'::timestamptz) is not true
                and not w.is_anew
                and isfinite(w.first_due)
            union all
            select
                null as id,
                r.started_at as at,
                r.finished_at as ends
            from seqdev.run as r
            where r.command = 'enroll'
        ) as one
    ) as line
    where line.id is not null and line.at <= line.ends
),

known as materialized (
    select
        w.*,
        coalesce(own.is_there, false) as is_own,
        first.at as made_at
    from row_was as w
    left join (
        select
            made.id,
            min(made.at) as at
        from made
        group by made.id
    ) as first on w.id = first.id
    left join lateral (
        select true as is_there
        from broadcast_messages as m
        where
            (w.then_status = any(:'done'::text []) and w.then_done < w.own_from) is not true
            and m.recipient_phone = w.phone
            and m.id = md5('seqdev message ' || w.contact_id)::uuid
            and m.created_at <= :'now'::timestamptz
    ) as own on true
),

stood as materialized (
    select
        k.*,
        case
            when k.became <> '{}' or k.made_at <= :'now'::timestamptz or k.then_done <= :'now'::timestamptz or k.is_own then true
            when k.made_at > :'now'::timestamptz then false
        end as is_there,
        coalesce(k.then_status = any(:'done'::text []) and k.then_done <= :'now'::timestamptz, false) as is_done,
        coalesce(
            (k.then_status = 'active' and k.then_done is null)
            or (k.then_status = any(:'done'::text []) and k.then_done > :'now'::timestamptz), false
        ) as was_active
    from known as k
),

-- Every row that a message may have belonged to, as it was.
row_then as materialized (
    select
        w.id as message_id,
        r.id,
        r.then_device as assigned_device_id,
        w.id = md5('seqdev message ' || r.contact_id)::uuid as is_own,
        -- Who has begun anew has another row now.
        not r.is_anew
        and coalesce(r.is_there, false)
        and (
            not r.became ? 'assigned_device_id'
            or (r.became ->> 'assigned_device_id')::uuid is not distinct from r.then_device
        ) as is_known,
        w.sequence_stepid is null or r.then_step = w.sequence_stepid as fits
    from written as w
    inner join stood as r on w.sequence_id = r.sequence_id and w.recipient_phone = r.phone
    where r.is_there is not false
),

matched as materialized (
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

compared as materialized (
    select
        m.*,
        -- Whether the last message of all was that of the device assigned; null: nothing tells.
        first_value(case when m.is_known then m.assigned_device_id is not distinct from m.device_id end) over (
            partition by m.sequence_id, m.recipient_phone
            order by m.created_at desc, m.id
        ) as is_settled
    from matched as m
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
                    where used.id = c.device_id and used.user_id <> c.owner_id
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
            when c.is_settled is null then 'not_known'
            when c.is_settled then 'settled'
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
    case when f.is_known then coalesce(a.device_name, left(a.id::text, 0)) end::text as assigned_device,
    case when f.is_known then f.assigned_device_id end as assigned_device_id,
    case when f.is_device_known then coalesce(u.device_name, left(u.id::text, 0)) end::text as used_device,
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
