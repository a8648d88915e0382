-- Names and phones that are too long for the columns that seqdev would copy them into
--
-- Reads the catalogues; and the rows of a table only where a column is wider than the one that it is copied into.
--
-- Row:
--   item    text  both columns
--   status  text  ok, or advised
--   why     text  how many rows, and what follows
--   remedy  text  null: a person has to decide
--   mode    text  null
-- Locks: none
with width as materialized (
    -- Null: any number of characters.
    select
        a.attrelid::regclass::text || '.' || a.attname as name,
        case when a.atttypid in ('varchar'::regtype, 'bpchar'::regtype) and a.atttypmod > 4 then a.atttypmod - 4 end
            as characters
    from pg_attribute as a
    where a.attrelid in ('leads'::regclass, 'sequence_contacts'::regclass, 'broadcast_messages'::regclass)
),

narrowed as materialized (
    select
        copied.origin,
        copied.target,
        onto.characters
    from (
        values
            ('leads.phone', 'sequence_contacts.contact_phone'),
            ('leads.name', 'sequence_contacts.contact_name'),
            ('sequence_contacts.contact_phone', 'broadcast_messages.recipient_phone'),
            ('sequence_contacts.contact_name', 'broadcast_messages.recipient_name')
    ) as copied (origin, target)
    inner join width as own on copied.origin = own.name
    inner join width as onto on copied.target = onto.name
    where onto.characters < own.characters or onto.characters is not null and own.characters is null
),

room as materialized (
    select
        min(n.characters) filter (where n.origin = 'leads.phone') as lead_phone,
        min(n.characters) filter (where n.origin = 'leads.name') as lead_name,
        min(n.characters) filter (where n.origin = 'sequence_contacts.contact_phone') as contact_phone,
        min(n.characters) filter (where n.origin = 'sequence_contacts.contact_name') as contact_name
    from narrowed as n
),

-- Where no column of a table is wider, the table is not read.
long_lead as materialized (
    select
        count(*) filter (where length(l.phone) > room.lead_phone) as phones,
        count(*) filter (where length(l.name) > room.lead_name) as names
    from room
    cross join leads as l
    where room.lead_phone is not null or room.lead_name is not null
),

long_contact as materialized (
    select
        count(*) filter (where length(sc.contact_phone) > room.contact_phone) as phones,
        count(*) filter (where length(sc.contact_name) > room.contact_name) as names
    from room
    cross join sequence_contacts as sc
    where (room.contact_phone is not null or room.contact_name is not null) and sc.completed_at is null
),

too_long (origin, rows_found) as (
    select
        long.origin,
        long.rows_found
    from long_lead
    cross join long_contact
    cross join lateral (
        values
            ('leads.phone', long_lead.phones),
            ('leads.name', long_lead.names),
            ('sequence_contacts.contact_phone', long_contact.phones),
            ('sequence_contacts.contact_name', long_contact.names)
    ) as long (origin, rows_found)
    where long.rows_found > 0
)

select
    format('%s too long for %s', n.origin, n.target)::text as item,
    'advised'::text as status,
    format(
        '%s more than %s characters there: %s; shorten them, or widen the column',
        case when t.rows_found = 1 then '1 row has' else t.rows_found || ' rows have' end,
        n.characters,
        case
            when n.origin like 'leads.%' then 'enroll refuses these people (refused_by_database)'
            else 'a tick quarantines these contacts'
        end
    )::text as why,
    null::text as remedy,
    null::text as mode
from narrowed as n
inner join too_long as t on n.origin = t.origin
union all
select
    'lengths of names and phones',
    'ok',
    'all fit into the columns that they are copied into',
    null,
    null
where not exists (select 1 from too_long)
order by item;
