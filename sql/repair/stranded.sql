-- Activate rows that nobody activates: the step before is done, and nothing of the person is active
--
-- Some hosts make the rows of all steps at once, and activate them one by one. Due by the later of the row's own time and
-- the step's delay after the step before was done. Where another processor's message of that person and step exists, the
-- row gets a claim of that instant as well: the tick that takes it over completes it without a second message.
--
-- Master of written, which the other repairs repeat. Master of stranded: sql/audit/contacts.sql
--
-- Parameters:
--   now       timestamptz  the instant of the transaction
--   user      uuid         only sequences of this user
--   sequence  uuid         only this sequence
--   device    uuid         only what is assigned to this device
--   waiting   text[]       values of sequence_contacts.status: a later step's row, made beforehand
--   done      text[]       values of sequence_contacts.status: the step is done
-- Gates: gates/steps.sql
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
--   why          text   stranded
--   refused      text   nothing
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?done} \else \set done '{completed,sent,failed}' \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
with step as materialized (
    select s.*
    from unnest(
        :'steps'::uuid [], :'step_sequences'::uuid [], :'next_steps'::uuid [], :'next_step_hours'::numeric []
    ) as s (id, sequence_id, next_id, next_hours)
    where s.id is not null
),

stranded as materialized (
    select distinct on (sc.sequence_id, sc.contact_phone)
        sc.id,
        sc.contact_phone,
        before.completed_at,
        coalesce(
            last.next_hours,
            (
                select max(step.next_hours)
                from step
                where step.next_id = sc.sequence_stepid
            ),
            0
        ) as next_hours
    from sequence_contacts as sc
    inner join step as own on sc.sequence_stepid = own.id and sc.sequence_id = own.sequence_id
    inner join sequence_contacts as before
        on sc.sequence_id = before.sequence_id and sc.contact_phone = before.contact_phone
    left join step as last on before.sequence_stepid = last.id and before.sequence_id = last.sequence_id
    where
        sc.status = any(:'waiting'::text [])
        and before.status = any(:'done'::text [])
        -- Where the step that was done is deleted since, the days tell the order.
        and (last.next_id = sc.sequence_stepid or last.id is null and sc.current_step > before.current_step)
        and not exists (
            select 1
            from sequence_contacts as x
            where x.sequence_id = sc.sequence_id and x.contact_phone = sc.contact_phone and x.status = 'active'
        )
    order by
        sc.sequence_id, sc.contact_phone, last.id is null, sc.current_step, before.completed_at desc nulls last, sc.id
),

found as materialized (
    select
        sc.id,
        sc.sequence_id,
        sc.contact_phone,
        sc.sequence_stepid,
        sc.status,
        sc.next_trigger_time,
        s.user_id,
        coalesce(s.name, left(s.id::text, 0))::text as name,
        stranded.completed_at,
        stranded.next_hours
    from stranded
    inner join sequence_contacts as sc on stranded.contact_phone = sc.contact_phone and stranded.id = sc.id
    inner join sequences as s on sc.sequence_id = s.id
    where
        true
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

-- written
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
    'stranded' as why,
    null::text as refused,
    jsonb_build_object('status', found.status, 'next_trigger_time', found.next_trigger_time) as expected,
    jsonb_build_object(
        'status', 'active',
        'next_trigger_time', coalesce(
            greatest(
                found.next_trigger_time::timestamptz,
                found.completed_at::timestamptz + least(found.next_hours, 876000) * interval '1 hour'
            ),
            :'now'::timestamptz
        )
    ) || case
        when written.contact_id is null then '{}'
        else jsonb_build_object('processing_started_at', least(written.created_at::timestamptz, :'now'::timestamptz))
    end as becomes
from found
left join written on found.id = written.contact_id
order by found.user_id, found.contact_phone, found.id;
