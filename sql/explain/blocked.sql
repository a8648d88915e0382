-- Whether a phone is blocked: since when, and why
--
-- Parameters:
--   phones    text[]  the phone, in every writing that is tried
--   user      uuid    only what is blocked for this user, or for everybody
--   national  text    regular expression of what begins a national number
--   country   text    what stands for it in an international one
-- Row:
--   user_id     uuid         whose person it is; null: everybody's
--   since       timestamptz  since when
--   why         text         why
--   blocked_by  text         who has blocked it
-- Locks: none
\if :{?phones} \else \set phones '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
select
    b.user_id,
    b.since,
    b.why,
    b.blocked_by
from seqdev.blocked as b
where
    b.since is not null
    and (nullif(:'user', '')::uuid is null or b.user_id is null or b.user_id = nullif(:'user', '')::uuid)
    and b.digits in (
        select person.digits
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
    )
order by b.since desc, b.user_id;
