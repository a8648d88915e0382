-- Who has replied since the sequence last wrote to them: their rows to come, and what of that sequence waits in the queue, on Citus
--
-- In sequences that people leave when they write back. From those who have written straight to the rows whose phone is
-- written without signs; of those written with signs, to the ones that are due: the others are stopped when they are.
-- Who was brought back, or began the sequence again, after they wrote stays.
--
-- Parameters:
--   due_by     timestamptz    rows are due that are due by then
--   digits     text[]         who has written: the digits of the phone
--   users      uuid[]         to a device of which user
--   ats        timestamptz[]  and when they last did
--   sequences  uuid[]         sequences that people leave
--   waiting    text[]         values of sequence_contacts.status: a later step's row, made beforehand
--   failed     text[]         values of broadcast_messages.status of a message that will never be sent
--   national   text           regular expression of what begins a national number
--   country    text           what stands for it in an international one
-- Row:
--   table_name  text         sequence_contacts, broadcast_messages
--   row_id      uuid         the row
--   at          timestamptz  when the person last wrote
-- Locks: none
\if :{?due_by} \else \set due_by 'now' \endif
\if :{?digits} \else \set digits '{}' \endif
\if :{?users} \else \set users '{}' \endif
\if :{?ats} \else \set ats '{}' \endif
\if :{?sequences} \else \set sequences '{}' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
with listed as materialized (
    select w.*
    from unnest(:'digits'::text [], :'users'::uuid [], :'ats'::timestamptz []) as w (digits, user_id, at)
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
    where
        (x.status = 'active' or x.status = any(:'waiting'::text []))
        and x.sequence_id = any(:'sequences'::uuid [])
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
        and x.sequence_id = any(:'sequences'::uuid [])
),

person as materialized (
    select
        sc.id,
        sc.sequence_id,
        sc.contact_phone,
        max(listed.at) as at
    from (
        select
            sc.*,
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
    inner join listed on sc.digits = listed.digits and sc.user_id = listed.user_id
    group by sc.id, sc.sequence_id, sc.contact_phone
),

addressed as materialized (
    select
        m.recipient_phone,
        m.sequence_id,
        max(m.sent_at)::timestamptz as sent_at
    from broadcast_messages as m
    where
        m.recipient_phone in (select person.contact_phone from person)
        and m.sequence_id = any(:'sequences'::uuid [])
        and m.status not in ('pending', 'queued', 'processing')
        and m.status <> all(:'failed'::text [])
    group by m.recipient_phone, m.sequence_id
),

-- All rows of theirs: that of a next step was made since they began again.
own as materialized (
    select
        sc.id,
        sc.sequence_id,
        sc.contact_phone
    from sequence_contacts as sc
    where
        sc.contact_phone in (select person.contact_phone from person)
        and sc.sequence_id = any(:'sequences'::uuid [])
),

-- Who was brought back, or began the sequence again, when.
brought_back as materialized (
    select
        own.sequence_id,
        own.contact_phone,
        max(ch.changed_at) as at
    from own
    inner join seqdev.change as ch on own.id = ch.row_id
    where ch.column_name = 'status' and ch.old_value = 'replied' or ch.column_name = 'id'
    group by own.sequence_id, own.contact_phone
),

replied as materialized (
    select person.*
    from person
    inner join addressed
        on person.contact_phone = addressed.recipient_phone and person.sequence_id = addressed.sequence_id
    left join brought_back
        on person.contact_phone = brought_back.contact_phone and person.sequence_id = brought_back.sequence_id
    where
        person.at > addressed.sent_at
        and coalesce(brought_back.at < person.at, true)
),

pending as materialized (
    select
        m.id,
        max(r.at) as at
    from broadcast_messages as m
    inner join replied as r on m.recipient_phone = r.contact_phone and m.sequence_id = r.sequence_id
    where m.status = 'pending'
    group by m.id
)

select
    'sequence_contacts' as table_name,
    r.id as row_id,
    r.at
from replied as r
union all
select
    'broadcast_messages',
    pending.id,
    pending.at
from pending;
