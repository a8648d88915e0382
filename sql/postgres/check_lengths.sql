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

-- A condition on none of its rows is asked once: where it does not hold, the table is not read.
too_long (origin, rows_found) as (
    select
        long.origin,
        count(*)
    from leads as l
    cross join lateral (
        values
            ('leads.phone', length(l.phone) > (select room.lead_phone from room)),
            ('leads.name', length(l.name) > (select room.lead_name from room))
    ) as long (origin, is_too_long)
    where (select coalesce(room.lead_phone, room.lead_name) is not null from room) and long.is_too_long
    group by long.origin
    union all
    select
        long.origin,
        count(*)
    from sequence_contacts as sc
    cross join lateral (
        values
            ('sequence_contacts.contact_phone', length(sc.contact_phone) > (select room.contact_phone from room)),
            ('sequence_contacts.contact_name', length(sc.contact_name) > (select room.contact_name from room))
    ) as long (origin, is_too_long)
    where
        (select coalesce(room.contact_phone, room.contact_name) is not null from room)
        and long.is_too_long
        and sc.completed_at is null
    group by long.origin
)

select
    format('%s too long for %s', n.origin, n.target)::text as item,
    'advised'::text as status,
    format(
        '%s rows have more than %s characters there: %s; shorten them, or widen the column',
        t.rows_found,
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
