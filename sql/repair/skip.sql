-- Pass people over a step: the following one comes, its delay counted from now
--
-- The step is that of the person's active row. Where the following step has no row yet, the row moves on to it; where
-- its row was made beforehand, the row of the step passed over ends, and that one becomes active. After the last step
-- the person ends.
--
-- Parameters:
--   now          timestamptz  the instant of the transaction
--   phones       text[]       the phones of the people, as they are typed, out of links
--   user         uuid         only rows of this user
--   sequence     uuid         only this sequence
--   waiting      text[]       values of sequence_contacts.status: a later step's row, made beforehand
--   done         text[]       values of sequence_contacts.status: the step is done
--   national     text         regular expression of what begins a national number
--   country      text         what stands for it in an international one
-- Gates: gates/steps.sql
-- Row:
--   table_name   text   the table of the row
--   row_id       uuid   the row
--   user_id      uuid   whose person it is
--   phone        text   the person: the digits
--   sequence     text   name of the sequence; null for a message
--   from_device  uuid   nothing
--   from_name    text   nothing
--   to_device    uuid   nothing
--   to_name      text   nothing
--   why          text   moves_on, skipped; of the row made beforehand: follows; of who ends: last_step, done_before
--   refused      text   step_missing, next_step_there; null where the row changes
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?phones} \else \set phones '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?done} \else \set done '{completed,sent,failed}' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
with asked as materialized (
    select distinct person.digits
    from unnest(:'phones'::text []) as a (phone)
    cross join lateral (
        -- digits: as in enroll/persons.sql
        select
            case
                when a.phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                else regexp_replace(bare.digits, :'national'::text, :'country'::text)
            end as digits
        from (
            select regexp_replace(
                a.phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
            ) as digits
        ) as bare
    ) as person
),

-- The rows of these people: by key, and those written in another way than WhatsApp does.
own as materialized (
    select
        asked.digits,
        sc.id
    from asked
    inner join sequence_contacts as sc on asked.digits = sc.contact_phone
    where sc.status = 'active' and sc.contact_phone !~ :'national'::text
    union
    select
        person.digits,
        sc.id
    from sequence_contacts as sc
    cross join lateral (
        -- digits: as in enroll/persons.sql
        select
            case
                when sc.contact_phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                else regexp_replace(bare.digits, :'national'::text, :'country'::text)
            end as digits
        from (
            select regexp_replace(
                sc.contact_phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
            ) as digits
        ) as bare
    ) as person
    where
        sc.status = 'active'
        and (sc.contact_phone ~ '^0|[^0-9]' or :'national'::text <> '(?!)' and sc.contact_phone ~ :'national'::text)
        and person.digits in (select asked.digits from asked)
),

step as materialized (
    select s.*
    from unnest(
        :'steps'::uuid [], :'step_sequences'::uuid [], :'next_triggers'::text [], :'next_steps'::uuid [],
        :'next_step_days'::integer [], :'next_step_hours'::numeric []
    ) as s (id, sequence_id, next_trigger, next_id, next_day, next_hours)
    where s.id is not null
),

judged as materialized (
    select
        sc.*,
        own.digits,
        s.user_id as owner_id,
        coalesce(s.name, left(s.id::text, 0))::text as sequence_name,
        step.next_id,
        step.next_day,
        step.next_trigger,
        there.id as there_id,
        there.status as there_status,
        there.last_error as there_error,
        there.next_trigger_time as there_due,
        :'now'::timestamptz + least(step.next_hours, 876000) * interval '1 hour' as due_at,
        case
            when step.id is null then 'step_missing'
            when step.next_id is null then 'last_step'
            when there.id is null then 'moves_on'
            when there.status = any(:'done'::text []) then 'done_before'
            when there.status = any(:'waiting'::text []) then 'skipped'
            else 'next_step_there'
        end as why
    from own
    inner join sequence_contacts as sc on own.id = sc.id
    inner join sequences as s on sc.sequence_id = s.id
    left join step on sc.sequence_stepid = step.id and sc.sequence_id = step.sequence_id
    left join sequence_contacts as there
        on
            sc.sequence_id = there.sequence_id
            and sc.contact_phone = there.contact_phone
            and step.next_id = there.sequence_stepid
    where
        (nullif(:'user', '')::uuid is null or s.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'sequence', '')::uuid is null or s.id = nullif(:'sequence', '')::uuid)
),

change as (
    select
        j.id,
        j.owner_id,
        j.digits,
        j.sequence_name,
        j.why,
        case when j.why in ('step_missing', 'next_step_there') then j.why end as refused,
        jsonb_build_object(
            'status', j.status,
            'last_error', j.last_error,
            'contact_phone', j.contact_phone,
            'sequence_stepid', j.sequence_stepid,
            'next_trigger_time', j.next_trigger_time
        ) as expected,
        case
            when j.why = 'moves_on'
                then jsonb_build_object(
                    'sequence_stepid', j.next_id,
                    'current_step', j.next_day,
                    'current_trigger', j.next_trigger,
                    'next_trigger_time', j.due_at,
                    'last_error', null
                )
            else '{"status": "stopped", "last_error": "skipped: the step was passed over"}'
        end as becomes
    from judged as j
    union all
    select
        j.there_id,
        j.owner_id,
        j.digits,
        j.sequence_name,
        'follows',
        null,
        jsonb_build_object(
            'status', j.there_status, 'last_error', j.there_error, 'next_trigger_time', j.there_due
        ),
        jsonb_build_object('status', 'active', 'next_trigger_time', greatest(j.there_due::timestamptz, j.due_at))
    from judged as j
    where j.why = 'skipped'
)

select
    'sequence_contacts' as table_name,
    c.id as row_id,
    c.owner_id as user_id,
    c.digits as phone,
    c.sequence_name as sequence,
    null::uuid as from_device,
    null::text as from_name,
    null::uuid as to_device,
    null::text as to_name,
    c.why,
    c.refused,
    c.expected,
    c.becomes
from change as c
order by c.owner_id, c.digits, c.id;
