-- Runs to choose from, the newest first, as completion offers them
--
-- Parameters:
--   beginning  text     the beginning of an id
--   changing   boolean  only runs that have changed rows
-- Row:
--   value    text  the first characters of the id
--   meaning  text  the command, and when it began
-- Locks: none
\if :{?beginning} \else \set beginning '' \endif
\if :{?changing} \else \set changing 'false' \endif
select
    left(r.id::text, greatest(8, length(:'beginning'::text))) as value,
    r.command || ', ' || to_char(r.started_at, 'Mon DD HH24:MI') as meaning
from seqdev.run as r
where
    starts_with(r.id::text, lower(:'beginning'::text))
    -- As in sql/journal/find.sql.
    and r.id between
    case
        when :'beginning'::text ~* '^[-0-9a-f]{0,36}$' then rpad(left(replace(:'beginning'::text, '-', ''), 32), 32, '0')::uuid
    end
    and case
        when :'beginning'::text ~* '^[-0-9a-f]{0,36}$' then rpad(left(replace(:'beginning'::text, '-', ''), 32), 32, 'f')::uuid
    end
    and (not :'changing'::boolean or exists (select 1 from seqdev.change as c where c.run_id = r.id))
order by r.started_at desc
limit 50;
