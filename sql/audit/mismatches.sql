-- Messages from another device than the one assigned, and why
--
-- A message belongs to the row of its person and step. Where it does not say its step, it matches if any row
-- of the person in the sequence is assigned to the device that it went to; else the row done last is compared.
--
-- The cause is the first that holds:
--   other_users_device      the device that wrote belongs to another user than the sequence
--   assignment_missing      no device is assigned
--   assigned_since          the device was the assigned one then; seqdev's journal has the change
--   device_deleted          the assigned device does not exist
--   other_users_assignment  the assigned device belongs to another user than the sequence
--   used_device_deleted     the device that wrote does not exist
--   lead_reowned            the device that wrote owns the lead now: the writer followed the lead, not the row
--   fallback_used           seqdev wrote it, or the assigned device is not online now: another stood in
--   foreign_writer          another processor wrote it, although the assigned device is online
--
-- A mismatch is repaired, and no longer open, once a repair has assigned a row of the person in the sequence since,
-- and was not undone: the journal has it. Such are counted as repaired, whatever the cause.
--
-- It is settled, whatever the cause, once the last message to the person in the sequence came from the assigned device:
-- of what is to come repair/assigned.sql would change nothing. Who wrote besides seqdev, audit/writers.sql finds.
-- Where a later message has another cause, for which that repair is not, the row has the advice of that one.
--
-- Master of written and judged, which repair/assigned.sql repeats.
--
-- Parameters:
--   now       timestamptz  the instant of the transaction
--   since     interval     age of the messages that are looked at
--   until     timestamptz  only messages made before; empty: all
--   user      uuid         only sequences of this user
--   sequence  uuid         only this sequence
--   device    uuid         only what was assigned to this device, or written from it
--   matches   boolean      list the messages that match too
--   waiting   text[]       values of sequence_contacts.status: a later step's row, made beforehand
--   limit     integer      rows to return; empty: all
-- Gates: gates/devices.sql of all devices, or the user's
-- Row:
--   verdict             text         MATCH or MISMATCH
--   cause               text         why; null for a match
--   state               text         open, repaired, settled, or irreparable: nothing is to come that could be; null for a match
--   at                  timestamptz  when the message was made
--   phone               text         whom it went to
--   sequence            text         name of the sequence
--   sequence_id         uuid         the sequence
--   step                integer      day of the step; null where the message does not say its step
--   step_id             uuid         the step
--   assigned_device     text         name of the assigned device
--   assigned_device_id  uuid         the assigned device
--   used_device         text         name of the device that wrote
--   used_device_id      uuid         the device that wrote
--   writer              text         seqdev, or other: another processor made the message
--   contact_id          uuid         the row of the person and step
--   message_id          uuid         the message
--   repair              text         what to do about it
--   total               integer      rows in all, listed or not
--   found               jsonb        open mismatches by cause, the repaired and the settled: number, severity, repair
--   summary             jsonb        when, where, and what became of it, in the first row: docs/json-fields.md has it
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '1 hour' \endif
\if :{?until} \else \set until '' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?matches} \else \set matches 'false' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?limit} \else \set limit '20' \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'no' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with kind (kind, severity, repair) as (
    values
        ('other_users_device', 1, 'find the writer: seqdev audit writers'),
        ('assignment_missing', 2, 'seqdev repair missing'),
        ('assigned_since', 3, 'nothing: it was right when it was written'),
        ('device_deleted', 1, 'seqdev repair device DEVICE --spread'),
        ('other_users_assignment', 1, 'seqdev repair assigned'),
        ('used_device_deleted', 3, 'nothing: the next step goes to the assigned device'),
        ('lead_reowned', 2, 'seqdev repair assigned'),
        ('fallback_used', 2, 'seqdev repair assigned; or nothing, if the assigned device comes back'),
        ('foreign_writer', 1, 'stop the writer: seqdev audit writers'),
        ('repaired', 3, 'nothing: the steps to come were assigned since'),
        ('settled', 3, 'nothing: the assigned device has written last since')
),

online as materialized (
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
        first_value(coalesce(w.assigned_device_id = w.device_id, false)) over newest as is_settled,
        first_value(w.message_id) over newest as last_message_id
    from written as w
    window newest as (partition by w.sequence_id, w.contact_phone order by w.created_at desc, w.message_id)
),

