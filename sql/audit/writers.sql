-- Messages of sequences that seqdev did not make: a second processor is alive
--
-- The id of each of seqdev's messages is a function of the row of its person and step. A message of a sequence
-- with another id was made by somebody else.
--
-- Finds:
--   written_twice  seqdev's own message for that person and step exists too: two messages for one step
--   other_writer   the person and step have a row, or the message does not say its step
--   no_contact     no row of that person and step
--
-- Parameters:
--   now       timestamptz  the instant of the transaction
--   since     interval     age of the messages that are looked at
--   until     timestamptz  only messages made before; empty: all
--   user      uuid         only messages and sequences of this user
--   sequence  uuid         only this sequence
--   device    uuid         only what went to this device
--   limit     integer      rows to return; empty: all
-- Row:
--   finding      text         written_twice, other_writer or no_contact
--   at           timestamptz  when the message was made
--   phone        text         whom it went to
--   sequence     text         name of the sequence
--   sequence_id  uuid         the sequence
--   step         integer      day of the step; null where the message does not say its step
--   step_id      uuid         the step
--   device       text         name of the device that it went to
--   device_id    uuid         the device
--   state        text         open: the row still stands, or the message waits in the queue; repaired; or irreparable
--   status       text         of the message
--   message_id   uuid         the message
--   user_id      uuid         whose message it is
--   repair       text         what to do about it
--   total        integer      rows in all, listed or not
--   found        jsonb        rows in all by finding: number, severity, repair
--   summary      jsonb        when, where, and what became of it, in the first row: docs/json-fields.md has it
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '1 day' \endif
\if :{?until} \else \set until '' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?limit} \else \set limit '20' \endif
with kind (kind, severity, repair) as (
    values
        ('written_twice', 1, 'stop the other processor: people get messages twice'),
        ('other_writer', 1, 'stop the other processor, and look at what it left: seqdev audit contacts'),
        ('no_contact', 2, 'find out who writes to people that are not enrolled')
),

-- Each message of the window with the rows that it may belong to.
written as materialized (
    select
        m.id,
        m.created_at,
        m.recipient_phone,
        m.sequence_id,
        m.sequence_stepid,
        m.device_id,
        m.status,
        m.user_id,
        coalesce(s.name, left(s.id::text, 0))::text as sequence_name,
        sc.contact_ids,
        sc.has_own,
        sc.is_others
    from broadcast_messages as m
    left join sequences as s on m.sequence_id = s.id
    left join lateral (
        select
            array_agg(c.id) as contact_ids,
            coalesce(bool_or(m.id = md5('seqdev message ' || c.id)::uuid), false) as is_own,
            coalesce(bool_or(m.sequence_stepid is not null and own.id is not null), false) as has_own,
            coalesce(bool_or(c.user_id <> m.user_id), false) as is_others
        from sequence_contacts as c
        left join broadcast_messages as own
            on c.contact_phone = own.recipient_phone and own.id = md5('seqdev message ' || c.id)::uuid
        where
            c.sequence_id = m.sequence_id
            and c.contact_phone = m.recipient_phone
            and (m.sequence_stepid is null or c.sequence_stepid = m.sequence_stepid)
    ) as sc on true
    where
        m.created_at >= :'now'::timestamptz - :'since'::interval
        and (nullif(:'until', '')::timestamptz is null or m.created_at < nullif(:'until', '')::timestamptz)
        and m.sequence_id is not null
        and not sc.is_own
        and (
            nullif(:'user', '')::uuid is null
            or m.user_id = nullif(:'user', '')::uuid
            and coalesce(s.user_id, m.user_id) = m.user_id
            and not sc.is_others
        )
        and (nullif(:'sequence', '')::uuid is null or m.sequence_id = nullif(:'sequence', '')::uuid)
        and (nullif(:'device', '')::uuid is null or m.device_id = nullif(:'device', '')::uuid)
),

finding as materialized (
    select
        case
            when w.has_own then 'written_twice'
            when w.contact_ids is not null then 'other_writer'
            else 'no_contact'
        end as kind,
        w.id,
        w.created_at,
        w.recipient_phone,
        w.sequence_id,
        w.sequence_stepid,
        w.device_id,
        w.status,
        w.user_id,
        w.sequence_name,
        w.contact_ids
    from written as w
    where
        -- Of an earlier time round, before the person began anew.
        not exists (
            select 1
            from unnest(w.contact_ids) as c (id)
            inner join seqdev.change as ch on c.id = ch.row_id
            where ch.column_name = 'id' and ch.changed_at >= w.created_at
        )
),

standing as materialized (
    select c.id
    from sequence_contacts as c
    where c.status = 'active' and c.contact_phone in (select f.recipient_phone from finding as f)
),

-- Whether anything can still be done about it.
stated as materialized (
    select
        f.*,
        case
            when f.kind = 'written_twice' then case when f.status = 'pending' then 'open' else 'irreparable' end
            when row_there.stands then 'open'
            when row_there.is_repaired then 'repaired'
            else 'irreparable'
        end as state
    from finding as f
    cross join lateral (
        select
            coalesce(bool_or(c.id in (select standing.id from standing)), false) as stands,
            coalesce(bool_or(last.command = 'repair written-by-other'), false) as is_repaired
        from unnest(f.contact_ids) as c (id)
        left join lateral (
            -- What is in effect: the last change of its status.
            select r.command
            from seqdev.change as ch
            inner join seqdev.run as r on ch.run_id = r.id
            where
                ch.row_id = c.id
                and ch.table_name = 'sequence_contacts'
                and ch.column_name = 'status'
                and ch.changed_at > f.created_at
            order by ch.id desc
            limit 1
        ) as last on true
    ) as row_there
),

happened as materialized (
    select
        case when isfinite(s.created_at) then s.created_at::timestamptz end as at,
        null::timestamptz as first_at,
        s.device_id,
        s.sequence_id,
        s.state
    from stated as s
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
    f.kind as finding,
    case when isfinite(f.created_at) then f.created_at::timestamptz end as at,
    f.recipient_phone::text as phone,
    f.sequence_name::text as sequence,
    f.sequence_id,
    st.day_number::integer as step,
    f.sequence_stepid as step_id,
    coalesce(d.device_name, left(d.id::text, 0))::text as device,
    f.device_id,
    f.state,
    f.status::text as status,
    f.id as message_id,
    f.user_id,
    kind.repair,
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
        select stated.*
        from stated
        inner join kind on stated.kind = kind.kind
        order by kind.severity, stated.created_at desc, stated.id
        limit nullif(:'limit', '')::integer
    ) as listed
) as f on true
left join kind on f.kind = kind.kind
left join sequence_steps as st on f.sequence_stepid = st.id
left join user_devices as d on f.device_id = d.id
order by f.place;
