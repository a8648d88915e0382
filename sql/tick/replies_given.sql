-- Who has written to devices, of what the table or view of the rule replies_from holds
--
-- A phone is a number or the JID of a person, in any spelling; groups and chats that hide the number (@lid) are left
-- out. Where the device is not known, the reply is one to every user: rather too few messages than one to somebody
-- who has replied.
--
-- Parameters:
--   phones    text[]         phones as they are written there
--   devices   text[]         of each: the id of the device that was written to; null: not known
--   ats       timestamptz[]  of each: when the person wrote
--   national  text           regular expression of what begins a national number
--   country   text           what stands for it in an international one
-- Row:
--   digits   text         the person: the digits of the phone
--   user_id  uuid         the user of the device
--   at       timestamptz  when the person wrote
-- Locks: none
\if :{?phones} \else \set phones '{}' \endif
\if :{?devices} \else \set devices '{}' \endif
\if :{?ats} \else \set ats '{}' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
with reply as materialized (
    select
        person.digits,
        d.user_id,
        r.at
    from unnest(:'phones'::text [], :'devices'::text [], :'ats'::timestamptz []) as r (phone, device_id, at)
    left join user_devices as d on lower(r.device_id) = d.id::text
    cross join lateral (
        -- digits: as in enroll/persons.sql
        select
            case
                when r.phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                else regexp_replace(bare.digits, :'national'::text, :'country'::text)
            end as digits
        from (
            select regexp_replace(
                r.phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
            ) as digits
        ) as bare
    ) as person
    where person.digits ~ '^[1-9][0-9]{5,14}$'
)

select
    reply.digits,
    reply.user_id,
    reply.at
from reply
where reply.user_id is not null
union all
select
    reply.digits,
    owner.user_id,
    reply.at
from reply
cross join (
    select distinct s.user_id
    from sequences as s
    where s.user_id is not null
) as owner
where reply.user_id is null;
