-- What of the host's tables keeps the server from running seqdev's statements at all
--
-- Reads the catalogues only. Each of these is no matter of rows: the server refuses the whole statement. There is no
-- remedy that would not change how the host's own statements work, so a person has to decide.
--
-- Parameters:
--   schema  text  schema of the host's tables
-- Row:
--   item    text  what is looked at: a rule, a column, a key
--   status  text  wrong
--   why     text  why commands that write would fail
--   remedy  text  null: a person has to decide
--   mode    text  null
-- Locks: none
\if :{?schema} \else \set schema 'public' \endif
with used (table_name, written, searched) as (
    -- written: columns that seqdev sets; searched: columns in which it looks for patterns or members of a list.
    values
        ('user_devices', '{}'::text [], '{platform}'::text []),
        ('leads', '{user_id,device_id,phone,name,niche,trigger}', '{phone,trigger}'),
        ('sequence_steps', '{}', '{trigger,next_trigger,message_type,content,media_url}'),
        (
            'sequence_contacts',
            '{id,sequence_id,contact_phone,contact_name,current_step,status,completed_at,current_trigger,'
            'next_trigger_time,processing_device_id,processing_started_at,last_error,retry_count,'
            'assigned_device_id,sequence_stepid,user_id}',
            '{contact_phone}'
        ),
        (
            'broadcast_messages',
            '{id,user_id,device_id,sequence_id,sequence_stepid,recipient_phone,recipient_name,message_type,'
            'content,media_url,status,scheduled_at,created_at}',
            '{recipient_phone,content}'
        )
),

relation as (
    select
        c.oid,
        u.table_name,
        u.written,
        u.searched
    from used as u
    inner join pg_class as c on u.table_name = c.relname and c.relkind in ('r', 'p')
    inner join pg_namespace as n on c.relnamespace = n.oid
    where n.nspname = :'schema'::text
),

attribute as (
    select
        r.*,
        a.attname,
        a.attgenerated <> '' or a.attidentity = 'a' as is_generated,
        co.collname,
        co.collisdeterministic
    from relation as r
    inner join pg_attribute as a on r.oid = a.attrelid and a.attnum > 0 and not a.attisdropped
    left join pg_collation as co on a.attcollation = co.oid
),

arbiter (table_name, column_names) as (
    -- The keys that seqdev's ON CONFLICT names, their columns in order.
    values
        ('leads', '{phone,user_id}'::text []),
        ('sequence_contacts', '{contact_phone,sequence_id,sequence_stepid}'),
        ('broadcast_messages', '{id}')
),

late as (
    select
        r.table_name,
        con.conname,
        (
            select array_agg(a.attname::text order by a.attname::text)
            from pg_attribute as a
            where a.attrelid = con.conrelid and a.attnum = any(con.conkey)
        ) as column_names
    from relation as r
    inner join pg_constraint as con on r.oid = con.conrelid
    where con.contype in ('p', 'u') and con.condeferrable
),

finding (item, why) as (
    select
        format('%s rule %s', r.table_name, w.rulename),
        'the server takes no statement that writes in several tables at once where a table has a rewrite rule;'
        ' a trigger can do what the rule does'
    from relation as r
    inner join pg_rewrite as w on r.oid = w.ev_class
    -- 2: of UPDATE, 3: of INSERT; D: switched off.
    where r.written <> '{}' and w.ev_type in ('2', '3') and w.ev_enabled <> 'D'
    union all
    select
        format('%s.%s', a.table_name, a.attname),
        'the server generates it always, and seqdev writes it; a trigger or a default can fill it instead'
    from attribute as a
    where a.is_generated and a.attname = any(a.written)
    union all
    select
        format('%s.%s collation', a.table_name, a.attname),
        format(
            '%s is not deterministic: the server looks for no patterns there; give the column another collation',
            a.collname
        )
    from attribute as a
    where not a.collisdeterministic and a.attname = any(a.searched)
    union all
    select
        format('%s constraint %s', l.table_name, l.conname),
        'it may be checked at COMMIT only, and ON CONFLICT takes no such key, even beside another on these columns;'
        ' make it NOT DEFERRABLE'
    from late as l
    inner join arbiter as k on l.table_name = k.table_name and l.column_names = k.column_names
)

select
    f.item::text as item,
    'wrong'::text as status,
    f.why::text as why,
    null::text as remedy,
    null::text as mode
from finding as f
order by f.item;
