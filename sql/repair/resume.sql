-- Bring back what was stopped of people: their rows to come, and their messages
--
-- What seqdev has stopped says so in its own words: stopped, blocked or replied, and the reason; and the journal has what it was before: it
-- becomes that again, with its due time as it was.
--
-- Parameters:
--   phones       text[]   the phones of the people, as they are typed, out of links
--   user         uuid     only rows of this user
--   sequence     uuid     only this sequence
--   national     text     regular expression of what begins a national number
--   country      text     what stands for it in an international one
-- Row:
--   table_name   text   the table of the row
--   row_id       uuid   the row
--   user_id      uuid   whose person it is
--   phone        text   the person: the digits
--   sequence     text   name of the sequence; null for a message
--   from_device  uuid   nothing
--   from_name    text   nothing
--   to_device    uuid   nothing
--   to_name      text   nothing
--   why          text   what the row becomes again: its status
--   refused      text   blocked, message_exists, already_active; null where the row changes
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?phones} \else \set phones '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
with asked as materialized (
    select distinct person.digits
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
),

-- The rows of these people: by key, and those written in another way than WhatsApp does.
own as materialized (
    select
        asked.digits,
        sc.id,
        sc.contact_phone
    from asked
    inner join sequence_contacts as sc on asked.digits = sc.contact_phone
    where sc.status in ('stopped', 'replied') and sc.last_error ~ '^(stopped|blocked|replied): ' and sc.contact_phone !~ :'national'::text
    union
    select
        person.digits,
        sc.id,
        sc.contact_phone
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
        sc.status in ('stopped', 'replied') and sc.last_error ~ '^(stopped|blocked|replied): '
        and (sc.contact_phone ~ '^0|[^0-9]' or :'national'::text <> '(?!)' and sc.contact_phone ~ :'national'::text)
        and person.digits in (select asked.digits from asked)
),

-- Their messages.
own_message as materialized (
    select
        asked.digits,
        m.id,
        m.recipient_phone
    from asked
    inner join broadcast_messages as m on asked.digits = m.recipient_phone
    where m.status = 'cancelled' and m.error_message ~ '^(stopped|blocked|replied): ' and m.recipient_phone !~ :'national'::text
    union
    select
        person.digits,
        m.id,
        m.recipient_phone
    from broadcast_messages as m
    cross join lateral (
        -- digits: as in enroll/persons.sql
        select
            case
                when m.recipient_phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                else regexp_replace(bare.digits, :'national'::text, :'country'::text)
            end as digits
        from (
            select regexp_replace(
                m.recipient_phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
            ) as digits
        ) as bare
    ) as person
    where
        m.status = 'cancelled' and m.error_message ~ '^(stopped|blocked|replied): '
        and (m.recipient_phone ~ '^0|[^0-9]' or :'national'::text <> '(?!)' and m.recipient_phone ~ :'national'::text)
        and person.digits in (select asked.digits from asked)
),

-- By the last change that the journal has of it.
stop as materialized (
    select distinct on (ch.table_name, ch.row_id)
        ch.table_name,
        ch.row_id,
        ch.old_value as status,
        coalesce(words.is_journaled, false) as has_words,
        words.old_value as words
    from seqdev.change as ch
    left join lateral (
        select
            true as is_journaled,
            w.old_value
        from seqdev.change as w
        where
            w.run_id = ch.run_id
            and w.row_id = ch.row_id
            and w.column_name in ('last_error', 'error_message')
        order by w.id desc
        limit 1
    ) as words on true
    where
        ch.row_id in (
            select own.id
            from own
            union all
            select own_message.id
            from own_message
        )
        and ch.column_name = 'status'
        and ch.new_value in ('stopped', 'replied', 'cancelled')
    order by ch.table_name, ch.row_id, ch.id desc
),

