-- People who are written to, or due, from two devices of one user
--
-- Looks at every message of the window, campaigns included, and at every step that is due. A phone that two
-- users have is two people.
--
-- Finds:
--   written  the messages of the window came from two devices
--   due      what is due now would come from another device than what was written, or from two
--   repaired  a repair that is in effect has moved the person to one device, and no other has written since or is due
--
-- Parameters:
--   now       timestamptz  the instant of the transaction
--   since     interval     age of the messages that are looked at
--   until     timestamptz  only messages made before; empty: all
--   user      uuid         only people of this user
--   sequence  uuid         only people to whom this sequence wrote, or is due
--   device    uuid         only people to whom this device wrote, or is due
--   waiting   text[]       values of sequence_contacts.status: a later step's row, made beforehand
--   failed    text[]       values of broadcast_messages.status of a message that will never be sent
--   limit     integer      rows to return; empty: all
-- Gates: gates/steps.sql
-- Row:
--   finding     text         written, due or repaired
--   state       text         open; repaired: a repair has moved them to one device since; or irreparable: no row is to come
--   phone       text         whom it is about
--   devices     text         the devices, the last one that wrote first: names
--   device_ids  text         the same: ids
--   messages    integer      messages of the window
--   due         integer      steps that are due
--   last_at     timestamptz  the last message of the window
--   user_id     uuid         whose person it is
--   repair      text         what to do about it
--   total       integer      rows in all, listed or not
--   found       jsonb        rows in all by finding: number, severity, repair
--   summary     jsonb        when, where, and what became of it, in the first row: docs/json-fields.md has it
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '1 day' \endif
\if :{?until} \else \set until '' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?limit} \else \set limit '20' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
with kind (kind, severity, repair) as (
    values
        ('written', 2, 'see why: seqdev audit mismatches, seqdev explain PHONE'),
        ('due', 1, 'see which device wrote, why, and the repair that fits: seqdev audit mismatches'),
        ('repaired', 3, 'nothing: the steps to come were assigned since')
),

-- What is due; what no device can send collides with nothing.
due as (
    select
        sc.sequence_id,
        sc.contact_phone,
        sc.assigned_device_id,
        sc.user_id
    from sequence_contacts as sc
    where
        sc.status = 'active'
        and (sc.assigned_device_id is null or sc.assigned_device_id in (select d.id from user_devices as d))
        and sc.next_trigger_time <= :'now'::timestamptz
),

contact as (
    select
        m.user_id,
        m.recipient_phone as phone,
        m.device_id,
        m.sequence_id,
        m.created_at::timestamptz as at
    from broadcast_messages as m
    left join sequences as s on m.sequence_id = s.id
    where
        m.created_at >= :'now'::timestamptz - :'since'::interval
        and (nullif(:'until', '')::timestamptz is null or m.created_at < nullif(:'until', '')::timestamptz)
        and m.status <> all(:'failed'::text [])
        and coalesce(s.user_id, m.user_id) = m.user_id
        and (nullif(:'user', '')::uuid is null or m.user_id = nullif(:'user', '')::uuid)
    union all
    select
        s.user_id,
        sc.contact_phone as phone,
        coalesce(sc.assigned_device_id, l.device_id) as device_id,
        s.id as sequence_id,
        null as at
    from due as sc
    inner join sequences as s on sc.sequence_id = s.id
    left join leads as l
        on sc.assigned_device_id is null and s.user_id = l.user_id and sc.contact_phone = l.phone
    where
        s.id = any(:'active_sequences'::uuid [])
        and coalesce(sc.user_id, s.user_id) = s.user_id
        and coalesce(sc.assigned_device_id, l.device_id) is not null
        and (nullif(:'user', '')::uuid is null or s.user_id = nullif(:'user', '')::uuid)
),

-- A person with each device, where there is more than one.
pair as materialized (
    select p.*
    from (
        select
            c.user_id,
            c.phone,
            c.device_id,
            count(c.at)::integer as messages,
            (count(*) - count(c.at))::integer as due,
            min(c.at) filter (where isfinite(c.at)) as first_at,
            max(c.at) filter (where isfinite(c.at)) as last_at,
            (array_agg(c.sequence_id order by c.at desc nulls last, c.sequence_id))[1] as sequence_id,
            coalesce(bool_or(c.sequence_id = nullif(:'sequence', '')::uuid), false) as is_asked,
            count(*) over (partition by c.user_id, c.phone) as devices
        from contact as c
        group by c.user_id, c.phone, c.device_id
    ) as p
    where p.devices > 1
),