looked_at as materialized (
    select w.*
    from placed as w
    where
        (nullif(:'until', '')::timestamptz is null or w.created_at < nullif(:'until', '')::timestamptz)
        and (:'matches'::boolean or w.assigned_device_id is distinct from w.device_id)
        and (
            nullif(:'device', '')::uuid is null
            or w.assigned_device_id = nullif(:'device', '')::uuid
            or w.device_id = nullif(:'device', '')::uuid
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
),

told as materialized (
    select
        j.*,
        case
            when j.cause = 'assigned_since' then j.cause
            when j.is_repaired then 'repaired'
            when j.is_settled and j.cause is not null then 'settled'
            else j.cause
        end as kind
    from judged as j
),

-- Whose next message is still to come.
to_come as materialized (
    select distinct
        c.sequence_id,
        c.contact_phone
    from sequence_contacts as c
    where
        (c.status = 'active' or c.status = any(:'waiting'::text []))
        and c.contact_phone in (
            select t.contact_phone
            from told as t
            where t.kind is not null
        )
),

finding as materialized (
    select
        t.*,
        case
            when t.kind is null then null
            when t.kind in ('repaired', 'settled') then t.kind
            when t.kind in ('assigned_since', 'used_device_deleted') or next_row.contact_phone is null then 'irreparable'
            else 'open'
        end as state
    from told as t
    left join to_come as next_row on t.sequence_id = next_row.sequence_id and t.contact_phone = next_row.contact_phone
),

happened as materialized (
    select
        case when isfinite(f.created_at) then f.created_at::timestamptz end as at,
        null::timestamptz as first_at,
        f.device_id,
        f.sequence_id,
        f.state
    from finding as f
    where f.kind is not null
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
),

-- worst, bucket, summary: as in audit/contacts.sql
worst as (
    select
        coalesce(d.device_name, left(d.id::text, 0))::text as device,
        w.device_id,
        coalesce(s.name, left(s.id::text, 0))::text as sequence,
        w.sequence_id,
        w.number
    from (
        select
            h.device_id,
            h.sequence_id,
            count(*) as number
        from happened as h
        where h.state not in ('repaired', 'settled')
        group by h.device_id, h.sequence_id
        order by number desc, h.device_id, h.sequence_id
        limit 5
    ) as w
    left join user_devices as d on w.device_id = d.id
    left join sequences as s on w.sequence_id = s.id
),

bucket as (
    select
        n.place,
        coalesce(b.number, 0) as number
    from generate_series(1, 30) as n (place)
    left join (
        select
            least(
                width_bucket(
                    extract(epoch from h.at),
                    extract(epoch from :'now'::timestamptz - :'since'::interval),
                    extract(epoch from least(nullif(:'until', '')::timestamptz, :'now'::timestamptz)),
                    30
                ), 30
            ) as place,
            count(*) as number
        from happened as h
        where h.at <= :'now'::timestamptz
        group by 1
    ) as b on n.place = b.place
),

summary as (
    select
        jsonb_build_object(
            'seconds', extract(
                epoch from least(nullif(:'until', '')::timestamptz, :'now'::timestamptz) - (:'now'::timestamptz - :'since'::interval)
            ),
            'until', nullif(least(nullif(:'until', '')::timestamptz, :'now'::timestamptz), :'now'::timestamptz),
            'first_at', min(coalesce(h.first_at, h.at)),
            'last_at', max(h.at) filter (where h.at <= :'now'::timestamptz),
            'per_minute', round(recent.number / 5.0, 1),
            'still_happens', recent.number > 0,
            'open', count(*) filter (where h.state = 'open'),
            'repaired', count(*) filter (where h.state = 'repaired'),
            'settled', count(*) filter (where h.state = 'settled'),
            'irreparable', count(*) filter (where h.state = 'irreparable'),
            'buckets', (
                select jsonb_agg(b.number order by b.place)
                from bucket as b
            ),
            'worst', (
                select coalesce(jsonb_agg(to_jsonb(w) order by w.number desc, w.device_id, w.sequence_id), '[]')
                from worst as w
            )
        ) as summary
    from (
        select count(*) as number
        from happened as r
        where
            r.at > least(nullif(:'until', '')::timestamptz, :'now'::timestamptz) - interval '5 minutes'
            and r.at <= least(nullif(:'until', '')::timestamptz, :'now'::timestamptz)
    ) as recent
    left join happened as h on true
    group by recent.number
)

select
    case when f.kind is null then 'MATCH' else 'MISMATCH' end as verdict,
    f.cause,
    f.state,
    case when isfinite(f.created_at) then f.created_at::timestamptz end as at,
    f.contact_phone::text as phone,
    f.sequence_name::text as sequence,
    f.sequence_id,
    st.day_number::integer as step,
    f.sequence_stepid as step_id,
    f.assigned_name::text as assigned_device,
    f.assigned_device_id,
    f.used_name::text as used_device,
    f.device_id as used_device_id,
    case when f.is_own then 'seqdev' else 'other' end as writer,
    f.contact_id,
    f.message_id,
    case
        when f.kind = 'fallback_used' and f.assigned_device_id in (select gone.id from gone)
            then 'seqdev repair assigned'
        -- The repair goes by the last message alone, and would leave the person alone.
        when kind.repair like 'seqdev repair assigned%' and last.repair not like 'seqdev repair assigned%' then last.repair
        else replace(kind.repair, 'DEVICE', coalesce(f.assigned_device_id::text, 'DEVICE'))
    end as repair,
    tally.total,
    tally.found,
    case when coalesce(f.place, 1) = 1 then summary.summary end as summary
from summary
cross join tally
-- A row at least: where all is repaired, nothing is listed.
left join (
    select
        listed.*,
        row_number() over () as place
    from (
        select finding.*
        from finding
        -- What can be repaired first.
        order by
            finding.kind is null, finding.state <> 'open', finding.kind in ('repaired', 'settled'), finding.created_at desc,
            finding.message_id
        limit nullif(:'limit', '')::integer
    ) as listed
) as f on true
left join kind on f.kind = kind.kind
left join judged as newest on f.last_message_id = newest.message_id
left join kind as last on newest.cause = last.kind
left join sequence_steps as st on f.sequence_stepid = st.id
order by f.place;
