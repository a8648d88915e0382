-- In which spellings the host has the phone of a person: in leads, and in the rows of sequences
--
-- Reads what is written in another way than WhatsApp does as a whole: no index knows the digits.
--
-- Parameters:
--   phone     text  the phone
--   national  text  regular expression of what begins a national number
--   country   text  what stands for it in an international one
-- Row:
--   phone  text  a spelling; the digits that WhatsApp uses are always one
-- Locks: none
\if :{?phone} \else \set phone '' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
with asked as materialized (
    select person.digits
    from (values (:'phone'::text)) as a (phone)
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
    where person.digits ~ '^[0-9]{6,15}$'
),

-- The first condition is what indexes are about. What needs the second: where a national number begins with no zero.
odd as materialized (
    select l.phone::text as phone
    from leads as l
    where
        l.phone ~ '^0|[^0-9]'
        or left(:'national'::text, 2) not in ('(?', '^0') and l.phone ~ :'national'::text
    union
    select sc.contact_phone::text
    from sequence_contacts as sc
    where
        sc.contact_phone ~ '^0|[^0-9]'
        or left(:'national'::text, 2) not in ('(?', '^0') and sc.contact_phone ~ :'national'::text
)

select asked.digits as phone
from asked
union
select odd.phone
from odd
cross join lateral (
    -- digits: as in enroll/persons.sql
    select
        case
            when odd.phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
            else regexp_replace(bare.digits, :'national'::text, :'country'::text)
        end as digits
    from (
        select regexp_replace(
            odd.phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
        ) as digits
    ) as bare
) as person
inner join asked on person.digits = asked.digits
order by phone;