person as materialized (
    select
        case when count(*) filter (where p.messages > 0) > 1 then 'written' else 'due' end as kind,
        p.user_id,
        p.phone,
        sum(p.messages)::integer as messages,
        sum(p.due)::integer as due,
        min(p.first_at) as first_at,
        max(p.last_at) as last_at,
        (array_agg(p.device_id order by p.last_at desc nulls last, p.device_id))[1] as device_id,
        (array_agg(p.sequence_id order by p.last_at desc nulls last, p.device_id))[1] as sequence_id
    from pair as p
    group by p.user_id, p.phone
    having
        (nullif(:'sequence', '')::uuid is null or bool_or(p.is_asked))
        and (nullif(:'device', '')::uuid is null or bool_or(p.device_id = nullif(:'device', '')::uuid))
),

row_there as materialized (
    select
        c.id,
        c.contact_phone,
        s.user_id,
        c.status = 'active' or c.status = any(:'waiting'::text []) as is_to_come
    from sequence_contacts as c
    inner join sequences as s on c.sequence_id = s.id
    where c.contact_phone in (select p.phone from person as p)
),

-- Where a repair has moved each row to, if that is in effect: the last change of its device.
moved as materialized (
    select
        p.user_id,
        p.phone,
        c.id,
        c.is_to_come,
        last.device_id,
        last.changed_at
    from person as p
    inner join row_there as c on p.user_id = c.user_id and p.phone = c.contact_phone
    left join lateral (
        select
            case when r.command ~ '^repair (?!undo)' then ch.new_value end as device_id,
            ch.changed_at
        from seqdev.change as ch
        inner join seqdev.run as r on ch.run_id = r.id
        where
            ch.row_id = c.id
            and ch.table_name = 'sequence_contacts'
            and ch.column_name = 'assigned_device_id'
        order by ch.id desc
        limit 1
    ) as last on true
),

-- Which other devices had written before, and none has since, nor is due to.
rows_of as materialized (
    select
        m.user_id,
        m.phone,
        bool_or(m.is_to_come) as is_to_come,
        bool_or(m.is_repaired) as is_repaired,
        max(m.others_until) filter (where m.is_repaired) as others_until
    from (
        select
            one.user_id,
            one.phone,
            one.id,
            one.is_to_come,
            one.device_id is not null
            and bool_and(
                p.device_id::text = one.device_id
                or (p.due = 0 and coalesce(p.last_at < one.changed_at, true))
            ) as is_repaired,
            max(p.last_at) filter (where p.device_id::text <> one.device_id) as others_until
        from moved as one
        inner join pair as p on one.user_id = p.user_id and one.phone = p.phone
        group by one.user_id, one.phone, one.id, one.is_to_come, one.device_id, one.changed_at
    ) as m
    group by m.user_id, m.phone
),

finding as materialized (
    select
        case when coalesce(rows_of.is_repaired, false) then 'repaired' else p.kind end as kind,
        p.user_id,
        p.phone,
        p.messages,
        p.due,
        p.first_at,
        p.last_at,
        case when rows_of.is_repaired then rows_of.others_until else p.last_at end as happened_at,
        p.device_id,
        p.sequence_id,
        case
            when coalesce(rows_of.is_repaired, false) then 'repaired'
            when p.kind = 'due' then 'open'
            when coalesce(rows_of.is_to_come, false) then 'open'
            else 'irreparable'
        end as state
    from person as p
    left join rows_of on p.user_id = rows_of.user_id and p.phone = rows_of.phone
),

happened as materialized (
    select
        -- What the device of a repair has written since is as it should be.
        f.happened_at as at,
        f.first_at,
        f.device_id,
        f.sequence_id,
        f.state
    from finding as f
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
),

listed as (
    select
        f.*,
        row_number() over () as place
    from (
        select finding.*
        from finding
        inner join kind on finding.kind = kind.kind
        order by kind.severity, finding.last_at desc nulls last, finding.phone, finding.user_id
        limit nullif(:'limit', '')::integer
    ) as f
)

select
    f.kind as finding,
    f.state,
    f.phone::text as phone,
    part.devices,
    part.device_ids,
    f.messages,
    f.due,
    f.last_at,
    f.user_id,
    kind.repair,
    tally.total,
    tally.found,
    case when coalesce(f.place, 1) = 1 then summary.summary end as summary
from summary
cross join tally
-- A row at least: where all is repaired, nothing is listed.
left join listed as f on true
left join kind on f.kind = kind.kind
cross join lateral (
    select
        string_agg(
            case when d.id is null then '(gone)' else coalesce(nullif(btrim(d.device_name), ''), '(no name)') end || ' ' || left(one.device_id::text, 8),
            ', ' order by one.last_at desc nulls last, one.device_id
        ) as devices,
        string_agg(one.device_id::text, ' ' order by one.last_at desc nulls last, one.device_id) as device_ids
    from pair as one
    left join user_devices as d on one.device_id = d.id
    where one.user_id = f.user_id and one.phone = f.phone
) as part
order by f.place;
