-- Messages of sequences that were not sent: by cause, device and step
--
-- The cause is told by the error that the broadcast worker has left: sql/gates/causes.sql.
--
-- Finds:
--   restricted         the device may open no new chats for now (error 463)
--   device_logged_out  the device is no longer logged in, or banned
--   device_offline     the device was not connected
--   expired            the message was too old when its turn came
--   media              the file of the step could not be loaded or sent
--   no_answer          the worker got no answer: the person may have the message
--   no_reason          the worker has given no reason
--   other              another error: see the example
--   content            the worker cannot send what the step holds
--   not_on_whatsapp    the number is none of WhatsApp's
--   cancelled          somebody took the message back
--
-- Parameters:
--   now       timestamptz  the instant of the transaction
--   since     interval     age of the messages that are looked at
--   until     timestamptz  only messages made before; empty: all
--   user      uuid         only messages of this user
--   sequence  uuid         only this sequence
--   device    uuid         only what went to this device
--   failed    text[]       values of broadcast_messages.status of a message that will never be sent
--   limit     integer      rows to return; empty: all
-- Gates: gates/causes.sql, gates/devices.sql of all devices
-- Row:
--   finding      text         the cause
--   state        text         open, or irreparable: no try succeeds until somebody has corrected something
--   messages     integer      messages
--   people       integer      people whose messages these are
--   device       text         name of the device that did not send them
--   device_id    uuid         the device
--   sequence     text         name of the sequence
--   sequence_id  uuid         the sequence
--   step         integer      day of the step
--   step_id      uuid         the step; null where the messages do not say it
--   first_at     timestamptz  when the first of them was made
--   last_at      timestamptz  when the last of them was made
--   example      text         the error of the last one, numbers of five digits and more left out
--   user_id      uuid         whose messages these are
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
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?limit} \else \set limit '20' \endif
\if :{?causes} \else \ir ../gates/causes.sql \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'no' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with kind (kind, severity, repair) as (
    values
        (
            'restricted', 1,
            'let the device rest; its people can be written to from another: seqdev repair device OLD --to NEW, '
            || 'then seqdev repair failed --cause restricted --to NEW'
        ),
        ('device_logged_out', 1, 'pair the device again, then seqdev repair failed; or move its people: seqdev repair device'),
        ('device_offline', 2, 'once the device is online: seqdev repair failed; from another: seqdev repair failed --to NEW'),
        ('expired', 2, 'seqdev repair failed'),
        ('media', 2, 'see that the media_url of the step can be loaded, then: seqdev repair failed'),
        ('no_answer', 2, 'ask the log of the worker: the people may have the message'),
        ('no_reason', 2, 'ask the log of the worker: the people may have the message'),
        ('other', 2, 'read the example, and the log of the worker: the people may have the message'),
        ('content', 2, 'correct the step: the worker cannot send it as it is'),
        ('not_on_whatsapp', 3, 'correct the phone of the leads, if it is wrong'),
        ('cancelled', 3, 'nothing: somebody took them back')
),

gone as materialized (
    select d.id
    from unnest(:'devices'::uuid [], :'is_gone'::boolean []) as d (id, is_gone)
    where d.is_gone
),

cause as materialized (
    select c.*
    from unnest(:'causes'::text [], :'cause_patterns'::text [], :'cause_outlooks'::text []) with ordinality
        as c (name, pattern, outlook, place)
),

unsent as materialized (
    select
        m.id,
        m.user_id,
        m.device_id,
        m.sequence_id,
        m.sequence_stepid,
        m.recipient_phone,
        m.status,
        m.error_message,
        m.created_at
    from broadcast_messages as m
    where
        m.created_at >= :'now'::timestamptz - :'since'::interval
        and (nullif(:'until', '')::timestamptz is null or m.created_at < nullif(:'until', '')::timestamptz)
        and m.status = any(:'failed'::text [])
        and m.sequence_id is not null
        and (nullif(:'user', '')::uuid is null or m.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'sequence', '')::uuid is null or m.sequence_id = nullif(:'sequence', '')::uuid)
        and (nullif(:'device', '')::uuid is null or m.device_id = nullif(:'device', '')::uuid)
),

