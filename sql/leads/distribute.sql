-- Give the lines that need a device one, so that the devices own numbers of leads as even as can be
--
-- The devices are filled up like vessels: first the one that owns the fewest leads, up to the next one, then
-- both of them together, and so on. Of the devices in the order of what they own, the first k are filled
-- when raising them all to the level of the k-th takes fewer people than there are; the level they come to
-- is then the mean of all they have. People go to the devices in the order of the lines.
--
-- Parameters:
--   user     uuid    whose leads they are
--   devices  uuid[]  the devices to give them to
-- Needs:
--   leads/outcome.sql
-- Locks: none
\if :{?user} \else \set user '00000000-0000-0000-0000-000000000000' \endif
\if :{?devices} \else \set devices '{}' \endif
with free as materialized (
    select
        o.line,
        row_number() over (order by o.line) as place
    from pg_temp.lead_outcome as o
    where o.needs_device
),

owned as (
    select
        had.device_id,
        count(*) as leads
    from (
        select l.device_id
        from leads as l
        where l.user_id = :'user'::uuid and l.device_id = any(:'devices'::uuid [])
        union all
        select o.device_id
        from pg_temp.lead_outcome as o
        where o.device_id = any(:'devices'::uuid []) and not o.needs_device
    ) as had
    group by had.device_id
),

ranked as materialized (
    select
        d.id,
        coalesce(owned.leads, 0) as leads,
        row_number() over fewest as rank,
        (sum(coalesce(owned.leads, 0)) over fewest)::bigint as up_to
    from unnest(:'devices'::uuid []) as d (id)
    left join owned on d.id = owned.device_id
    window fewest as (order by coalesce(owned.leads, 0), d.id rows unbounded preceding)
),

filled as (
    select
        count(*) as devices,
        free.people + coalesce(max(r.up_to), 0) as leads
    from ranked as r
    cross join (select count(*) as people from free) as free
    where r.rank * r.leads - r.up_to < free.people
    group by free.people
),

quota as (
    select
        r.id,
        r.rank,
        filled.leads / filled.devices - r.leads
        + case when r.rank <= filled.leads % filled.devices then 1 else 0 end as people
    from ranked as r
    inner join filled on r.rank <= filled.devices
),

share as (
    select
        array_agg(q.id order by q.rank) as devices,
        array_agg(q.first_place order by q.rank) as first_places
    from (
        select
            quota.id,
            quota.rank,
            quota.people,
            (1 + sum(quota.people) over (order by quota.rank rows unbounded preceding) - quota.people)::bigint
                as first_place
        from quota
    ) as q
    where q.people > 0
),

-- Chosen apart from the update: an array that is subscripted by the update itself, of numbers from distributed leads,
-- makes a coordinator of Citus 14.0 crash.
chosen as materialized (
    select
        free.line,
        share.devices[width_bucket(free.place, share.first_places)] as device_id
    from free
    cross join share
)

update pg_temp.lead_outcome as o
set device_id = chosen.device_id
from chosen
where o.line = chosen.line;
