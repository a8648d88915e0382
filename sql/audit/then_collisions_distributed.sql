-- People whom two devices of one user had written to by an instant, on Citus
--
-- The messages of the window up to then, campaigns included, but for those that had failed, with the devices that they
-- had been given to. What was due besides, and from which device, is not looked at: see audit/collisions.sql.
--
-- Finds:
--   written    the messages came from two devices
--   repaired   so they did, and a repair that was in effect had moved the person to one, and no other had written since
--   not_known  one or the other, or neither: by messages of which it is not known whether they had failed, or their device
--
-- Parameters:
--   now       timestamptz  the instant
--   since     interval     age of the messages that are looked at
--   user      uuid         only people of this user
--   sequence  uuid         only people to whom this sequence had written
--   device    uuid         only people to whom this device had written
--   failed    text[]       values of broadcast_messages.status of a message that will never be sent
--   limit     integer      rows to return; empty: all
-- Row:
--   finding     text         written, repaired or not_known
--   phone       text         whom it is about
--   devices     text         the devices of which it is known, the last one that wrote first: what they are called now
--   device_ids  text         the same: ids
--   messages    integer      messages of which it is known
--   last_at     timestamptz  the last of these
--   user_id     uuid         whose person it is
--   total       integer      rows in all, listed or not
--   found       jsonb        rows in all by finding: number, severity, repair
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '1 day' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?limit} \else \set limit '20' \endif
with kind (kind, severity, repair) as (
    values
        ('written', 2, 'see what is open now: seqdev audit collisions'),
        ('repaired', 3, 'nothing: the steps to come had been assigned since'),
        ('not_known', 3, 'see how it is now: seqdev audit collisions')
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

counted as materialized (
    select
        m.*,
        m.has_failed is not null and m.is_device_known as is_known
    from message_was as m
    left join sequences as s on m.sequence_id = s.id
    where
        m.has_failed is not true
        and coalesce(s.user_id, m.user_id) = m.user_id
        and (nullif(:'user', '')::uuid is null or m.user_id = nullif(:'user', '')::uuid)
),

pair as materialized (
    select
        c.user_id,
        c.recipient_phone as phone,
        c.device_id,
        count(*)::integer as messages,
        max(c.created_at::timestamptz) filter (where isfinite(c.created_at)) as last_at
    from counted as c
    where c.is_known
    group by c.user_id, c.recipient_phone, c.device_id
),

person as materialized (
    select
        c.user_id,
        c.recipient_phone as phone,
        count(distinct c.device_id) filter (where c.is_known) as devices,
        bool_or(not c.is_known) as is_unsure,
        max(c.created_at::timestamptz) filter (where c.is_known and isfinite(c.created_at)) as last_at
    from counted as c
    group by c.user_id, c.recipient_phone
    having
        (
            count(distinct c.device_id) filter (where c.is_known) > 1
            or bool_or(not c.is_known) and (count(distinct c.device_id) > 1 or count(*) > 1 and bool_or(not c.is_device_known))
        )
        and (
            nullif(:'sequence', '')::uuid is null
            or bool_or(c.sequence_id = nullif(:'sequence', '')::uuid)
        )
        and (
            nullif(:'device', '')::uuid is null
            or bool_or(c.device_id = nullif(:'device', '')::uuid)
        )
),

row_now as materialized (
    select
        c.id,
        c.contact_phone,
        s.user_id
    from sequence_contacts as c
    inner join sequences as s on c.sequence_id = s.id
    inner join person as p on c.contact_phone = p.phone and s.user_id = p.user_id
),

-- Where a repair had moved each row to, if that was in effect: the last change of its device by then.
moved as materialized (
    select
        p.user_id,
        p.phone,
        c.id,
        last.is_anew,
        case when last.command ~ '^repair (?!undo)' then last.device_id end as device_id,
        last.changed_at
    from person as p
    inner join row_now as c on p.user_id = c.user_id and p.phone = c.contact_phone
    cross join lateral (
        select
            (array_agg(ch.changed_at order by ch.id desc) filter (where ch.changed_at <= :'now'::timestamptz))[1] as changed_at,
            (array_agg(ch.new_value order by ch.id desc) filter (where ch.changed_at <= :'now'::timestamptz))[1] as device_id,
            (array_agg(r.command order by ch.id desc) filter (where ch.changed_at <= :'now'::timestamptz))[1] as command,
            bool_or(ch.column_name = 'id') as is_anew
        from seqdev.change as ch
        inner join seqdev.run as r on ch.run_id = r.id
        where
            ch.row_id = c.id
            and ch.table_name = 'sequence_contacts'
            and (ch.column_name = 'assigned_device_id' or ch.column_name = 'id' and ch.changed_at > :'now'::timestamptz)
    ) as last
),

-- Whether another device had written since: by the messages of which it is known, and by all of them.
rows_of as materialized (
    select
        m.user_id,
        m.phone,
        bool_or(m.is_repaired) as is_repaired,
        bool_or(m.is_repaired_at_least) as is_repaired_at_least,
        bool_or(m.is_anew) as is_anew
    from (
        select
            one.user_id,
            one.phone,
            one.id,
            one.is_anew,
            one.device_id is not null
            and coalesce(
                bool_and(c.device_id::text = one.device_id or c.created_at::timestamptz < one.changed_at) filter (where c.is_known), true
            ) as is_repaired,
            one.device_id is not null
            and bool_and(
                c.is_device_known and c.device_id::text = one.device_id or c.created_at::timestamptz < one.changed_at
            ) as is_repaired_at_least
        from moved as one
        inner join counted as c on one.user_id = c.user_id and one.phone = c.recipient_phone
        group by one.user_id, one.phone, one.id, one.is_anew, one.device_id, one.changed_at
    ) as m
    group by m.user_id, m.phone
),

finding as materialized (
    select
        case
            when p.devices < 2 or r.is_anew then 'not_known'
            when coalesce(r.is_repaired, false) <> coalesce(r.is_repaired_at_least, false) then 'not_known'
            when r.is_repaired then 'repaired'
            else 'written'
        end as kind,
        p.user_id,
        p.phone,
        p.last_at
    from person as p
    left join rows_of as r on p.user_id = r.user_id and p.phone = r.phone
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
    f.phone::text as phone,
    part.devices,
    part.device_ids,
    coalesce(part.messages, 0)::integer as messages,
    f.last_at,
    f.user_id,
    tally.total,
    tally.found
from finding as f
cross join tally
inner join kind on f.kind = kind.kind
cross join lateral (
    select
        coalesce(
            string_agg(
                case when d.id is null then '(gone)' else coalesce(nullif(btrim(d.device_name), ''), '(no name)') end || ' ' || left(one.device_id::text, 8),
                ', ' order by one.last_at desc nulls last, one.device_id
            ), ''
        ) as devices,
        coalesce(string_agg(one.device_id::text, ' ' order by one.last_at desc nulls last, one.device_id), '') as device_ids,
        sum(one.messages) as messages
    from pair as one
    left join user_devices as d on one.device_id = d.id
    where one.user_id = f.user_id and one.phone = f.phone
) as part
order by kind.severity, f.last_at desc nulls last, f.phone, f.user_id
limit nullif(:'limit', '')::integer;
