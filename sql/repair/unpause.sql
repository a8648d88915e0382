-- Resume a sequence, a device or a user that is paused; with a spread, who is due meanwhile goes little by little
--
-- Without a spread all of them are due at once. With one, their due times are laid out evenly from now on, the oldest
-- first, the devices side by side. The pause is lifted last: nobody goes before.
--
-- Parameters:
--   now       timestamptz  the instant of the transaction
--   scope     text         sequence, device, user
--   scope_id  uuid         which
--   spread    interval     over how long who is due is laid out; zero: not at all
-- Gates: gates/steps.sql
-- Row:
--   table_name   text   the table of the row
--   row_id       uuid   the row
--   user_id      uuid   the user of the sequence; null for the pause
--   phone        text   whose row it is; null for the pause
--   sequence     text   name of the sequence; paused for the pause
--   from_device  uuid   nothing
--   from_name    text   nothing
--   to_device    uuid   nothing
--   to_name      text   nothing
--   why          text   spread; resumed
--   refused      text   nothing
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?scope} \else \set scope 'sequence' \endif
\if :{?scope_id} \else \set scope_id '00000000-0000-0000-0000-000000000000' \endif
\if :{?spread} \else \set spread '0' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
with due as (
    select
        sc.id,
        s.user_id,
        sc.contact_phone,
        coalesce(s.name, left(s.id::text, 0))::text as sequence_name,
        sc.status,
        sc.next_trigger_time,
        coalesce(sc.assigned_device_id, l.device_id) as device_id
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    left join leads as l on sc.assigned_device_id is null and s.user_id = l.user_id and sc.contact_phone = l.phone
    where
        :'spread'::interval > '0'
        and sc.status = 'active'
        and sc.next_trigger_time <= :'now'::timestamptz
        and s.id = any(:'active_sequences'::uuid [])
        and case :'scope'::text
            when 'sequence' then s.id
            when 'user' then s.user_id
            when 'device' then coalesce(sc.assigned_device_id, l.device_id)
        end = :'scope_id'::uuid
),

laid_out as (
    select
        due.*,
        :'now'::timestamptz + :'spread'::interval
        * (row_number() over (partition by due.device_id order by due.next_trigger_time, due.id) - 1)
        / (count(*) over (partition by due.device_id)) as due_at
    from due
),

change as (
    select
        'sequence_contacts' as table_name,
        d.id as row_id,
        d.user_id,
        d.contact_phone::text as phone,
        d.sequence_name::text as sequence,
        'spread' as why,
        jsonb_build_object('status', d.status, 'next_trigger_time', d.next_trigger_time) as expected,
        jsonb_build_object('next_trigger_time', d.due_at) as becomes,
        false as is_pause
    from laid_out as d
    union all
    select
        'rule',
        r.id,
        null,
        null,
        r.name,
        'resumed',
        jsonb_build_object('value', r.value),
        jsonb_build_object('value', null),
        true
    from seqdev.rule as r
    where
        r.name = 'paused'
        and r.value is not null
        and r.scope = :'scope'::text
        and r.scope_id = :'scope_id'::uuid
)

select
    c.table_name,
    c.row_id,
    c.user_id,
    c.phone,
    c.sequence,
    null::uuid as from_device,
    null::text as from_name,
    null::uuid as to_device,
    null::text as to_name,
    c.why,
    null::text as refused,
    c.expected,
    c.becomes
from change as c
order by c.is_pause, c.user_id, c.phone, c.row_id;
