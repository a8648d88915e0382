-- Reschedule people whose step has another delay than when they were put there
--
-- Their row is due by the step's delay, as it is now, after the step before was done. Only rows that seqdev has made: it
-- is known when they were to be due.
--
-- Master of rescheduled: sql/audit/contacts.sql
--
-- Parameters:
--   now       timestamptz  the instant of the transaction
--   user      uuid         only sequences of this user
--   sequence  uuid         only this sequence
--   device    uuid         only what is assigned to this device
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
--   why          text   earlier, later
--   refused      text   nothing
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?done} \else \set done '{completed,sent,failed}' \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
with step as materialized (
    select s.*
    from unnest(
        :'steps'::uuid [], :'step_sequences'::uuid [], :'next_steps'::uuid [], :'next_step_hours'::numeric []
    ) as s (id, sequence_id, next_id, next_hours)
    where s.id is not null
),

rescheduled as materialized (
    select
        paired.id,
        paired.contact_phone,
        paired.due_at
    from (
        select
            sc.id,
            sc.contact_phone,
            sc.next_trigger_time,
            case
                when isfinite(before.completed_at) and isfinite(sc.next_trigger_time)
                    -- A hundred years are more than any calendar here needs.
                    then before.completed_at::timestamptz + least(step.next_hours, 876000) * interval '1 hour'
            end as due_at
        from sequence_contacts as sc
        inner join step on sc.sequence_id = step.sequence_id and sc.sequence_stepid = step.next_id
        inner join sequence_contacts as before
            on
                sc.sequence_id = before.sequence_id
                and sc.contact_phone = before.contact_phone
                and step.id = before.sequence_stepid
        where
            sc.status = 'active'
            and before.status = any(:'done'::text [])
            -- Only what seqdev has made: it was due exactly then.
            and sc.id = md5('seqdev contact ' || before.id || ' ' || step.next_id)::uuid
    ) as paired
    where
        (paired.due_at > :'now'::timestamptz or paired.next_trigger_time > :'now'::timestamptz)
        and abs(
            extract(epoch from paired.due_at) - extract(epoch from paired.next_trigger_time::timestamptz)
        ) > 60
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
    case when r.due_at < sc.next_trigger_time then 'earlier' else 'later' end as why,
    null::text as refused,
    jsonb_build_object('status', sc.status, 'next_trigger_time', sc.next_trigger_time) as expected,
    jsonb_build_object('next_trigger_time', r.due_at) as becomes
from rescheduled as r
inner join sequence_contacts as sc on r.contact_phone = sc.contact_phone and r.id = sc.id
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
order by s.user_id, sc.contact_phone, sc.id;
