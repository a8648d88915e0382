-- What seqdev journal prune may do, as GRANT statements
--
-- It may delete, and nowhere but in the two tables of the journal; of the host's rows it reads what tells whether a
-- change is still in effect.
-- It runs nothing: read the statements, then run them (seqdev db grants prune --to ROLE --yes). The role has
-- to be there.
--
-- Parameters:
--   to      text  the role that is to have it
--   schema  text  schema of the host's tables
-- Row:
--   statement  text  the statement
--   why        text  what it is for
-- Locks: none
\if :{?to} \else \set to 'seqdev_prune' \endif
\if :{?schema} \else \set schema 'public' \endif
with needed (position, schema_name, table_name, privilege, why) as (
    -- No table: the schema; no schema: the database.
    values
        (10, null, null, 'connect', 'to log in'),
        (20, :'schema'::text, null, 'usage', 'to see the host''s tables'),
        (30, 'seqdev', null, 'usage', 'to see seqdev''s own tables'),
        (40, :'schema'::text, 'sequence_contacts', 'select (id, status)', 'whether a step is done'),
        (50, :'schema'::text, 'leads', 'select (id, device_id)', 'whether a lead has still the device of a change'),
        (60, :'schema'::text, 'broadcast_messages', 'select (id, status)', 'whether a message is still to be sent'),
        (70, 'seqdev', 'run', 'select', 'what is old'),
        (80, 'seqdev', 'run', 'insert', 'every run enters itself'),
        (90, 'seqdev', 'run', 'update (finished_at, counts, exit_code, reason)', 'at its end'),
        (100, 'seqdev', 'run', 'delete', 'old runs'),
        (110, 'seqdev', 'change', 'select', 'what they have changed'),
        (120, 'seqdev', 'change', 'delete', 'and that with them'),
        (130, 'seqdev', 'setting', 'select', 'the zone that is kept with the database'),
        (140, 'seqdev', 'rule', 'select', 'the rules that every host obeys'),
        (150, 'seqdev', 'pause', 'select', 'whether seqdev is paused'),
        (160, 'seqdev', 'blocked', 'select', 'phones that are still blocked')
)

select
    format(
        'grant %s on %s to %I',
        n.privilege,
        case
            when n.schema_name is null then format('database %I', current_database())
            when n.table_name is null then format('schema %I', n.schema_name)
            else format('table %I.%I', n.schema_name, n.table_name)
        end,
        :'to'::text
    ) as statement,
    n.why
from needed as n
left join pg_namespace as s on n.schema_name = s.nspname
left join pg_class as t on s.oid = t.relnamespace and n.table_name = t.relname and t.relkind in ('r', 'p')
where
    (n.schema_name is null or s.oid is not null)
    and (n.table_name is null or t.oid is not null)
order by n.position;
