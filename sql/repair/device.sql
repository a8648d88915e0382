-- Move the people of a lost device to another one, or evenly to those of the same user that are available
--
-- A person moves as a whole: the lead that the device owns, and the rows still to come that it is assigned to.
-- Those never written to come first. Spread, people whose lead belongs to one of the available devices go there;
-- the others fill the devices up like vessels, from the one that owns the fewest leads: of the devices in that
-- order, the first k are filled when raising them to the level of the k-th takes fewer people than there are.
--
-- On demand the messages of the lost device's queue go with the people: those pending, which no sender has begun. Not
-- while the device is online: its sender may begin one at any moment, and a second one would send it again.
--
-- Parameters:
--   old      uuid     the lost device
--   to       uuid     the device that gets its people; empty: spread them
--   user     uuid     only people of this user
--   queue    boolean  also the messages that are pending in its queue
--   most     integer  people to move, at most; empty: all
--   waiting  text[]   values of sequence_contacts.status: a later step's row, made beforehand
-- Gates: gates/devices.sql under strict of all devices
-- Row:
--   table_name   text   the table of the row
--   row_id       uuid   the row
--   user_id      uuid   the user of the person
--   phone        text   the person
--   sequence     text   name of the sequence; null for a lead, and for a message
--   from_device  uuid   the lost device
--   from_name    text   its name
--   to_device    uuid   the device that gets the person
--   to_name      text   its name
--   why          text   never_written or written; of a message: pending
--   refused      text   device_of_other_user, device_gone, no_available_device; of a message also device_online, where
--                       the lost device is online; null where the row changes
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?old} \else \set old '00000000-0000-0000-0000-000000000000' \endif
\if :{?to} \else \set to '' \endif
\if :{?user} \else \set user '' \endif
\if :{?queue} \else \set queue 'false' \endif
\if :{?most} \else \set most '' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'no' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with device as materialized (
    select g.*
    from unnest(
        :'devices'::uuid [], :'device_users'::uuid [], :'device_reasons'::text [], :'is_online'::boolean [],
        :'is_gone'::boolean []
    ) as g (id, user_id, reason, is_online, is_gone)
),

theirs as materialized (
    select
        'sequence_contacts' as table_name,
        sc.id as row_id,
        s.user_id,
        sc.contact_phone as phone,
        coalesce(s.name, left(s.id::text, 0))::text as sequence,
        jsonb_build_object('status', sc.status, 'assigned_device_id', sc.assigned_device_id) as expected,
        'assigned_device_id' as column_name
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    where
        sc.assigned_device_id = :'old'::uuid
        and (sc.status = 'active' or sc.status = any(:'waiting'::text []))
        and (nullif(:'user', '')::uuid is null or s.user_id = nullif(:'user', '')::uuid)
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
    where
        l.device_id = :'old'::uuid
        and (nullif(:'user', '')::uuid is null or l.user_id = nullif(:'user', '')::uuid)
    union all
    select
        'broadcast_messages' as table_name,
        m.id as row_id,
        m.user_id,
        m.recipient_phone,
        null as sequence,
        jsonb_build_object('status', m.status, 'device_id', m.device_id) as expected,
        'device_id' as column_name
    from broadcast_messages as m
    where
        :'queue'::boolean
        and m.device_id = :'old'::uuid
        and m.status = 'pending'
        and (nullif(:'user', '')::uuid is null or m.user_id = nullif(:'user', '')::uuid)
),

target as materialized (
    select
        device.id,
        device.user_id
    from device
    where
        device.id <> :'old'::uuid
        and case
            when nullif(:'to', '')::uuid is not null then device.id = nullif(:'to', '')::uuid and not device.is_gone
            else device.reason is null
        end
),

written_to as materialized (
    select distinct
        t.user_id,
        t.phone
    from theirs as t
    inner join broadcast_messages as m on t.phone = m.recipient_phone and t.user_id = m.user_id
),

owner as materialized (
    select
        l.user_id,
        l.phone,
        l.device_id
    from leads as l
    where
        (l.user_id, l.phone) in (
            select
                t.user_id,
                t.phone
            from theirs as t
        )
),

judged as materialized (
    select
        t.*,
        own.id as device_id,
        t.user_id in (select target.user_id from target) as served,
        w.phone is not null as written
    from theirs as t
    left join written_to as w on t.user_id = w.user_id and t.phone = w.phone
    left join owner as l on t.user_id = l.user_id and t.phone = l.phone
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
    coalesce(was.device_name, left(was.id::text, 0))::text as from_name,
    d.id as to_device,
    coalesce(d.device_name, left(d.id::text, 0))::text as to_name,
    case
        when m.table_name = 'broadcast_messages' then 'pending'
        when m.written then 'written'
        else 'never_written'
    end as why,
    case
        when m.table_name = 'broadcast_messages' and old.is_online then 'device_online'
        when m.served then null
        when nullif(:'to', '')::uuid is null then 'no_available_device'
        when new.is_gone then 'device_gone'
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
left join device as old on old.id = :'old'::uuid
left join device as new on new.id = nullif(:'to', '')::uuid
where
    not m.served
    or nullif(:'most', '')::integer is null
    or m.place <= nullif(:'most', '')::integer
order by m.served desc, m.place, m.table_name desc, m.row_id;
