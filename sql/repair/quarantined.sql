-- Make contacts active again that ticks have quarantined, because the database refused them
--
-- For when the cause is corrected: they are due at once. Whom the database still refuses is quarantined again. Where
-- another processor has written the message of that person and step meanwhile, the row gets a claim of that instant
-- as well: the tick that takes it over completes it without a second message.
--
-- Parameters:
--   now       timestamptz  the instant of the transaction
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
--   why          text   the reason for which it was quarantined
--   refused      text   nothing
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
with found as materialized (
    select
        sc.id,
        sc.sequence_id,
        sc.contact_phone,
        sc.sequence_stepid,
        sc.status,
        sc.last_error,
        sc.next_trigger_time,
        s.user_id,
        coalesce(s.name, left(s.id::text, 0))::text as name
    from sequence_contacts as sc
    left join sequences as s on sc.sequence_id = s.id
    where
        sc.status = 'set_aside'
        and (
            nullif(:'user', '')::uuid is null
            or s.user_id = nullif(:'user', '')::uuid
            and coalesce(sc.user_id, s.user_id) = s.user_id
        )
        and (nullif(:'sequence', '')::uuid is null or s.id = nullif(:'sequence', '')::uuid)
        and (nullif(:'device', '')::uuid is null or sc.assigned_device_id = nullif(:'device', '')::uuid)
),

message as materialized (
    select
        found.id as contact_id,
        m.created_at
    from found
    inner join broadcast_messages as m
        on
            found.contact_phone = m.recipient_phone
            and found.sequence_id = m.sequence_id
            and coalesce(found.sequence_stepid = m.sequence_stepid, found.next_trigger_time <= m.created_at)
            and m.id <> md5('seqdev message ' || found.id)::uuid
),

-- written: as in repair/stranded.sql
written as materialized (
    select
        message.contact_id,
        min(message.created_at) as created_at
    from message
    where
        -- Of an earlier time round, before the person began anew.
        not exists (
            select 1
            from seqdev.change as ch
            where ch.row_id = message.contact_id and ch.column_name = 'id' and ch.changed_at >= message.created_at
        )
    group by message.contact_id
)

select
    'sequence_contacts' as table_name,
    found.id as row_id,
    found.user_id,
    found.contact_phone::text as phone,
    found.name::text as sequence,
    null::uuid as from_device,
    null::text as from_name,
    null::uuid as to_device,
    null::text as to_name,
    coalesce(found.last_error, 'quarantined')::text as why,
    null::text as refused,
    jsonb_build_object('status', found.status, 'last_error', found.last_error) as expected,
    '{"status": "active", "last_error": null}'::jsonb || case
        when written.contact_id is null then '{}'
        else jsonb_build_object('processing_started_at', least(written.created_at::timestamptz, :'now'::timestamptz))
    end as becomes
from found
left join written on found.id = written.contact_id
order by found.user_id, found.contact_phone, found.id;