failed as materialized (
    select
        m.*,
        coalesce(told.name, case when m.error_message ~ '\S' then 'other' else 'no_reason' end) as cause,
        coalesce(told.outlook, 'unsure') as outlook
    from unsent as m
    left join lateral (
        select
            cause.name,
            cause.outlook
        from cause
        where concat_ws(': ', nullif(m.status, 'failed'), m.error_message) ~* cause.pattern
        order by cause.place
        limit 1
    ) as told on true
),

finding as materialized (
    select
        f.cause as kind,
        case when f.outlook = 'never' then 'irreparable' else 'open' end as state,
        f.user_id,
        f.device_id,
        f.sequence_id,
        f.sequence_stepid,
        count(*)::integer as messages,
        count(distinct f.recipient_phone)::integer as people,
        min(f.created_at) filter (where isfinite(f.created_at)) as first_at,
        max(f.created_at) filter (where isfinite(f.created_at)) as last_at,
        (array_agg(left(f.error_message, 1000) order by f.created_at desc, f.id))[1] as example
    from failed as f
    group by f.cause, f.outlook, f.user_id, f.device_id, f.sequence_id, f.sequence_stepid
),

-- Those that a repair has queued again, and that have not failed since, are no findings any more.
again as materialized (
    select distinct ch.row_id as id
    from seqdev.run as r
    inner join seqdev.change as ch on r.id = ch.run_id
    where
        r.started_at >= :'now'::timestamptz - :'since'::interval
        and r.command = 'repair failed'
        and ch.table_name = 'broadcast_messages'
        and ch.column_name = 'status'
),

happened as materialized (
    select
        case when isfinite(f.created_at) then f.created_at::timestamptz end as at,
        null::timestamptz as first_at,
        f.device_id,
        f.sequence_id,
        case when f.outlook = 'never' then 'irreparable' else 'open' end as state
    from failed as f
    union all
    select
        case when isfinite(m.created_at) then m.created_at::timestamptz end as at,
        null::timestamptz as first_at,
        m.device_id,
        m.sequence_id,
        'repaired' as state
    from again
    inner join broadcast_messages as m on again.id = m.id
    where
        m.created_at >= :'now'::timestamptz - :'since'::interval
        and (nullif(:'until', '')::timestamptz is null or m.created_at < nullif(:'until', '')::timestamptz)
        and m.status <> all(:'failed'::text [])
        and m.sequence_id is not null
        and (nullif(:'user', '')::uuid is null or m.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'sequence', '')::uuid is null or m.sequence_id = nullif(:'sequence', '')::uuid)
        and (nullif(:'device', '')::uuid is null or m.device_id = nullif(:'device', '')::uuid)
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
        order by
            kind.severity, finding.messages desc, finding.last_at desc nulls last, finding.device_id,
            finding.sequence_stepid
        limit nullif(:'limit', '')::integer
    ) as f
)

select
    f.kind as finding,
    f.state,
    f.messages,
    f.people,
    coalesce(d.device_name, left(d.id::text, 0))::text as device,
    f.device_id,
    coalesce(s.name, left(s.id::text, 0))::text as sequence,
    f.sequence_id,
    st.day_number as step,
    f.sequence_stepid as step_id,
    f.first_at::timestamptz as first_at,
    f.last_at::timestamptz as last_at,
    left(regexp_replace(f.example, '[0-9]{5,}', '#', 'g'), 200) as example,
    f.user_id,
    case
        when f.state = 'open' and f.device_id in (select gone.id from gone)
            then format(
                'the device does not come back: seqdev repair device %1$s --spread, then seqdev repair failed --device %1$s '
                '--to NEW', f.device_id
            )
        else kind.repair
    end as repair,
    tally.total,
    tally.found,
    case when coalesce(f.place, 1) = 1 then summary.summary end as summary
from summary
cross join tally
-- A row at least: where all is repaired, nothing is listed.
left join listed as f on true
left join kind on f.kind = kind.kind
left join user_devices as d on f.device_id = d.id
left join sequences as s on f.sequence_id = s.id
left join sequence_steps as st on f.sequence_stepid = st.id
order by f.place;
