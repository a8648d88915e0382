-- The leads that have the phones somebody asks for, in whatever spelling
--
-- Parameters:
--   phones    text[]  the phones
--   user      uuid    only leads of this user
--   device    uuid    only leads that this device owns
--   national  text    regular expression of what begins a national number
--   country   text    what stands for it in an international one
-- Row:
--   phone  text    a phone as it was asked for
--   leads  uuid[]  the leads that have it; null: none
-- Locks: none
\if :{?phones} \else \set phones '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?device} \else \set device '' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
with asked as materialized (
    select
        a.phone,
        a.place,
        person.digits
    from unnest(:'phones'::text []) with ordinality as a (phone, place)
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

odd_lead as materialized (
    select
        l.id,
        person.digits
    from leads as l
    cross join lateral (
        -- digits: as in enroll/persons.sql
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
        (l.phone ~ '^0|[^0-9]' or :'national'::text <> '(?!)' and l.phone ~ :'national'::text)
        and (nullif(:'user', '')::uuid is null or l.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'device', '')::uuid is null or l.device_id = nullif(:'device', '')::uuid)
),

found as (
    select
        asked.place,
        l.id
    from asked
    inner join leads as l on asked.digits = l.phone
    where
        l.phone !~ :'national'::text
        and (nullif(:'user', '')::uuid is null or l.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'device', '')::uuid is null or l.device_id = nullif(:'device', '')::uuid)
    union
    select
        asked.place,
        l.id
    from asked
    inner join leads as l on asked.phone = l.phone
    where
        (nullif(:'user', '')::uuid is null or l.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'device', '')::uuid is null or l.device_id = nullif(:'device', '')::uuid)
    union
    select
        asked.place,
        odd_lead.id
    from asked
    inner join odd_lead on asked.digits = odd_lead.digits
)

select
    a.phone,
    f.leads
from asked as a
left join (
    select
        found.place,
        array_agg(found.id) as leads
    from found
    group by found.place
) as f on a.place = f.place
order by a.place;
