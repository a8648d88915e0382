-- The names of devices, sequences or users that come nearest to a text
--
-- By the pairs of neighbouring letters that the two have in common, whatever their case. A name that the text begins
-- comes first. Emails of users are never among them.
--
-- Parameters:
--   text   text    what was typed
--   kind   text    device, sequence or user
--   user   uuid    only those of this user
--   names  text[]  names of users, which seqdev knows no column for
-- Row:
--   name  text  the name
-- Locks: none
\if :{?text} \else \set text '' \endif
\if :{?kind} \else \set kind 'device' \endif
\if :{?user} \else \set user '' \endif
\if :{?names} \else \set names '{}' \endif
with named as (
    select d.device_name::text as name
    from user_devices as d
    where :'kind'::text = 'device' and (nullif(:'user', '')::uuid is null or d.user_id = nullif(:'user', '')::uuid)
    union
    select s.name::text as name
    from sequences as s
    where :'kind'::text = 'sequence' and (nullif(:'user', '')::uuid is null or s.user_id = nullif(:'user', '')::uuid)
    union
    select u.name
    from unnest(:'names'::text []) as u (name)
    where :'kind'::text = 'user' and position('@' in u.name) = 0
),

typed as (
    select distinct substr(t.padded, place.number, 2) as pair
    from (select ' ' || left(lower(btrim(:'text'::text)), 100) || ' ' as padded) as t
    cross join generate_series(1, length(t.padded) - 1) as place (number)
),

compared as (
    select
        n.name,
        2.0 * count(t.pair) / ((select count(*) from typed) + count(*)) as likeness
    from named as n
    cross join lateral (
        select distinct substr(' ' || left(lower(btrim(n.name)), 100) || ' ', place.number, 2) as pair
        from generate_series(1, least(length(btrim(n.name)), 100) + 1) as place (number)
    ) as pairs
    left join typed as t on pairs.pair = t.pair
    where n.name <> ''
    group by n.name
)

select c.name
from compared as c
cross join lateral (
    select btrim(:'text'::text) <> '' and starts_with(lower(btrim(c.name)), lower(btrim(:'text'::text))) as begun
) as b
where b.begun or c.likeness >= 0.35
order by b.begun desc, c.likeness desc, c.name
limit 3;
