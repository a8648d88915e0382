-- Stop people: their rows to come, and their messages that have not left; or put them on the list of blocked phones too
--
-- A person is one user's, and has the digits that WhatsApp uses, however they are written. Rows to come are those that
-- are active, wait, or are quarantined. A message that no sender has begun is cancelled, also a campaign's; of one that
-- its sender has begun only the sender knows whether it was sent: it is refused.
--
-- Parameters:
--   phones       text[]   the phones of the people, as they are typed, out of links
--   user         uuid     only rows of this user
--   sequence     uuid     only this sequence
--   words        text     what the rows say of it in last_error, and messages in error_message
--   keep_queued  boolean  messages stay as they are
--   blocks       boolean  put the phones on the list, for the user or for all
--   why          text     what the list says of them
--   blocked_by   text     who does that
--   now          timestamptz  the instant of the transaction
--   waiting      text[]   values of sequence_contacts.status: a later step's row, made beforehand
--   national     text     regular expression of what begins a national number
--   country      text     what stands for it in an international one
-- Row:
--   table_name   text   the table of the row
--   row_id       uuid   the row
--   user_id      uuid   whose person it is
--   phone        text   the person: the digits
--   sequence     text   name of the sequence; null for a message and for an entry of the list
--   from_device  uuid   nothing
--   from_name    text   nothing
--   to_device    uuid   nothing
--   to_name      text   nothing
--   why          text   active, waiting, quarantined: what the row is; of a message: queued; of an entry: blocked
--   refused      text   begun; null where the row changes
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?phones} \else \set phones '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?words} \else \set words 'stopped' \endif
\if :{?blocks} \else \set blocks 'false' \endif
\if :{?why} \else \set why '' \endif
\if :{?blocked_by} \else \set blocked_by '' \endif
\if :{?now} \else \set now 'now' \endif
\if :{?keep_queued} \else \set keep_queued 'false' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
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
        sc.id
    from asked
    inner join sequence_contacts as sc on asked.digits = sc.contact_phone
    where (sc.status in ('active', 'set_aside') or sc.status = any(:'waiting'::text [])) and sc.contact_phone !~ :'national'::text
    union
    select
        person.digits,
        sc.id
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
        (sc.status in ('active', 'set_aside') or sc.status = any(:'waiting'::text []))
        and (sc.contact_phone ~ '^0|[^0-9]' or :'national'::text <> '(?!)' and sc.contact_phone ~ :'national'::text)
        and person.digits in (select asked.digits from asked)
),

-- As the index of what is in flight has it.
own_message as materialized (
    select
        asked.digits,
        m.id
    from asked
    inner join broadcast_messages as m on asked.digits = m.recipient_phone
    where m.status in ('pending', 'queued', 'processing') and m.recipient_phone !~ :'national'::text
    union
    select
        person.digits,
        m.id
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
        m.status in ('pending', 'queued', 'processing')
        and (m.recipient_phone ~ '^0|[^0-9]' or :'national'::text <> '(?!)' and m.recipient_phone ~ :'national'::text)
        and person.digits in (select asked.digits from asked)
),

change as (
    -- First: whoever comes later finds the phone there.
    select
        'blocked' as table_name,
        coalesce(b.id, gen_random_uuid()) as id,
        nullif(:'user', '')::uuid as user_id,
        asked.digits,
        null as sequence,
        'blocked' as why,
        null as refused,
        jsonb_build_object('digits', asked.digits, 'user_id', nullif(:'user', '')::uuid, 'since', null) as expected,
        jsonb_build_object(
            'since', :'now'::timestamptz, 'why', :'why'::text, 'blocked_by', :'blocked_by'::text
        ) as becomes
    from asked
    left join seqdev.blocked as b
        on asked.digits = b.digits and b.user_id is not distinct from nullif(:'user', '')::uuid
    where :'blocks'::boolean and b.since is null
    union all
    select
        'sequence_contacts' as table_name,
        sc.id,
        s.user_id,
        own.digits,
        coalesce(s.name, left(s.id::text, 0))::text as sequence,
        case sc.status when 'active' then 'active' when 'set_aside' then 'quarantined' else 'waiting' end as why,
        null::text as refused,
        jsonb_build_object(
            'status', sc.status,
            'last_error', sc.last_error,
            'contact_phone', sc.contact_phone,
            'sequence_stepid', sc.sequence_stepid
        ) as expected,
        jsonb_build_object('status', 'stopped', 'last_error', :'words'::text) as becomes
    from own
    inner join sequence_contacts as sc on own.id = sc.id
    inner join sequences as s on sc.sequence_id = s.id
    where
        (nullif(:'user', '')::uuid is null or s.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'sequence', '')::uuid is null or s.id = nullif(:'sequence', '')::uuid)
    union all
    select
        'broadcast_messages',
        m.id,
        m.user_id,
        own_message.digits,
        null,
        'queued',
        case when m.status <> 'pending' then 'begun' end,
        jsonb_build_object('status', m.status, 'error_message', m.error_message),
        jsonb_build_object('status', 'cancelled', 'error_message', :'words'::text)
    from own_message
    inner join broadcast_messages as m on own_message.id = m.id
    where
        not :'keep_queued'::boolean
        and (nullif(:'user', '')::uuid is null or m.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'sequence', '')::uuid is null or m.sequence_id = nullif(:'sequence', '')::uuid)
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
    c.why,
    c.refused,
    c.expected,
    c.becomes
from change as c
order by c.table_name = 'blocked' desc, c.user_id, c.digits, c.table_name desc, c.id;
