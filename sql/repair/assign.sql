-- Give leads without a device one, and even out what the devices own with the fewest moves
--
-- Without rebalance, the devices are filled up like vessels: of the devices in the order of what they own, the
-- first k are filled when raising them to the level of the k-th takes fewer leads than there are. With it, every
-- device comes to the mean; those that own the most keep one more where it does not come out even, so that the
-- fewest leads move; of each device those never written to go first. Contacts that are under way keep theirs.
--
-- Parameters:
--   distribute  boolean  give a device to the leads without one
--   rebalance   boolean  even out what the devices own
--   user        uuid     only leads of this user
-- Gates: gates/devices.sql of all devices
-- Row:
--   table_name   text   leads
--   row_id       uuid   the lead
--   user_id      uuid   whose lead it is
--   phone        text   its phone
--   sequence     text   nothing
--   from_device  uuid   the device that owns it now
--   from_name    text   its name
--   to_device    uuid   the device that gets it
--   to_name      text   its name
--   why          text   no_device, never_written or written
--   refused      text   no_device_to_give; null where the lead changes
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?distribute} \else \set distribute 'true' \endif
\if :{?rebalance} \else \set rebalance 'false' \endif
\if :{?user} \else \set user '' \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'no' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with device as materialized (
    select
        d.id,
        d.user_id,
        coalesce(d.device_name, left(d.id::text, 0))::text as device_name
    from user_devices as d
    left join unnest(:'devices'::uuid [], :'is_gone'::boolean []) as g (id, is_gone) on d.id = g.id
    where
        g.is_gone is not true
        and (nullif(:'user', '')::uuid is null or d.user_id = nullif(:'user', '')::uuid)
),

free as materialized (
    select
        l.id,
        l.user_id,
        l.phone
    from leads as l
    where
        :'distribute'::boolean
        and l.device_id is null
        -- Set aside by leads merge.
        and coalesce(l.phone !~ '^merged [-0-9a-f]{36}$', true)
        and (nullif(:'user', '')::uuid is null or l.user_id = nullif(:'user', '')::uuid)
),

ranked as materialized (
    select
        d.id,
        d.user_id,
        coalesce(owned.leads, 0) as leads,
        coalesce(waiting.leads, 0) as waiting,
        row_number() over fewest as rank,
        row_number() over (partition by d.user_id order by coalesce(owned.leads, 0) desc, d.id) as rank_down,
        count(*) over (partition by d.user_id) as devices,
        (sum(coalesce(owned.leads, 0)) over fewest)::bigint as up_to,
        (sum(coalesce(owned.leads, 0)) over (partition by d.user_id))::bigint + coalesce(waiting.leads, 0) as in_all
    from device as d
    left join (
        select
            l.device_id,
            l.user_id,
            count(*) as leads
        from leads as l
        where l.device_id is not null
        group by l.device_id, l.user_id
    ) as owned on d.id = owned.device_id and d.user_id = owned.user_id
    left join (
        select
            free.user_id,
            count(*) as leads
        from free
        group by free.user_id
    ) as waiting on d.user_id = waiting.user_id
    window fewest as (partition by d.user_id order by coalesce(owned.leads, 0), d.id rows unbounded preceding)
),

filled as (
    select
        r.user_id,
        count(*) as devices,
        r.waiting + max(r.up_to) as leads
    from ranked as r
    where not :'rebalance'::boolean and r.rank * r.leads - r.up_to < r.waiting
    group by r.user_id, r.waiting
),

-- How many more leads each device gets, or how many fewer.
quota as materialized (
    select
        r.id,
        r.user_id,
        r.rank,
        f.leads / f.devices - r.leads + case when r.rank <= f.leads % f.devices then 1 else 0 end as more
    from ranked as r
    inner join filled as f on r.user_id = f.user_id and r.rank <= f.devices
    union all
    select
        r.id,
        r.user_id,
        r.rank,
        r.in_all / r.devices - r.leads + case when r.rank_down <= r.in_all % r.devices then 1 else 0 end as more
    from ranked as r
    where :'rebalance'::boolean
),

pool as materialized (
    select
        free.id,
        free.user_id,
        free.phone,
        null::uuid as device_id,
        false as written,
        row_number() over (partition by free.user_id order by free.id) as place
    from free
    union all
    select
        l.id,
        l.user_id,
        l.phone,
        l.device_id,
        l.written,
        coalesce(waiting.leads, 0) + row_number() over (
            partition by l.user_id
            order by l.written, l.device_id, l.id
        ) as place
    from (
        select
            owned.*,
            row_number() over (partition by owned.device_id order by owned.written, owned.id) as number
        from (
            select
                leads.id,
                leads.user_id,
                leads.phone,
                leads.device_id,
                -q.more as fewer,
                exists (
                    select 1
                    from broadcast_messages as m
                    where m.recipient_phone = leads.phone and m.user_id = leads.user_id
                ) as written
            from quota as q
            inner join leads on q.id = leads.device_id and q.user_id = leads.user_id
            where q.more < 0
        ) as owned
    ) as l
    left join (
        select
            free.user_id,
            count(*) as leads
        from free
        group by free.user_id
    ) as waiting on l.user_id = waiting.user_id
    where l.number <= l.fewer
),

share as (
    select
        q.user_id,
        array_agg(q.id order by q.rank) as devices,
        array_agg(q.first_place order by q.rank) as first_places
    from (
        select
            quota.*,
            (
                1 - quota.more
                + sum(quota.more) over (partition by quota.user_id order by quota.rank rows unbounded preceding)
            )::bigint as first_place
        from quota
        where quota.more > 0
    ) as q
    group by q.user_id
)

select
    'leads' as table_name,
    p.id as row_id,
    p.user_id,
    p.phone::text as phone,
    null::text as sequence,
    p.device_id as from_device,
    was.device_name::text as from_name,
    d.id as to_device,
    coalesce(d.device_name, left(d.id::text, 0))::text as to_name,
    case when p.device_id is null then 'no_device' when p.written then 'written' else 'never_written' end as why,
    case when d.id is null then 'no_device_to_give' end as refused,
    jsonb_build_object('device_id', p.device_id) as expected,
    jsonb_build_object('device_id', d.id) as becomes
from pool as p
left join share on p.user_id = share.user_id
left join device as d on d.id = share.devices[width_bucket(p.place, share.first_places)]
left join device as was on p.device_id = was.id
order by p.user_id, p.place;
