-- Let people begin a sequence again, from its first step
--
-- The rows that they have there stay, under new ids: the id of a message is a function of the row's, so that each step
-- is sent once more, and once only. The row of the entry step becomes active, due now; those of the other steps wait, as
-- rows that are made beforehand do. Who has no row of the entry step gets the first they have, moved there.
--
-- Parameters:
--   now          timestamptz  the instant of the transaction
--   phones       text[]       the phones of the people, as they are typed, out of links
--   user         uuid         only rows of this user
--   sequence     uuid         the sequence
--   waiting      text[]       values of sequence_contacts.status: a later step's row, made beforehand
--   national     text         regular expression of what begins a national number
--   country      text         what stands for it in an international one
-- Gates: gates/steps.sql
-- Row:
--   table_name   text   the table of the row
--   row_id       uuid   the row
--   user_id      uuid   whose person it is
--   phone        text   the person: the digits
--   sequence     text   name of the sequence
--   from_device  uuid   nothing
--   from_name    text   nothing
--   to_device    uuid   nothing
--   to_name      text   nothing
--   why          text   begins; of a later step's: waits
--   refused      text   blocked, no_entry_step, not_begun; null where the row changes
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?phones} \else \set phones '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
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
    where sc.contact_phone !~ :'national'::text
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
        (sc.contact_phone ~ '^0|[^0-9]' or :'national'::text <> '(?!)' and sc.contact_phone ~ :'national'::text)
        and person.digits in (select asked.digits from asked)
),

step as materialized (
    select
        s.*,
        st.day_number
    from unnest(:'steps'::uuid [], :'step_sequences'::uuid [], :'entry_triggers'::text [])
        as s (id, sequence_id, entry_trigger)
    inner join sequence_steps as st on s.id = st.id
),

-- As an enrolment has it.
entry as materialized (
    select distinct on (step.sequence_id) step.*
    from step
    where step.entry_trigger is not null
    order by step.sequence_id, step.day_number, step.id
),

standing as materialized (
    select
        sc.*,
        own.digits,
        s.user_id as owner_id,
        coalesce(s.name, left(s.id::text, 0))::text as sequence_name,
        entry.id as entry_id,
        entry.day_number as entry_day,
        entry.entry_trigger,
        step.id is not null as has_step,
        row_number() over (
            partition by sc.sequence_id, sc.contact_phone
            order by sc.sequence_stepid is not distinct from entry.id desc, step.day_number nulls last, sc.id
        ) = 1 as begins,
        -- Nothing was sent, and nothing is to be sent again.
        bool_and(
            sc.status = any(:'waiting'::text [])
            or sc.status = 'active' and sc.sequence_stepid is not distinct from entry.id
        ) over (partition by sc.sequence_id, sc.contact_phone) as is_fresh
    from own
    inner join sequence_contacts as sc on own.id = sc.id
    inner join sequences as s on sc.sequence_id = s.id
    left join entry on s.id = entry.sequence_id
    left join step on sc.sequence_id = step.sequence_id and sc.sequence_stepid = step.id
    where
        (nullif(:'user', '')::uuid is null or s.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'sequence', '')::uuid is null or s.id = nullif(:'sequence', '')::uuid)
)

select
    'sequence_contacts' as table_name,
    st.id as row_id,
    st.owner_id as user_id,
    st.digits as phone,
    st.sequence_name as sequence,
    null::uuid as from_device,
    null::text as from_name,
    null::uuid as to_device,
    null::text as to_name,
    case when st.begins then 'begins' else 'waits' end as why,
    case
        when
            exists (
                select 1
                from seqdev.blocked as b
                where
                    b.digits = st.digits
                    and b.since is not null
                    and (b.user_id is null or b.user_id = st.owner_id)
            )
            then 'blocked'
        when st.entry_id is null then 'no_entry_step'
        when st.is_fresh then 'not_begun'
    end as refused,
    jsonb_build_object(
        'status', st.status,
        'last_error', st.last_error,
        'contact_phone', st.contact_phone,
        'sequence_stepid', st.sequence_stepid,
        'next_trigger_time', st.next_trigger_time,
        'completed_at', st.completed_at
    ) as expected,
    jsonb_build_object(
        'id', gen_random_uuid(),
        'status', case when st.begins then 'active' else (:'waiting'::text [])[1] end,
        'last_error', null,
        'completed_at', null,
        'processing_device_id', null,
        'processing_started_at', null
    )
    || case
        when st.begins
            then jsonb_build_object(
                'sequence_stepid', st.entry_id,
                'current_step', st.entry_day,
                'current_trigger', st.entry_trigger,
                'next_trigger_time', :'now'::timestamptz
            )
        else '{}'
    end as becomes
from standing as st
-- A step that was deleted stays as it is.
where st.begins or st.has_step
order by st.owner_id, st.digits, st.contact_phone, st.id;
