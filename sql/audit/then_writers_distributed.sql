-- Messages of sequences that seqdev did not make, as the rows of their people stood at an instant, on Citus
--
-- The id of each of seqdev's messages is a function of the row of its person and step. Whether such a row was there,
-- its journal and its own instants tell: see audit/then_contacts.sql.
--
-- Finds:
--   written_twice  seqdev's own message for that person and step existed too: two messages for one step
--   other_writer   the person and step had a row, or the message does not say its step
--   no_contact     no row of that person and step was there
--   not_known      another processor made it; whether the person and step had a row then, nothing tells
--
-- Parameters:
--   now       timestamptz  the instant
--   since     interval     age of the messages that are looked at
--   user      uuid         only messages and sequences of this user
--   sequence  uuid         only this sequence
--   device    uuid         only what had been given to this device
--   done      text[]       values of sequence_contacts.status: the step is done
--   failed    text[]       values of broadcast_messages.status of a message that will never be sent
--   limit     integer      rows to return; empty: all
-- Row:
--   finding      text         written_twice, other_writer, no_contact or not_known
--   at           timestamptz  when the message was made
--   phone        text         whom it went to
--   sequence     text         name of the sequence now
--   sequence_id  uuid         the sequence
--   step         integer      day of the step now; null where the message does not say its step
--   step_id      uuid         the step
--   device       text         what the device of the message is called now
--   device_id    uuid         the device that the message was given to by then; null: not known
--   message_id   uuid         the message
--   user_id      uuid         whose message it is
--   total        integer      rows in all, listed or not
--   found        jsonb        rows in all by finding: number, severity, repair
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '1 day' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?done} \else \set done '{completed,sent,failed}' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?limit} \else \set limit '20' \endif
with kind (kind, severity, repair) as (
    values
        ('written_twice', 1, 'see whether it goes on: seqdev audit writers'),
        ('other_writer', 1, 'see whether it goes on: seqdev audit writers'),
        ('no_contact', 2, 'see whether it goes on: seqdev audit writers'),
        ('not_known', 1, 'see whether it goes on: seqdev audit writers')
),

-- The journal is on the coordinator: what is distributed is read before.
message as materialized (
    select
        m.id,
        m.user_id,
        m.device_id,
        m.sequence_id,
        m.sequence_stepid,
        m.recipient_phone,
        m.created_at,
        m.status,
        m.error_message,
        (to_jsonb(m) ->> 'updated_at')::timestamptz as updated_at
    from broadcast_messages as m
    where
        m.created_at >= :'now'::timestamptz - :'since'::interval
        and m.created_at <= :'now'::timestamptz
),

-- message_was: as in audit/then_failed_distributed.sql
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
                m.updated_at > coalesce(earlier.changed_at, m.created_at::timestamptz)
                and m.updated_at <= :'now'::timestamptz
                then true
        end as has_failed,
        case when later.was ? 'status' then later.was ->> 'status' else m.status end as then_status,
        case when later.was ? 'error_message' then later.was ->> 'error_message' else m.error_message end as then_error
    from message as m
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
),

written as materialized (
    select
        m.*,
        coalesce(s.name, left(s.id::text, 0))::text as sequence_name,
        s.user_id as owner_id
    from message_was as m
    left join sequences as s on m.sequence_id = s.id
    where
        m.sequence_id is not null
        and (
            nullif(:'user', '')::uuid is null
            or m.user_id = nullif(:'user', '')::uuid and coalesce(s.user_id, m.user_id) = m.user_id
        )
        and (nullif(:'sequence', '')::uuid is null or m.sequence_id = nullif(:'sequence', '')::uuid)
        and (nullif(:'device', '')::uuid is null or m.device_id = nullif(:'device', '')::uuid)
),

asked as materialized (
    select distinct
        w.sequence_id,
        w.recipient_phone as phone,
        '-infinity'::timestamptz as own_from
    from written as w
),

