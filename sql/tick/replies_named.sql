-- The statement that reads the table or view of the rule replies_from
--
-- It is made here, because a name cannot be a parameter. The table's own index on replied_at, where it has one, keeps
-- it cheap; else it reads all of it.
--
-- Parameters:
--   named  text         the table or view, as tick/inbox.sql has found it
--   since  timestamptz  messages from then on
--   until  timestamptz  and up to then
--   each   boolean      each time that a person has written, not only the last
-- Row:
--   statement  text  returns phone and device_id as texts, and replied_at; null: the table is gone
-- Locks: none
\if :{?named} \else \set named '' \endif
\if :{?since} \else \set since '1970-01-01' \endif
\if :{?until} \else \set until 'now' \endif
\if :{?each} \else \set each 'false' \endif
select
    max(
        format(
            'select phone::text, device_id::text, max(replied_at)::timestamptz from %I.%I'
            ' where phone is not null and replied_at between %L::timestamptz and %L::timestamptz group by 1, 2%s',
            n.nspname,
            c.relname,
            :'since'::timestamptz,
            :'until'::timestamptz,
            case when :'each'::boolean then ', replied_at' end
        )
    ) as statement
from pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
where format('%I.%I', n.nspname, c.relname) = :'named'::text;
