-- Mark rows still to come whose message another processor has written, so that no tick writes a second one
--
-- They get a claim of the instant of that message. The tick that takes the claim over, when the row is due
-- and the claim is old enough, completes the row without a message, and the next step goes on.
--
-- Parameters:
--   now       timestamptz  the instant of the transaction
--   since     interval     age of the messages that are looked at
--   until     timestamptz  only messages made before; empty: all
--   stale     timestamptz  a claim that another processor made later than that is respected
--   user      uuid         only sequences of this user
--   sequence  uuid         only this sequence
--   device    uuid         only what is assigned to this device
-- Row:
--   table_name   text   the table of the row
--   row_id       uuid   the row
--   user_id      uuid   the user of the sequence
--   phone        text   whose row it is
--   sequence     text   name of the sequence
--   from_device  uuid   nothing
--   from_name    text   nothing
--   to_device    uuid   nothing
--   to_name      text   nothing
--   why          text   written_by_other
--   refused      text   claimed: a processor is at it; null where the row changes
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '1 day' \endif
\if :{?until} \else \set until '' \endif
\if :{?stale} \else \set stale 'yesterday' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
with message as materialized (
    select
        c.id as contact_id,
        c.contact_phone,
        m.created_at
    from broadcast_messages as m
    inner join sequence_contacts as c
        on
            m.sequence_id = c.sequence_id
            and m.recipient_phone = c.contact_phone
            and m.sequence_stepid = c.sequence_stepid
    where
        m.created_at >= :'now'::timestamptz - :'since'::interval
        and (nullif(:'until', '')::timestamptz is null or m.created_at < nullif(:'until', '')::timestamptz)
        and c.status = 'active'
        and m.id <> md5('seqdev message ' || c.id)::uuid
),

written as materialized (
    select
        message.contact_id,
        message.contact_phone,
        -- Some hosts have instants without an end.
        least(min(message.created_at)::timestamptz, :'now'::timestamptz) as created_at
    from message
    where
        -- Of an earlier time round, before the person began anew.
        not exists (
            select 1
            from seqdev.change as ch
            where ch.row_id = message.contact_id and ch.column_name = 'id' and ch.changed_at >= message.created_at
        )
    group by message.contact_id, message.contact_phone
)

select
    'sequence_contacts' as table_name,
    sc.id as row_id,
    s.user_id,
    sc.contact_phone::text as phone,
    coalesce(s.name, left(s.id::text, 0))::text as sequence,
    null::uuid as from_device,
    null::text as from_name,
    null::uuid as to_device,
    null::text as to_name,
    'written_by_other' as why,
    case when sc.processing_started_at > :'stale'::timestamptz then 'claimed' end as refused,
    jsonb_build_object(
        'status', sc.status,
        'processing_device_id', sc.processing_device_id,
        'processing_started_at', sc.processing_started_at
    ) as expected,
    jsonb_build_object(
        'processing_device_id', null,
        'processing_started_at', written.created_at
    ) as becomes
from written
inner join sequence_contacts as sc on written.contact_phone = sc.contact_phone and written.contact_id = sc.id
inner join sequences as s on sc.sequence_id = s.id
where
    -- Those with an old claim are taken over without.
    coalesce(sc.processing_started_at > :'stale'::timestamptz, true)
    and (
        nullif(:'user', '')::uuid is null
        or s.user_id = nullif(:'user', '')::uuid
        and coalesce(sc.user_id, s.user_id) = s.user_id
    )
    and (nullif(:'sequence', '')::uuid is null or s.id = nullif(:'sequence', '')::uuid)
    and (nullif(:'device', '')::uuid is null or sc.assigned_device_id = nullif(:'device', '')::uuid)
order by s.user_id, sc.contact_phone, sc.id;
