-- Move the people of a lost device to another one, or evenly to those of the same user that are available
--
-- A person moves as a whole: the lead that the device owns, and the rows still to come that it is assigned to.
-- Those never written to come first. Spread, people whose lead belongs to one of the available devices go there;
-- the others fill the devices up like vessels, from the one that owns the fewest leads: of the devices in that
-- order, the first k are filled when raising them to the level of the k-th takes fewer people than there are.
--
-- Parameters:
--   old   uuid     the lost device
--   to    uuid     the device that gets its people; empty: spread them
--   most  integer  people to move, at most; empty: all
-- Gates: gates/devices.sql under strict of all devices
-- Row:
--   table_name   text   the table of the row
--   row_id       uuid   the row
--   user_id      uuid   the user of the person
--   phone        text   the person
--   sequence     text   name of the sequence; null for a lead
--   from_device  uuid   the lost device
--   from_name    text   its name
--   to_device    uuid   the device that gets the person
--   to_name      text   its name
--   why          text   never_written or written
--   refused      text   device_of_other_user, no_available_device; null where the row changes
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?old} \else \set old '00000000-0000-0000-0000-000000000000' \endif
\if :{?to} \else \set to '' \endif
\if :{?most} \else \set most '' \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'no' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with theirs as materialized (
    select
        'sequence_contacts' as table_name,
        sc.id as row_id,
        s.user_id,
        sc.contact_phone as phone,
        s.name as sequence,
        jsonb_build_object('status', sc.status, 'assigned_device_id', sc.assigned_device_id) as expected,
        'assigned_device_id' as column_name
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    where sc.assigned_device_id = :'old'::uuid and sc.status = 'active'
    union all
    select
        'leads' as table_name,
        l.id as row_id,
        l.user_id,
        l.phone,
        null as sequence,
        jsonb_build_object('device_id', l.device_id) as expected,
        'device_id' as column_name
    from leads as l
    where l.device_id = :'old'::uuid
),

target as materialized (
    select
        d.id,
        d.user_id
    from unnest(:'devices'::uuid [], :'device_users'::uuid [], :'device_reasons'::text []) as d (id, user_id, reason)
    where
        d.id <> :'old'::uuid
        and case
            when nullif(:'to', '')::uuid is not null then d.id = nullif(:'to', '')::uuid
            else d.reason is null
        end
),

judged as materialized (
    select
        t.*,
        own.id as device_id,
        t.user_id in (select target.user_id from target) as served,
        exists (
            select 1
            from broadcast_messages as m
            where m.recipient_phone = t.phone and m.user_id = t.user_id
        ) as written
    from theirs as t
    left join leads as l on t.user_id = l.user_id and t.phone = l.phone
    left join target as own
        on l.device_id = own.id and l.user_id = own.user_id and nullif(:'to', '')::uuid is null
),

-- Places of people, not of rows: those never written to first.
moving as materialized (
    select
        j.*,
        dense_rank() over (partition by j.served order by j.written, j.user_id, j.phone) as place,
        dense_rank() over (
            partition by j.user_id, j.device_id is null
            order by j.written, j.phone
        ) as user_place
    from judged as j
),

demand as (
    select
        m.user_id,
        max(m.user_place) as people
    from moving as m
    where
        m.served
        and m.device_id is null
        and (nullif(:'most', '')::integer is null or m.place <= nullif(:'most', '')::integer)
    group by m.user_id
),

ranked as materialized (
    select
        t.id,
        t.user_id,
        demand.people,
        coalesce(owned.leads, 0) as leads,
        row_number() over fewest as rank,
        (sum(coalesce(owned.leads, 0)) over fewest)::bigint as up_to
    from target as t
    inner join demand on t.user_id = demand.user_id
    left join (
        select
            l.device_id,
            l.user_id,
            count(*) as leads
        from leads as l
        where l.device_id is not null
        group by l.device_id, l.user_id
    ) as owned on t.id = owned.device_id and t.user_id = owned.user_id
    window fewest as (partition by t.user_id order by coalesce(owned.leads, 0), t.id rows unbounded preceding)
),

filled as (
    select
        r.user_id,
        count(*) as devices,
        r.people + max(r.up_to) as leads
    from ranked as r
    where r.rank * r.leads - r.up_to < r.people
    group by r.user_id, r.people
),

quota as (
    select
        r.id,
        r.user_id,
        r.rank,
        f.leads / f.devices - r.leads + case when r.rank <= f.leads % f.devices then 1 else 0 end as people
    from ranked as r
    inner join filled as f on r.user_id = f.user_id and r.rank <= f.devices
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
                1 - quota.people
                + sum(quota.people) over (partition by quota.user_id order by quota.rank rows unbounded preceding)
            )::bigint as first_place
        from quota
    ) as q
    where q.people > 0
    group by q.user_id
)

select
    m.table_name,
    m.row_id,
    m.user_id,
    m.phone::text as phone,
    m.sequence::text as sequence,
    :'old'::uuid as from_device,
    was.device_name::text as from_name,
    d.id as to_device,
    d.device_name::text as to_name,
    case when m.written then 'written' else 'never_written' end as why,
    case
        when m.served then null
        when nullif(:'to', '')::uuid is null then 'no_available_device'
        else 'device_of_other_user'
    end as refused,
    m.expected,
    jsonb_build_object(m.column_name, d.id) as becomes
from moving as m
left join share on m.user_id = share.user_id
left join user_devices as d
    on
        m.served
        and d.id = coalesce(m.device_id, share.devices[width_bucket(m.user_place, share.first_places)])
left join user_devices as was on was.id = :'old'::uuid
where
    not m.served
    or nullif(:'most', '')::integer is null
    or m.place <= nullif(:'most', '')::integer
order by m.served desc, m.place, m.table_name desc, m.row_id;
