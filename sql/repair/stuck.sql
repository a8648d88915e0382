-- Release the claims that a processor has left behind on rows still to come
--
-- The instant of the claim stays on the row: whoever takes it over looks for the message that the processor may have
-- written before it died. Of a claim without an instant it is known only that the row was due.
--
-- Parameters:
--   stale     timestamptz  a claim that another processor made later than that is respected
--   user      uuid         only sequences of this user
--   sequence  uuid         only this sequence
--   device    uuid         only claims of this device
-- Row:
--   table_name   text   the table of the row
--   row_id       uuid   the row
--   user_id      uuid   the user of the sequence
--   phone        text   whose row it is
--   sequence     text   name of the sequence
--   from_device  uuid   the device that the claim names
--   from_name    text   its name
--   to_device    uuid   nothing
--   to_name      text   nothing
--   why          text   claim_expired, or claim_undated: nobody wrote since when; see that no processor is at work
--   refused      text   nothing
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?stale} \else \set stale 'yesterday' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
select
    'sequence_contacts' as table_name,
    sc.id as row_id,
    s.user_id,
    sc.contact_phone::text as phone,
    coalesce(s.name, left(s.id::text, 0))::text as sequence,
    sc.processing_device_id as from_device,
    coalesce(d.device_name, left(d.id::text, 0))::text as from_name,
    null::uuid as to_device,
    null::text as to_name,
    case when sc.processing_started_at is null then 'claim_undated' else 'claim_expired' end as why,
    null::text as refused,
    jsonb_build_object(
        'status', sc.status,
        'processing_device_id', sc.processing_device_id,
        'processing_started_at', sc.processing_started_at
    ) as expected,
    jsonb_build_object(
        'processing_device_id', null,
        'processing_started_at', coalesce(sc.processing_started_at, sc.next_trigger_time)
    ) as becomes
from sequence_contacts as sc
inner join sequences as s on sc.sequence_id = s.id
left join user_devices as d on sc.processing_device_id = d.id
where
    sc.status = 'active'
    and sc.processing_device_id is not null
    and (sc.processing_started_at is not null or sc.completed_at is null)
    and coalesce(sc.processing_started_at, sc.next_trigger_time) <= :'stale'::timestamptz
    and (
        nullif(:'user', '')::uuid is null
        or s.user_id = nullif(:'user', '')::uuid
        and coalesce(sc.user_id, s.user_id) = s.user_id
    )
    and (nullif(:'sequence', '')::uuid is null or s.id = nullif(:'sequence', '')::uuid)
    and (nullif(:'device', '')::uuid is null or sc.processing_device_id = nullif(:'device', '')::uuid)
order by s.user_id, sc.contact_phone, sc.id;
