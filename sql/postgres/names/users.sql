-- Users to choose from, as completion offers them
--
-- Parameters:
--   beginning  text  the beginning of an id
-- Row:
--   value    text  the id
--   meaning  text  how many devices the user has
-- Locks: none
\if :{?beginning} \else \set beginning '' \endif
select
    u.id::text as value,
    count(d.id) || ' devices' as meaning
from users as u
left join user_devices as d on u.id = d.user_id
where starts_with(u.id::text, lower(:'beginning'::text))
group by u.id
order by u.id
limit 200;
