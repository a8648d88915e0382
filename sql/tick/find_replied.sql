-- Who has replied since the sequence last wrote to them: their rows to come, and what of that sequence waits in the queue
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
with recursive listed as materialized (
    select w.*
    from unnest(:'digits'::text [], :'users'::uuid [], :'ats'::timestamptz []) as w (digits, user_id, at)
),

-- Each assigned device once, by hopping from one to the next in the index.
assigned (device_id) as (
    (
        select sc.assigned_device_id
        from sequence_contacts as sc
        where sc.status = 'active' and sc.assigned_device_id is not null
        order by sc.assigned_device_id
        limit 1
    )
    union all
    select (
        select sc.assigned_device_id
        from sequence_contacts as sc
        where sc.status = 'active' and sc.assigned_device_id > a.device_id
        order by sc.assigned_device_id
        limit 1
    )
    from assigned as a
    where a.device_id is not null
),

-- Without signs: with the country, a plus, two zeros, the end of a JID; or as the region writes it.
candidate as materialized (
    select
        sc.id,
        sc.sequence_id,
        sc.contact_phone
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
    ) as written (phone)
    -- By key, whatever the planner expects.
    cross join lateral (
        select
            x.id,
            x.sequence_id,
            x.contact_phone
        from sequence_contacts as x
        where
            x.contact_phone = written.phone
            and (x.status = 'active' or x.status = any(:'waiting'::text []))
            and x.sequence_id = any(:'sequences'::uuid [])
        offset 0
    ) as sc
    union
    select
        due.id,
        due.sequence_id,
        due.contact_phone
    from assigned
    cross join lateral (
        select
            x.id,
            x.sequence_id,
            x.contact_phone
        from sequence_contacts as x
        where
            x.status = 'active'
            and x.next_trigger_time <= :'due_by'::timestamptz
            and x.assigned_device_id = assigned.device_id
            and x.contact_phone !~ '^([+]?[1-9][0-9]*|0[0-9]*|[1-9][0-9]*@(s[.]whatsapp[.]net|c[.]us))$'
    ) as due
    where exists (select 1 from listed)
    union
    select
        x.id,
        x.sequence_id,
        x.contact_phone
    from sequence_contacts as x
    where
        x.status = 'active'
        and x.next_trigger_time <= :'due_by'::timestamptz
        and x.assigned_device_id is null
        and x.contact_phone !~ '^([+]?[1-9][0-9]*|0[0-9]*|[1-9][0-9]*@(s[.]whatsapp[.]net|c[.]us))$'
        and exists (select 1 from listed)
),

replied as materialized (
    select
        sc.id,
        sc.sequence_id,
        sc.contact_phone,
        max(listed.at) as at
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
    inner join listed on person.digits = listed.digits and s.user_id = listed.user_id
    cross join lateral (
        select max(m.sent_at)::timestamptz as sent_at
        from broadcast_messages as m
        where
            m.recipient_phone = sc.contact_phone
            and m.sequence_id = sc.sequence_id
            and m.status not in ('pending', 'queued', 'processing')
            and m.status <> all(:'failed'::text [])
    ) as wrote
    where
        s.id = any(:'sequences'::uuid [])
        and listed.at > wrote.sent_at
        -- On any row of theirs: that of the next step was made since.
        and not exists (
            select 1
            from sequence_contacts as own
            inner join seqdev.change as ch on own.id = ch.row_id
            where
                own.sequence_id = sc.sequence_id
                and own.contact_phone = sc.contact_phone
                and (ch.column_name = 'status' and ch.old_value = 'replied' or ch.column_name = 'id')
                and ch.changed_at >= listed.at
        )
    group by sc.id, sc.sequence_id, sc.contact_phone
)

select
    'sequence_contacts' as table_name,
    r.id as row_id,
    r.at
from replied as r
union all
select
    'broadcast_messages',
    m.id,
    max(r.at)
from replied as r
inner join broadcast_messages as m on r.contact_phone = m.recipient_phone and r.sequence_id = m.sequence_id
where m.status = 'pending'
group by m.id;
