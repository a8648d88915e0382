-- The active rows of people whose phone is blocked, on Citus
--
-- Those that the host has made or activated since the phone was blocked. From the list
-- straight to the rows whose phone is written without signs; of those written with signs, to the ones that are due: the
-- others are stopped when they are.
--
-- Parameters:
--   due_by    timestamptz  rows are due that are due by then
--   national  text         regular expression of what begins a national number
--   country   text         what stands for it in an international one
-- Row:
--   contact_id  uuid  a row
--   why         text  why its phone is blocked
-- Locks: none
\if :{?due_by} \else \set due_by 'now' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
with listed as materialized (
    select
        b.digits,
        b.user_id,
        b.why
    from seqdev.blocked as b
    where b.since is not null
),

-- Without signs: with the country, a plus, two zeros, the end of a JID; or as the region writes it.
written as materialized (
    select w.phone
    from listed
    cross join lateral (
        values
            (listed.digits),
            ('+' || listed.digits),
            ('00' || listed.digits),
            (listed.digits || '@s.whatsapp.net'),
            (listed.digits || '@c.us'),
            (
                case when :'country'::text <> '' and starts_with(listed.digits, :'country'::text) then
                    substring(:'national'::text from '^\^([0-9]*)')
                    || substring(listed.digits from length(:'country'::text) + 1)
                end
            )
    ) as w (phone)
    group by w.phone
),

candidate as materialized (
    select
        x.id,
        x.sequence_id,
        x.contact_phone
    from sequence_contacts as x
    inner join written on x.contact_phone = written.phone
    where x.status = 'active'
    union
    select
        x.id,
        x.sequence_id,
        x.contact_phone
    from sequence_contacts as x
    where
        (select count(*) from listed) > 0
        and x.status = 'active'
        and x.next_trigger_time <= :'due_by'::timestamptz
        and x.contact_phone !~ '^([+]?[1-9][0-9]*|0[0-9]*|[1-9][0-9]*@(s[.]whatsapp[.]net|c[.]us))$'
)

select
    sc.id as contact_id,
    coalesce((array_agg(listed.why order by listed.user_id))[1], '') as why
from (
    select
        sc.id,
        s.user_id,
        person.digits
    from candidate as sc
    inner join sequences as s on sc.sequence_id = s.id
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
) as sc
inner join listed on sc.digits = listed.digits and (listed.user_id is null or sc.user_id = listed.user_id)
group by sc.id;
