-- Phones that end in the same digits as one that nothing is known of
--
-- Reads leads and sequence_contacts as a whole: only for a phone that was not found.
--
-- Parameters:
--   digits  text  the last digits of the phone
--   user    uuid  only people of this user
-- Row:
--   phone    text  a phone that ends so
--   user_id  uuid  whose person it is
-- Locks: none
\if :{?digits} \else \set digits '' \endif
\if :{?user} \else \set user '' \endif
select
    found.phone::text as phone,
    found.user_id
from (
    select
        l.phone,
        l.user_id
    from leads as l
    where
        :'digits'::text ~ '^[0-9]{8}$'
        and regexp_replace(l.phone, '[ ().+-]|@.*', '', 'g') like '%' || :'digits'::text
        and (nullif(:'user', '')::uuid is null or l.user_id = nullif(:'user', '')::uuid)
    union
    select
        sc.contact_phone,
        coalesce(s.user_id, sc.user_id)
    from sequence_contacts as sc
    left join sequences as s on sc.sequence_id = s.id
    where
        :'digits'::text ~ '^[0-9]{8}$'
        and regexp_replace(sc.contact_phone, '[ ().+-]|@.*', '', 'g') like '%' || :'digits'::text
        and (
            nullif(:'user', '')::uuid is null
            or coalesce(s.user_id, sc.user_id) = nullif(:'user', '')::uuid
        )
) as found
order by found.phone, found.user_id
limit 10;
