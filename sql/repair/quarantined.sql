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
select
    'sequence_contacts' as table_name,
    sc.id as row_id,
    s.user_id,
    sc.contact_phone::text as phone,
    s.name::text as sequence,
    null::uuid as from_device,
    null::text as from_name,
    null::uuid as to_device,
    null::text as to_name,
    coalesce(sc.last_error, 'quarantined')::text as why,
    null::text as refused,
    jsonb_build_object('status', sc.status, 'last_error', sc.last_error) as expected,
    '{"status": "active", "last_error": null}'::jsonb || case
        when written.is_there then jsonb_build_object(
            'processing_started_at', least(written.created_at::timestamptz, :'now'::timestamptz)
        )
        else '{}'
    end as becomes
from sequence_contacts as sc
left join sequences as s on sc.sequence_id = s.id
-- written: as in repair/stranded.sql
left join lateral (
    select
        true as is_there,
        m.created_at
    from broadcast_messages as m
    where
        m.recipient_phone = sc.contact_phone
        and m.sequence_id = sc.sequence_id
        and coalesce(m.sequence_stepid = sc.sequence_stepid, m.created_at >= sc.next_trigger_time)
        and m.id <> md5('seqdev message ' || sc.id)::uuid
        -- Of an earlier time round, before the person began anew.
        and not exists (
            select 1
            from seqdev.change as ch
            where ch.row_id = sc.id and ch.column_name = 'id' and ch.changed_at >= m.created_at
        )
    limit 1
) as written on true
where
    sc.status = 'set_aside'
    and (
        nullif(:'user', '')::uuid is null
        or s.user_id = nullif(:'user', '')::uuid
        and coalesce(sc.user_id, s.user_id) = s.user_id
    )
    and (nullif(:'sequence', '')::uuid is null or s.id = nullif(:'sequence', '')::uuid)
    and (nullif(:'device', '')::uuid is null or sc.assigned_device_id = nullif(:'device', '')::uuid)
order by s.user_id, sc.contact_phone, sc.id;
