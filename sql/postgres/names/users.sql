-- Users to choose from, as completion offers them
--
-- A name that several have is of no use: they are offered by their ids. So is who has no name but an email, which is
-- not for everybody at the screen.
--
-- Parameters:
--   beginning  text    the beginning of a name, in any case, or of an id
--   ids        uuid[]  users that have names, as the statement of postgres/lookup/user_names.sql returns them
--   names      text[]  of each of them: a name
-- Row:
--   value    text  the name or id
--   meaning  text  how many devices the user has, and the beginning of its id
-- Locks: none
\if :{?beginning} \else \set beginning '' \endif
\if :{?ids} \else \set ids '{}' \endif
\if :{?names} \else \set names '{}' \endif
with known as (
    select distinct on (n.id)
        n.id,
        btrim(n.name) as name
    from unnest(:'ids'::uuid [], :'names'::text []) with ordinality as n (id, name, place)
    where position('@' in n.name) = 0
    order by n.id, n.place
),

named as (
    select
        u.id,
        case when count(*) over (partition by lower(k.name)) > 1 then null else k.name end as name
    from users as u
    left join known as k on u.id = k.id
)

select
    case when starts_with(lower(n.name), t.folded) then n.name else n.id::text end as value,
    concat_ws(' ', count(d.id) || case when count(d.id) = 1 then ' device' else ' devices' end, left(n.id::text, 8)) as meaning
from named as n
cross join (select lower(:'beginning'::text) as folded) as t
left join user_devices as d on n.id = d.user_id
where
    starts_with(lower(n.name), t.folded)
    or starts_with(n.id::text, t.folded) and (n.name is null or length(t.folded) >= 4)
group by n.id, n.name, t.folded
order by value
limit 200;
