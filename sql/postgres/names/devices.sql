-- Devices to choose from, as completion offers them
--
-- A name that several have is of no use: they are offered by their ids.
--
-- Parameters:
--   beginning  text  the beginning of a name, in any case, or of an id
--   user       text  only devices of users whose id begins so
-- Row:
--   value    text  the name or id
--   meaning  text  its status, and the beginning of its id
-- Locks: none
\if :{?beginning} \else \set beginning '' \endif
\if :{?user} \else \set user '' \endif
with named as (
    select
        d.id,
        d.status,
        case when count(*) over (partition by d.device_name) > 1 then null else nullif(btrim(d.device_name), '') end as name
    from user_devices as d
    where starts_with(d.user_id::text, lower(:'user'::text))
)

select
    case when starts_with(lower(n.name), t.folded) then n.name else n.id::text end as value,
    concat_ws(' ', n.status, left(n.id::text, 8)) as meaning
from named as n
cross join (select lower(:'beginning'::text) as folded) as t
where
    starts_with(lower(n.name), t.folded)
    or starts_with(n.id::text, t.folded) and (n.name is null or length(t.folded) >= 4)
order by value
limit 200;
