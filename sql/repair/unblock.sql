-- Take phones off the list of those that are never written to
--
-- Parameters:
--   phones    text[]  the phones, as they are typed, out of links
--   user      uuid    only for this user; empty: whatever the list has of them
--   national  text    regular expression of what begins a national number
--   country   text    what stands for it in an international one
-- Row:
--   table_name   text   the table of the row
--   row_id       uuid   the row
--   user_id      uuid   whose person it is; null: everybody's
--   phone        text   the digits
--   sequence     text   nothing
--   from_device  uuid   nothing
--   from_name    text   nothing
--   to_device    uuid   nothing
--   to_name      text   nothing
--   why          text   no_longer_blocked
--   refused      text   nothing
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?phones} \else \set phones '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
select
    'blocked' as table_name,
    b.id as row_id,
    b.user_id,
    b.digits as phone,
    null::text as sequence,
    null::uuid as from_device,
    null::text as from_name,
    null::uuid as to_device,
    null::text as to_name,
    'no_longer_blocked' as why,
    null::text as refused,
    jsonb_build_object('since', b.since, 'why', b.why, 'blocked_by', b.blocked_by) as expected,
    '{"since": null, "why": null, "blocked_by": null}'::jsonb as becomes
from seqdev.blocked as b
where
    b.since is not null
    and (nullif(:'user', '')::uuid is null or b.user_id = nullif(:'user', '')::uuid)
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
order by b.user_id, b.digits, b.id;
