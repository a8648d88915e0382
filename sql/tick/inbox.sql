-- Where the host keeps what people write, and what is in the way of reading it
--
-- In the table or view that the rule replies_from names; without the rule, in its table whatsapp_messages, which hosts
-- lack, or parts of it, and whose instants they count in two ways. What the rule names may run code of its owner's choice
-- as whoever reads it: so it has to belong to somebody who could have code run here anyway, as in postgres/owners.sql.
--
-- Parameters:
--   replies_from  text  the rule: a table or view, in the schema of the host's tables unless it names one; empty: not set
--   schema        text  schema of the host's tables
-- Row:
--   kind     text  what there is: instant, epoch (what whatsapp_messages.timestamp holds), named (by the rule); or nothing
--   named    text  by the rule: its schema and name; null: there is nothing of that name, or no rule
--   trouble  text  why it cannot be read; null: nothing is in the way
-- Locks: none
\if :{?replies_from} \else \set replies_from '' \endif
\if :{?schema} \else \set schema 'public' \endif
with trusted (role) as (
    select c.relowner
    from pg_class as c
    inner join pg_namespace as n on c.relnamespace = n.oid
    where
        n.nspname = :'schema'::text
        and c.relkind in ('r', 'p')
        and c.relname in ('users', 'user_devices', 'leads', 'sequences', 'sequence_contacts', 'broadcast_messages')
    union
    select d.datdba
    from pg_database as d
    where d.datname = current_database()
    union
    select r.oid
    from pg_roles as r
    where r.rolname = 'pg_database_owner'
),

stored as (
    select
        case
            when count(*) filter (where a.attname in ('chat_jid', 'device_id')) = 2
                then max(
                    case
                        when a.attname <> 'timestamp' then null
                        when t.typname in ('timestamp', 'timestamptz') then 'instant'
                        when t.typname in ('int8', 'int4', 'numeric') then 'epoch'
                    end
                )
        end as kind,
        bool_and(has_table_privilege(c.oid, 'select')) as is_readable
    from pg_class as c
    inner join pg_attribute as a on c.oid = a.attrelid and a.attnum > 0 and not a.attisdropped
    inner join pg_type as t on a.atttypid = t.oid
    where c.oid = to_regclass('whatsapp_messages') and c.relkind in ('r', 'p')
),

-- By comparison, because a text that is no name at all makes a cast to regclass fail.
named as (
    select
        c.oid,
        c.relowner,
        format('%I.%I', n.nspname, c.relname) as name,
        has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select') as is_readable
    from pg_class as c
    inner join pg_namespace as n on c.relnamespace = n.oid
    where
        c.relkind in ('r', 'p', 'v', 'm', 'f')
        and (
            :'replies_from'::text = format('%I.%I', n.nspname, c.relname)
            or n.nspname = :'schema'::text and :'replies_from'::text in (c.relname, quote_ident(c.relname))
        )
    order by :'replies_from'::text = format('%I.%I', n.nspname, c.relname) desc
    limit 1
),

lacking as (
    select string_agg(wanted.name || ' (' || wanted.kinds || ')', ', ' order by wanted.position) as columns
    from named
    cross join (
        values
            (1, 'phone', 'text', 'S'),
            (2, 'device_id', 'uuid or text, may be null', 'SU'),
            (3, 'replied_at', 'timestamp with or without time zone', 'D')
    ) as wanted (position, name, kinds, categories)
    where not exists (
        select 1
        from pg_attribute as a
        inner join pg_type as t on a.atttypid = t.oid
        where
            named.oid = a.attrelid
            and a.attname = wanted.name
            and a.attnum > 0
            and not a.attisdropped
            and case t.typcategory
                when 'D' then t.typname in ('timestamp', 'timestamptz')
                when 'U' then t.typname = 'uuid'
                else true
            end
            and wanted.categories ~ t.typcategory
    )
)

select
    case when :'replies_from'::text = '' then stored.kind else 'named' end as kind,
    case when :'replies_from'::text <> '' then named.name end as named,
    case
        when :'replies_from'::text = '' then
            case
                when stored.kind is null
                    then 'there is no table whatsapp_messages with the columns device_id, chat_jid and timestamp'
                when not stored.is_readable
                    then 'this role may not read whatsapp_messages; give it the right: seqdev db grants'
            end
        when named.name is null
            then 'there is no table or view ' || :'replies_from'::text || ', which the rule replies_from names'
        when lacking.columns is not null
            then named.name || ', which the rule replies_from names, lacks the columns ' || lacking.columns
        when not exists (
            select 1
            from trusted
            where pg_has_role(named.relowner, trusted.role, 'member')
        )
            then named.name || ', which the rule replies_from names, belongs to a role that owns neither the database nor '
                || 'the host''s tables, and could have code run as whoever reads it'
        when not named.is_readable
            then 'this role may not read ' || named.name
                || ', which the rule replies_from names; give it the right: seqdev db grants'
    end as trouble
from stored
left join named on true
left join lacking on true;
