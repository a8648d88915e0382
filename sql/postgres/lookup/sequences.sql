-- Sequences that a text names: by id, by name, or by the beginning of one
--
-- The best way to fit wins alone: the id; the name as it is; the name whatever its case, and spaces around it; the
-- beginning of an id, and where that is asked for, of a name.
--
-- Parameters:
--   text       text     an id, a name, or the beginning of an id, of four characters at least
--   beginning  boolean  also the beginning of a name
--   user       uuid     only sequences of this user
-- Row:
--   id       uuid  the sequence
--   name     text  its name
--   user_id  uuid  whose it is
-- Locks: none
\if :{?text} \else \set text '' \endif
\if :{?beginning} \else \set beginning 'false' \endif
\if :{?user} \else \set user '' \endif
with typed as (
    select
        :'text'::text as text,
        lower(btrim(:'text'::text)) as folded
),

fitting as (
    select
        s.id,
        s.name::text as name,
        s.user_id,
        case
            when s.id::text = t.folded then 1
            when s.name = t.text then 2
            when t.folded <> '' and lower(btrim(s.name)) = t.folded then 3
            when length(t.folded) >= 4 and starts_with(s.id::text, t.folded) then 4
            when :'beginning'::boolean and t.folded <> '' and starts_with(lower(btrim(s.name)), t.folded) then 4
        end as way
    from sequences as s
    cross join typed as t
    where nullif(:'user', '')::uuid is null or s.user_id = nullif(:'user', '')::uuid
)

select
    f.id,
    f.name,
    f.user_id
from fitting as f
where f.way = (select min(other.way) from fitting as other)
order by f.name, f.id
limit 11;