contact as materialized (
    select
        own.digits,
        sc.id,
        sc.sequence_id,
        sc.contact_phone,
        sc.sequence_stepid,
        sc.status,
        sc.last_error,
        sc.next_trigger_time,
        s.user_id,
        coalesce(s.name, left(s.id::text, 0))::text as name
    from own
    inner join sequence_contacts as sc on own.contact_phone = sc.contact_phone and own.id = sc.id
    inner join sequences as s on sc.sequence_id = s.id
    where
        (nullif(:'user', '')::uuid is null or s.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'sequence', '')::uuid is null or s.id = nullif(:'sequence', '')::uuid)
),

message as materialized (
    select
        contact.id as contact_id,
        m.created_at
    from contact
    inner join broadcast_messages as m
        on
            contact.contact_phone = m.recipient_phone
            and contact.sequence_id = m.sequence_id
            and coalesce(contact.sequence_stepid = m.sequence_stepid, contact.next_trigger_time <= m.created_at)
            and m.id <> md5('seqdev message ' || contact.id)::uuid
),

-- written: as in repair/stranded.sql
written as materialized (
    select distinct message.contact_id
    from message
    where
        -- Of an earlier time round, before the person began anew.
        not exists (
            select 1
            from seqdev.change as ch
            where ch.row_id = message.contact_id and ch.column_name = 'id' and ch.changed_at >= message.created_at
        )
),

active as materialized (
    select distinct
        x.sequence_id,
        x.contact_phone
    from contact
    inner join sequence_contacts as x
        on contact.sequence_id = x.sequence_id and contact.contact_phone = x.contact_phone and x.status = 'active'
),

cancelled as materialized (
    select
        own_message.digits,
        m.id,
        m.user_id,
        m.status,
        m.error_message
    from own_message
    inner join broadcast_messages as m on own_message.recipient_phone = m.recipient_phone and own_message.id = m.id
    where
        m.sent_at is null
        and (nullif(:'user', '')::uuid is null or m.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'sequence', '')::uuid is null or m.sequence_id = nullif(:'sequence', '')::uuid)
),

change as (
    select
        'sequence_contacts' as table_name,
        sc.id,
        sc.user_id,
        sc.digits,
        sc.name::text as sequence,
        stop.status,
        case
            when
                exists (
                    select 1
                    from seqdev.blocked as b
                    where
                        b.digits = sc.digits
                        and b.since is not null
                        and (b.user_id is null or b.user_id = sc.user_id)
                )
                then 'blocked'
            when stop.status <> 'active' then null
            when written.contact_id is not null then 'message_exists'
            when
                exists (
                    select 1
                    from active
                    where active.sequence_id = sc.sequence_id and active.contact_phone = sc.contact_phone
                )
                then 'already_active'
        end as refused,
        jsonb_build_object(
            'status', sc.status,
            'last_error', sc.last_error,
            'contact_phone', sc.contact_phone,
            'sequence_stepid', sc.sequence_stepid
        ) as expected,
        jsonb_build_object(
            'status', stop.status,
            'last_error', case when stop.has_words then stop.words else sc.last_error end
        ) as becomes
    from contact as sc
    inner join stop on stop.table_name = 'sequence_contacts' and sc.id = stop.row_id
    left join written on sc.id = written.contact_id
    union all
    select
        'broadcast_messages',
        m.id,
        m.user_id,
        m.digits,
        null,
        stop.status,
        case
            when
                exists (
                    select 1
                    from seqdev.blocked as b
                    where
                        b.digits = m.digits
                        and b.since is not null
                        and (b.user_id is null or b.user_id = m.user_id)
                )
                then 'blocked'
        end,
        jsonb_build_object('status', m.status, 'error_message', m.error_message),
        jsonb_build_object(
            'status', stop.status,
            'error_message', case when stop.has_words then stop.words else m.error_message end
        )
    from cancelled as m
    inner join stop on stop.table_name = 'broadcast_messages' and m.id = stop.row_id
)

select
    c.table_name,
    c.id as row_id,
    c.user_id,
    c.digits as phone,
    c.sequence,
    null::uuid as from_device,
    null::text as from_name,
    null::uuid as to_device,
    null::text as to_name,
    c.status as why,
    c.refused,
    c.expected,
    c.becomes
from change as c
order by c.user_id, c.digits, c.table_name desc, c.id;
