-- Leads that an enrolment refuses, because it takes another lead of the same person, or has taken one
--
-- A person is one user's, and has the digits that WhatsApp uses, however they are written. Of several who call for a
-- sequence it takes the one that is in it already, else one with a device of its user, else the one written as WhatsApp
-- does, else the first by id. Decided once an enrolment, since it reads leads and contacts as a whole; what is written
-- as WhatsApp does needs no more than a look by key.
--
-- Parameters:
--   sequences  uuid[]  only these sequences; empty: every active one
--   user       uuid    only leads of this user
--   device     uuid    only leads that this device owns
--   leads      uuid[]  only these leads; empty: all
--   waiting    text[]  values of sequence_contacts.status: a step's row that was made beforehand, and waits
--   national   text    regular expression of what begins a national number
--   country    text    what stands for it in an international one
-- Gates: gates/steps.sql
-- Row:
--   same_leads      text  uuid[]: a lead that is refused
--   same_sequences  text  uuid[]: by which sequence
--   same_are_in     text  boolean[]: since its person is in it in a spelling that no lead has, and not for another lead
-- Locks: none
\if :{?sequences} \else \set sequences '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?device} \else \set device '' \endif
\if :{?leads} \else \set leads '{}' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
with entry as materialized (
    select
        e.sequence_id,
        e.user_id,
        btrim(e.trigger) as trigger
    from unnest(:'step_sequences'::uuid [], :'step_users'::uuid [], :'entry_triggers'::text [])
        as e (sequence_id, user_id, trigger)
    where
        e.sequence_id = any(:'active_sequences'::uuid [])
        and (:'sequences'::uuid [] = '{}' or e.sequence_id = any(:'sequences'::uuid []))
        and (nullif(:'user', '')::uuid is null or e.user_id = nullif(:'user', '')::uuid)
        and e.trigger is not null
),

-- Written in another way than WhatsApp does. The conditions are those of explain/spellings.sql.
odd_lead as materialized (
    select
        l.id,
        l.user_id,
        l.phone::text as phone,
        person.digits
    from leads as l
    cross join lateral (
        -- The master of the digits: they stand, the same, wherever phones are compared.
        select
            case
                when l.phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                else regexp_replace(bare.digits, :'national'::text, :'country'::text)
            end as digits
        from (
            select regexp_replace(
                l.phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
            ) as digits
        ) as bare
    ) as person
    where
        l.user_id in (select e.user_id from entry as e)
        and (
            l.phone ~ '^0|[^0-9]'
            or left(:'national'::text, 2) not in ('(?', '^0') and l.phone ~ :'national'::text
        )
        and person.digits ~ '^[0-9]{6,15}$'
),

odd_contact as materialized (
    select
        sc.sequence_id,
        sc.contact_phone::text as phone,
        person.digits,
        coalesce(sc.status <> all(:'waiting'::text []), true) as is_in
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
        sc.sequence_id in (select e.sequence_id from entry as e)
        and (
            sc.contact_phone ~ '^0|[^0-9]'
            or left(:'national'::text, 2) not in ('(?', '^0') and sc.contact_phone ~ :'national'::text
        )
        and person.digits ~ '^[0-9]{6,15}$'
),

person as materialized (
    select
        odd_lead.user_id,
        odd_lead.digits
    from odd_lead
    union
    select
        e.user_id,
        odd_contact.digits
    from odd_contact
    inner join entry as e on odd_contact.sequence_id = e.sequence_id
),

-- The leads of those persons that call for a sequence.
candidate as materialized (
    select distinct
        e.sequence_id,
        own.user_id,
        own.digits,
        own.phone,
        own.id,
        coalesce(d.user_id = own.user_id, false) as has_device
    from (
        select
            odd_lead.id,
            odd_lead.user_id,
            odd_lead.phone,
            odd_lead.digits
        from odd_lead
        union
        select
            plain.id,
            plain.user_id,
            plain.phone::text,
            person.digits
        from person
        inner join leads as plain on person.user_id = plain.user_id and person.digits = plain.phone
        where plain.phone !~ :'national'::text
    ) as own
    inner join leads as l on own.phone = l.phone and own.id = l.id
    cross join lateral unnest(string_to_array(l.trigger, ',')) as m (member)
    inner join entry as e on own.user_id = e.user_id and btrim(m.member) = e.trigger
    left join user_devices as d on l.device_id = d.id
    where
        (nullif(:'device', '')::uuid is null or l.device_id = nullif(:'device', '')::uuid)
        and (:'leads'::uuid [] = '{}' or l.id = any(:'leads'::uuid []))
),

-- In which spelling they are in the sequence already, or wait in it.
standing as materialized (
    select
        every.sequence_id,
        every.digits,
        every.phone,
        bool_or(every.is_in) as is_in
    from (
        select
            odd_contact.sequence_id,
            odd_contact.digits,
            odd_contact.phone,
            odd_contact.is_in
        from odd_contact
        union all
        select
            c.sequence_id,
            c.digits,
            sc.contact_phone::text,
            coalesce(sc.status <> all(:'waiting'::text []), true)
        from (
            select distinct
                candidate.sequence_id,
                candidate.digits
            from candidate
        ) as c
        inner join sequence_contacts as sc on c.sequence_id = sc.sequence_id and c.digits = sc.contact_phone
        where sc.contact_phone !~ :'national'::text
    ) as every
    group by every.sequence_id, every.digits, every.phone
),

ranked as (
    select
        one.id,
        one.sequence_id,
        row_number() over best as rank,
        first_value(one.id) over best is null and count(one.id) over best = 1 as is_in
    from (
        -- Leads and rows of one spelling meet in a window: of a join the planner would expect a few rows only.
        select
            every.*,
            coalesce(bool_or(every.stands) over spelling, false) as is_in,
            bool_or(every.id is null) over spelling as waits,
            count(every.id) over spelling as leads
        from (
            select
                candidate.id,
                candidate.sequence_id,
                candidate.digits,
                candidate.phone,
                candidate.has_device,
                null::boolean as stands
            from candidate
            union all
            select
                null,
                standing.sequence_id,
                standing.digits,
                standing.phone,
                false,
                standing.is_in
            from standing
        ) as every
        window spelling as (partition by every.sequence_id, every.digits, every.phone)
    ) as one
    -- Where no lead calls for the sequence in this spelling, the person may be in it.
    where one.id is not null or one.leads = 0 and one.is_in
    window best as (
        partition by one.sequence_id, one.digits
        order by one.is_in desc, one.waits desc, one.has_device desc, one.phone = one.digits desc, one.id
    )
)

select
    coalesce(array_agg(r.id), '{}')::text as same_leads,
    coalesce(array_agg(r.sequence_id), '{}')::text as same_sequences,
    coalesce(array_agg(r.is_in), '{}')::text as same_are_in
from ranked as r
where r.rank > 1 and r.id is not null
\gset
