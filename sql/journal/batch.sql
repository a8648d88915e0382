-- What each batch looks at first: who has paused the commands that write, if anybody has, and the rules
--
-- Each batch looks, holding the lock of sql/postgres/begin.sql, before it does anything else. At both in one statement,
-- for the sake of ticks that find nothing to do.
--
-- Row:
--   paused_at      timestamptz  since when; null: nobody has
--   os_user        text         who: the user of the operating system
--   host           text         where
--   database_user  text         and on the database
--   why            text         what for
--   rules          jsonb        as sql/postgres/rules.sql has them
--   policies       text[]       the same
--   narrower       text[]       the same
-- Locks: none
select
    p.paused_at,
    p.os_user,
    p.host,
    p.database_user,
    p.why,
    held.rules,
    held.policies,
    held.narrower
from (
    -- rules: as in postgres/rules.sql
    select
        coalesce(jsonb_object_agg(r.name, r.value) filter (where r.scope = 'all'), '{}') as rules,
        coalesce(
            array_agg(distinct r.value) filter (where r.scope = 'user' and r.name = 'policy'), '{}'
        ) as policies,
        coalesce(array_agg(distinct r.name) filter (where r.scope <> 'all'), '{}') as narrower
    from seqdev.rule as r
    where r.value is not null
) as held
left join seqdev.pause as p on p.resumed_at is null;
