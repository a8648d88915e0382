-- Users that a text names: by id, by name where the host has names, or by the beginning of one
--
-- The best way to fit wins alone: the id; the name as it is; the name whatever its case, and spaces around it; the
-- beginning of an id, and where that is asked for, of a name. A name with an @ is an email: it fits whole, and is not
-- returned, because what people log in with is nobody else's to read.
--
-- Parameters:
--   text       text     an id, a name, or the beginning of an id, of four characters at least
--   beginning  boolean  also the beginning of a name
--   ids        uuid[]   users that have names, as the statement of postgres/lookup/user_names.sql returns them
--   names      text[]   of each of them: a name
-- Row:
--   id       uuid  the user
--   name     text  the name; null: the host has none, or an email alone
--   user_id  uuid  the same as id
-- Locks: none
\if :{?text} \else \set text '' \endif
\if :{?beginning} \else \set beginning 'false' \endif
\if :{?ids} \else \set ids '{}' \endif
\if :{?names} \else \set names '{}' \endif
with typed as (
    select
        :'text'::text as text,
        lower(btrim(:'text'::text)) as folded
),

known as (
    select
        n.id,
        n.name,
        position('@' in n.name) > 0 as is_email,
        n.place
    from unnest(:'ids'::uuid [], :'names'::text []) with ordinality as n (id, name, place)
),

fitting as (
    select
        u.id,
        case
            when u.id::text = t.folded then 1
            when length(t.folded) >= 4 and starts_with(u.id::text, t.folded) then 4
        end as way
    from users as u
    cross join typed as t
    union all
    select
        k.id,
        case
            when k.name = t.text then 2
            when t.folded <> '' and lower(btrim(k.name)) = t.folded then 3
            when
                :'beginning'::boolean
                and not k.is_email
                and t.folded <> ''
                and starts_with(lower(btrim(k.name)), t.folded)
                then 4
        end as way
    from known as k
    cross join typed as t
)

select
    f.id,
    shown.name,
    f.id as user_id
from fitting as f
left join lateral (
    select k.name
    from known as k
    where f.id = k.id and not k.is_email
    order by k.place
    limit 1
) as shown on true
where f.way = (select min(other.way) from fitting as other)
group by f.id, shown.name
order by shown.name, f.id
limit 11;
