-- Rows still to come of people without a lead: to the phone that their lead has now, or their end
--
-- The new phone is the one that the operator names, or that the journal knows: of the lead, or of a row that went the
-- same way before. A lead of the user must have it. Nobody goes where that phone has been, or was written to. Where a
-- lead has the phone in another spelling, seqdev leads merge brings the rows to it.
--
-- Parameters:
--   user      uuid     only sequences of this user
--   sequence  uuid     only this sequence
--   device    uuid     only what is assigned to this device
--   national  text     regular expression of what begins a national number
--   country   text     what stands for it in an international one
--   phones    text[]   only these phones; empty: all
--   to        text[]   the new phone, in every writing that is tried; empty: as the journal knows
--   ends      boolean  end them
--   waiting   text[]   values of sequence_contacts.status: a later step's row, made beforehand
-- Row:
--   table_name   text   the table of the row
--   row_id       uuid   the row
--   user_id      uuid   the user of the sequence
--   phone        text   whose row it is
--   sequence     text   name of the sequence
--   from_device  uuid   nothing
--   from_name    text   nothing
--   to_device    uuid   nothing
--   to_name      text   nothing
--   why          text   named, journal; asked: they end
--   refused      text   other_spelling, new_phone_unknown, no_lead, already_in, message_exists; null where the row
--                       changes
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
\if :{?phones} \else \set phones '{}' \endif
\if :{?to} \else \set to '{}' \endif
\if :{?ends} \else \set ends 'false' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
with respelt as materialized (
    select
        ch.id,
        ch.table_name,
        ch.row_id,
        ch.old_value,
        ch.new_value
    from seqdev.change as ch
    where
        ch.table_name = 'leads' and ch.column_name = 'phone'
        or ch.table_name = 'sequence_contacts' and ch.column_name = 'contact_phone'
),

moved as materialized (
    select distinct on (known.user_id, known.old_phone) known.*
    from (
        select
            l.user_id,
            ch.old_value as old_phone,
            l.phone::text as new_phone,
            ch.id
        from respelt as ch
        inner join leads as l on ch.row_id = l.id
        where
            ch.table_name = 'leads'
            -- Set aside by leads merge.
            and l.phone !~ '^merged [-0-9a-f]{36}$'
        union all
        select
            s.user_id,
            ch.old_value,
            sc.contact_phone::text,
            ch.id
        from respelt as ch
        inner join sequence_contacts as sc on ch.row_id = sc.id and ch.new_value = sc.contact_phone
        inner join sequences as s on sc.sequence_id = s.id
        where ch.table_name = 'sequence_contacts'
    ) as known
    order by known.user_id, known.old_phone, known.id desc
),

named as materialized (
    select distinct on (l.user_id)
        l.user_id,
        l.phone::text as phone
    from leads as l
    where l.phone = any(:'to'::text [])
    order by l.user_id, l.phone
),

leadless as materialized (
    select
        sc.*,
        s.user_id as owner_id,
        coalesce(s.name, left(s.id::text, 0))::text as sequence_name,
        case when :'to'::text [] = '{}' then moved.new_phone else named.phone end as new_phone,
        :'to'::text [] <> '{}' as is_named
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    left join moved on s.user_id = moved.user_id and sc.contact_phone = moved.old_phone
    left join named on s.user_id = named.user_id
    where
        (sc.status = 'active' or sc.status = any(:'waiting'::text []))
        and (:'phones'::text [] = '{}' or sc.contact_phone = any(:'phones'::text []))
        and not exists (
            select 1
            from leads as l
            where l.user_id = s.user_id and l.phone = sc.contact_phone
        )
        and (
            nullif(:'user', '')::uuid is null
            or s.user_id = nullif(:'user', '')::uuid
                and coalesce(sc.user_id, s.user_id) = s.user_id
        )
        and (nullif(:'sequence', '')::uuid is null or s.id = nullif(:'sequence', '')::uuid)
        and (nullif(:'device', '')::uuid is null or sc.assigned_device_id = nullif(:'device', '')::uuid)
),

spelled as materialized (
    select
        one.user_id,
        one.phone,
        person.digits
    from (
        select
            leadless.owner_id as user_id,
            leadless.contact_phone::text as phone
        from leadless
        union
        select
            l.user_id,
            l.phone::text
        from leads as l
        where
            l.user_id in (select leadless.owner_id from leadless)
            and (l.phone ~ '^0|[^0-9]' or :'national'::text <> '(?!)' and l.phone ~ :'national'::text)
    ) as one
    cross join lateral (
        -- digits: as in enroll/persons.sql
        select
            case
                when one.phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                else regexp_replace(bare.digits, :'national'::text, :'country'::text)
            end as digits
        from (
            select regexp_replace(
                one.phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
            ) as digits
        ) as bare
    ) as person
    where person.digits ~ '^[0-9]{6,15}$'
),

-- Those whom a lead of the user has in another spelling: written as WhatsApp does, or not.
respelled as materialized (
    select
        own.user_id,
        own.phone
    from spelled as own
    inner join leads as l on own.user_id = l.user_id and own.digits = l.phone
    union
    select
        own.user_id,
        own.phone
    from spelled as own
    inner join spelled as other on own.user_id = other.user_id and own.digits = other.digits
    inner join leads as l on other.user_id = l.user_id and other.phone = l.phone
),

-- What there is under the new phones.
lead_there as materialized (
    select
        l.user_id,
        l.phone
    from leads as l
    where l.phone in (select leadless.new_phone from leadless)
),

row_there as materialized (
    select
        x.sequence_id,
        x.contact_phone
    from sequence_contacts as x
    where x.contact_phone in (select leadless.new_phone from leadless)
),

message_there as materialized (
    select
        m.sequence_id,
        m.recipient_phone
    from broadcast_messages as m
    where m.recipient_phone in (select leadless.new_phone from leadless)
)

select
    'sequence_contacts' as table_name,
    p.id as row_id,
    p.owner_id as user_id,
    p.contact_phone::text as phone,
    p.sequence_name::text as sequence,
    null::uuid as from_device,
    null::text as from_name,
    null::uuid as to_device,
    null::text as to_name,
    case when :'ends'::boolean then 'asked' when p.is_named then 'named' else 'journal' end as why,
    case
        when :'ends'::boolean then null
        when
            p.new_phone is null
            and not p.is_named
            and (p.owner_id, p.contact_phone) in (
                select
                    respelled.user_id,
                    respelled.phone
                from respelled
            )
            then 'other_spelling'
        when p.new_phone is null and p.is_named then 'no_lead'
        when p.new_phone is null then 'new_phone_unknown'
        when
            (p.owner_id, p.new_phone) not in (
                select
                    l.user_id,
                    l.phone
                from lead_there as l
            )
            then 'no_lead'
        when
            (p.sequence_id, p.new_phone) in (
                select
                    x.sequence_id,
                    x.contact_phone
                from row_there as x
            )
            then 'already_in'
        when
            (p.sequence_id, p.new_phone) in (
                select
                    m.sequence_id,
                    m.recipient_phone
                from message_there as m
            )
            then 'message_exists'
    end as refused,
    jsonb_build_object(
        'status', p.status, 'last_error', p.last_error, 'contact_phone', p.contact_phone
    ) as expected,
    case
        when :'ends'::boolean
            then '{"status": "stopped", "last_error": "ended: no lead of the user has this phone"}'
        else jsonb_build_object('contact_phone', p.new_phone, 'last_error', null)
    end as becomes
from leadless as p
order by p.owner_id, p.contact_phone, p.id;