row_now as materialized (
    select
        c.id,
        c.sequence_id,
        c.sequence_stepid,
        c.contact_phone,
        c.user_id,
        c.status,
        c.next_trigger_time,
        c.completed_at,
        c.assigned_device_id,
        c.last_error,
        a.own_from
    from sequence_contacts as c
    inner join asked as a on c.contact_phone = a.phone and c.sequence_id = a.sequence_id
),

-- row_was, made, known and stood: as in audit/then_contacts_distributed.sql
-- The row of now, with the old value of each column's first change since. Of who has begun anew since, it was another.
row_was as materialized (
    select
        c.id,
        c.sequence_id,
        c.contact_phone as phone,
        c.own_from,
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
    from row_now as c
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

own_message as materialized (
    select distinct w.id as row_id
    from broadcast_messages as m
    inner join row_was as w on m.recipient_phone = w.phone
    where
        (w.then_status = any(:'done'::text []) and w.then_done < w.own_from) is not true
        and m.id = md5('seqdev message ' || w.contact_id)::uuid
        and m.created_at <= :'now'::timestamptz
),

known as materialized (
    select
        w.*,
        own.row_id is not null as is_own,
        first.at as made_at
    from row_was as w
    left join (
        select
            made.id,
            min(made.at) as at
        from made
        group by made.id
    ) as first on w.id = first.id
    left join own_message as own on w.id = own.row_id
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

-- Phones that rows of people have been taken to another from: whose they were, is looked up no further.
renamed as materialized (
    select ch.old_value as phone
    from seqdev.run as r
    inner join seqdev.change as ch on r.id = ch.run_id
    where
        (r.finished_at <= :'now'::timestamptz) is not true
        and ch.table_name = 'sequence_contacts'
        and ch.column_name = 'contact_phone'
        and ch.changed_at > :'now'::timestamptz
),

rows_of as materialized (
    select
        w.id,
        bool_or(w.id = md5('seqdev message ' || r.contact_id)::uuid) as is_own,
        bool_or(w.sequence_stepid is not null and r.is_own) as has_own,
        bool_or(r.is_there) as has_row,
        bool_or(r.is_there is null) as may_have_row,
        bool_or(c.user_id <> w.user_id) as is_others,
        -- Of an earlier time round, before the person began anew.
        bool_or(
            exists (
                select 1
                from seqdev.change as ch
                where
                    ch.row_id = r.contact_id
                    and ch.column_name = 'id'
                    and ch.changed_at >= w.created_at
                    and ch.changed_at <= :'now'::timestamptz
            )
        ) as is_earlier
    from written as w
    inner join stood as r
        on
            w.sequence_id = r.sequence_id
            and w.recipient_phone = r.phone
            and (w.sequence_stepid is null or w.sequence_stepid = r.then_step)
    inner join row_now as c on r.id = c.id
    where r.is_there is not false
    group by w.id
),

finding as materialized (
    select
        w.*,
        case
            when r.has_own then 'written_twice'
            when r.has_row then 'other_writer'
            when r.may_have_row or w.recipient_phone in (select renamed.phone from renamed) then 'not_known'
            else 'no_contact'
        end as kind
    from written as w
    left join rows_of as r on w.id = r.id
    where
        r.is_own is not true
        and r.is_earlier is not true
        and (nullif(:'user', '')::uuid is null or r.is_others is not true)
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
    case when f.is_device_known then coalesce(d.device_name, left(d.id::text, 0)) end::text as device,
    case when f.is_device_known then f.device_id end as device_id,
    f.id as message_id,
    f.user_id,
    tally.total,
    tally.found
from finding as f
cross join tally
inner join kind on f.kind = kind.kind
left join sequence_steps as st on f.sequence_stepid = st.id
left join user_devices as d on f.device_id = d.id
order by kind.severity, f.created_at desc, f.id
limit nullif(:'limit', '')::integer;
