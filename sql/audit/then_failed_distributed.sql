-- Messages of sequences that had not been sent by an instant: by cause, device and step, on Citus
--
-- That a message had failed is known where a repair has queued it again since, and where the host's table has the
-- column updated_at, which its worker sets when a message fails. Of the others that have failed by now it is not known.
-- A message that has not failed by now had not, unless a repair has queued it again.
--
-- Master of message_was, which tells of the messages of a window how they were.
--
-- Finds the causes of audit/failed.sql, and:
--   not_known  it has failed by now; whether it had by then, nothing tells
--
-- Parameters:
--   now       timestamptz  the instant
--   since     interval     age of the messages that are looked at
--   user      uuid         only messages of this user
--   sequence  uuid         only this sequence
--   device    uuid         only what had been given to this device
--   failed    text[]       values of broadcast_messages.status of a message that will never be sent
--   limit     integer      rows to return; empty: all
-- Gates: gates/causes.sql
-- Row:
--   finding      text         the cause, or not_known
--   messages     integer      messages
--   people       integer      people whose messages these are
--   device       text         what the device that did not send them is called now
--   device_id    uuid         the device that they had been given to by then; null: not known
--   sequence     text         name of the sequence now
--   sequence_id  uuid         the sequence
--   step         integer      day of the step now
--   step_id      uuid         the step; null where the messages do not say it
--   first_at     timestamptz  when the first of them was made
--   last_at      timestamptz  when the last of them was made
--   example      text         the error of the last one, numbers of five digits and more left out; null: not known
--   user_id      uuid         whose messages these are
--   total        integer      rows in all, listed or not
--   found        jsonb        rows in all by finding: number, severity, repair
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '1 day' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?limit} \else \set limit '20' \endif
\if :{?causes} \else \ir ../gates/causes.sql \endif
with cause as materialized (
    select c.*
    from unnest(:'causes'::text [], :'cause_patterns'::text [], :'cause_outlooks'::text []) with ordinality
        as c (name, pattern, outlook, place)
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

failed as materialized (
    select
        m.*,
        case
            when m.has_failed is null then 'not_known'
            else coalesce(told.name, case when m.then_error ~ '\S' then 'other' else 'no_reason' end)
        end as cause,
        case when m.is_device_known then m.device_id end as known_device_id
    from message_was as m
    left join lateral (
        select cause.name
        from cause
        where concat_ws(': ', nullif(m.then_status, 'failed'), m.then_error) ~* cause.pattern
        order by cause.place
        limit 1
    ) as told on true
    where
        m.has_failed is not false
        and m.sequence_id is not null
        and (nullif(:'user', '')::uuid is null or m.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'sequence', '')::uuid is null or m.sequence_id = nullif(:'sequence', '')::uuid)
        and (nullif(:'device', '')::uuid is null or m.device_id = nullif(:'device', '')::uuid)
),

finding as materialized (
    select
        f.cause as kind,
        f.user_id,
        f.known_device_id as device_id,
        f.sequence_id,
        f.sequence_stepid,
        count(*)::integer as messages,
        count(distinct f.recipient_phone)::integer as people,
        min(f.created_at) filter (where isfinite(f.created_at)) as first_at,
        max(f.created_at) filter (where isfinite(f.created_at)) as last_at,
        (array_agg(left(f.then_error, 1000) order by f.created_at desc, f.id) filter (where f.has_failed))[1] as example
    from failed as f
    group by f.cause, f.user_id, f.known_device_id, f.sequence_id, f.sequence_stepid
),

kind as materialized (
    select
        f.kind,
        case f.kind when 'not_known' then 3 else 2 end as severity,
        'see what is open now: seqdev audit failed' as repair
    from finding as f
    group by f.kind
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
    f.messages,
    f.people,
    coalesce(d.device_name, left(d.id::text, 0))::text as device,
    f.device_id,
    coalesce(s.name, left(s.id::text, 0))::text as sequence,
    f.sequence_id,
    st.day_number::integer as step,
    f.sequence_stepid as step_id,
    f.first_at::timestamptz as first_at,
    f.last_at::timestamptz as last_at,
    left(regexp_replace(f.example, '[0-9]{5,}', '#', 'g'), 200) as example,
    f.user_id,
    tally.total,
    tally.found
from finding as f
cross join tally
inner join kind on f.kind = kind.kind
left join user_devices as d on f.device_id = d.id
left join sequences as s on f.sequence_id = s.id
left join sequence_steps as st on f.sequence_stepid = st.id
order by kind.severity, f.messages desc, f.last_at desc nulls last, f.device_id, f.sequence_stepid
limit nullif(:'limit', '')::integer;
