-- Bring people back to the device that they left for a time, now that it is online again
--
-- They left it with "repair device --until-back". A person stays where another run has put them since, or where
-- the row is no longer what that run made of it; so does a row whose step is done.
--
-- For a tick, instead: people whom ticks of the last 30 days have assigned to other devices, by reassign, where the rule
-- return_home is set. Their own device is the one that the first of these has moved them from. It counts as there again
-- when it is available and for as long as the rule grace says no tick had to move anybody away from it.
--
-- Parameters:
--   now      timestamptz  the instant of the transaction
--   by_tick  boolean      for a tick
--   user     uuid    only people of this user
--   device   uuid    only people who left this device
--   most     integer  rows for a tick, at most: of those that go back; empty: all
--   waiting  text[]  values of sequence_contacts.status: a later step's row, made beforehand
-- Gates: gates/devices.sql under strict of all devices
-- Row:
--   table_name   text   the table of the row
--   row_id       uuid   the row
--   user_id      uuid   the user of the person
--   phone        text   the person
--   sequence     text   name of the sequence; null for a lead
--   from_device  uuid   the device that stood in
--   from_name    text   its name
--   to_device    uuid   the device they left
--   to_name      text   its name
--   why          text   back_online
--   refused      text   device_offline, device_gone, device_missing, device_of_other_user; null where the row changes
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?by_tick} \else \set by_tick 'false' \endif
\if :{?user} \else \set user '' \endif
\if :{?device} \else \set device '' \endif
\if :{?most} \else \set most '' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'no' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with undoing as materialized (
    select
        r.id,
        substring(r.command from 13)::uuid as undoes
    from seqdev.run as r
    -- The first is what its index is about.
    where r.command like 'repair undo %' and r.command ~ '^repair undo [-0-9a-f]{36}$'
),

-- From each undo to all that it undoes, in turn.
ancestry as materialized (
    with recursive hop (run_id, ancestor_id, depth) as (
        select
            u.id as run_id,
            u.undoes as ancestor_id,
            1 as depth
        from undoing as u
        union all
        select
            a.run_id,
            u.undoes as ancestor_id,
            a.depth + 1 as depth
        from hop as a
        inner join undoing as u on a.ancestor_id = u.id
    )

    select hop.*
    from hop
),

root as materialized (
    select distinct on (a.run_id)
        a.run_id,
        a.ancestor_id as root_id,
        a.depth
    from ancestry as a
    order by a.run_id, a.depth desc
),

away as materialized (
    select distinct
        ch.table_name,
        ch.row_id,
        ch.column_name
    from seqdev.change as ch
    inner join seqdev.run as r on ch.run_id = r.id
    where not :'by_tick'::boolean and r.command = 'repair device --until-back'
),

-- What is in effect of each run that has changed these rows: the last of the run and its undos.
entry as materialized (
    select
        e.table_name,
        e.row_id,
        e.column_name,
        e.id,
        r.command = 'repair device --until-back' as leaves,
        r.command = 'repair home' as returns,
        case when r.command = 'repair home' then e.new_value else e.old_value end as home,
        case when r.command = 'repair home' then e.old_value else e.new_value end as stand_in
    from (
        select distinct on (ch.table_name, ch.row_id, ch.column_name, coalesce(root.root_id, ch.run_id))
            ch.table_name,
            ch.row_id,
            ch.column_name,
            ch.id,
            ch.old_value,
            ch.new_value,
            coalesce(root.root_id, ch.run_id) as run_id,
            coalesce(root.depth, 0) % 2 = 0 as in_effect
        from away
        inner join seqdev.change as ch
            on away.table_name = ch.table_name and away.row_id = ch.row_id and away.column_name = ch.column_name
        left join root on ch.run_id = root.run_id
        order by ch.table_name, ch.row_id, ch.column_name, coalesce(root.root_id, ch.run_id), ch.id desc
    ) as e
    inner join seqdev.run as r on e.run_id = r.id
    where e.in_effect
),

dated as materialized (
    select
        e.*,
        -- The last time that somebody moved the row for good, and that it came back from there.
        max(e.id) filter (where not e.leaves and not e.returns) over (
            partition by e.table_name, e.row_id, e.column_name
        ) as moved_on,
        max(e.id) filter (where e.returns) over (
            partition by e.table_name, e.row_id, e.column_name, e.home, e.stand_in
        ) as returned
    from entry as e
),

-- What ticks have assigned anew. The row is done; the one of the next step has the new device from the start.
reassigned as materialized (
    select
        ch.id,
        ch.row_id,
        ch.old_value,
        ch.new_value,
        ch.changed_at
    from seqdev.run as r
    inner join seqdev.change as ch on r.id = ch.run_id
    where
        :'by_tick'::boolean
        and r.command = 'tick'
        and r.started_at > :'now'::timestamptz - interval '30 days'
        -- Of a run that was cut off, nobody knows.
        and coalesce((r.counts ->> 'moved')::integer, 1) > 0
        and ch.table_name = 'sequence_contacts'
        and ch.column_name = 'assigned_device_id'
        and ch.old_value is not null
        and ch.new_value is not null
),

moved as materialized (
    select
        sc.sequence_id,
        sc.contact_phone,
        r.id,
        r.old_value,
        r.new_value,
        r.changed_at,
        coalesce(
            lag(r.new_value) over (partition by sc.sequence_id, sc.contact_phone order by r.id) <> r.old_value, true
        ) as begins
    from reassigned as r
    inner join sequence_contacts as sc on r.row_id = sc.id
),

-- The last way of each person from device to device, from its begin to its end.
way as materialized (
    select
        w.sequence_id,
        w.contact_phone,
        max(w.id) as id,
        (array_agg(w.old_value order by w.id))[1] as home,
        (array_agg(w.new_value order by w.id desc))[1] as stand_in
    from (
        select
            moved.*,
            max(moved.id) filter (where moved.begins) over (
                partition by moved.sequence_id, moved.contact_phone
            ) as begun
        from moved
    ) as w
    where w.id >= w.begun
    group by w.sequence_id, w.contact_phone
),

with_stand_in as materialized (
    select
        sc.id,
        way.id as way_id,
        way.home,
        way.stand_in
    from way
    inner join sequence_contacts as sc on way.sequence_id = sc.sequence_id and way.contact_phone = sc.contact_phone
    where way.home <> way.stand_in and sc.assigned_device_id::text = way.stand_in
),

contact as materialized (
    select
        sc.id,
        sc.contact_phone,
        sc.status,
        sc.assigned_device_id,
        s.user_id,
        coalesce(s.name, left(s.id::text, 0))::text as name
    from sequence_contacts as sc
    left join sequences as s on sc.sequence_id = s.id
    where
        sc.id in (
            select w.id
            from with_stand_in as w
            union all
            select e.row_id
            from dated as e
            where e.table_name = 'sequence_contacts' and e.leaves
        )
),

lead as materialized (
    select
        l.id,
        l.user_id,
        l.phone,
        l.device_id
    from leads as l
    where
        l.id in (
            select e.row_id
            from dated as e
            where e.table_name = 'leads' and e.leaves
        )
),

left_home as materialized (
    select
        'sequence_contacts' as table_name,
        w.id as row_id,
        'assigned_device_id' as column_name,
        w.home::uuid as home_id,
        w.stand_in::uuid as stand_in_id
    from with_stand_in as w
    inner join (
        select
            moved.old_value as home,
            max(moved.changed_at) as at
        from moved
        group by moved.old_value
    ) as last on w.home = last.home
    inner join unnest(:'devices'::uuid [], :'home_after'::interval []) as g (id, home_after)
        on w.home = g.id::text and last.at <= :'now'::timestamptz - g.home_after
    where
        -- Where nobody has put the person since.
        not exists (
            select 1
            from seqdev.change as ch
            where
                ch.row_id = w.id
                and ch.id > w.way_id
                and ch.table_name = 'sequence_contacts'
                and ch.column_name = 'assigned_device_id'
        )
    union all
    (
    select distinct on (e.table_name, e.row_id)
        e.table_name,
        e.row_id,
        e.column_name,
        e.home::uuid as home_id,
        e.stand_in::uuid as stand_in_id
    from dated as e
    left join contact as sc on e.table_name = 'sequence_contacts' and e.row_id = sc.id
    left join lead as l on e.table_name = 'leads' and e.row_id = l.id
    where
        e.leaves
        and e.stand_in = coalesce(sc.assigned_device_id, l.device_id)::text
        and e.id > coalesce(e.moved_on, 0)
        and e.id > coalesce(e.returned, 0)
    order by e.table_name, e.row_id, e.id desc
    )
)

select
    h.table_name,
    h.row_id,
    coalesce(sc.user_id, l.user_id) as user_id,
    coalesce(sc.contact_phone, l.phone)::text as phone,
    sc.name::text as sequence,
    h.stand_in_id as from_device,
    coalesce(stand_in.device_name, left(stand_in.id::text, 0))::text as from_name,
    h.home_id as to_device,
    coalesce(home.device_name, left(home.id::text, 0))::text as to_name,
    'back_online' as why,
    case
        when home.id is null then 'device_missing'
        when not coalesce(home.user_id = coalesce(sc.user_id, l.user_id), false) then 'device_of_other_user'
        when home_gate.reason is not null then home_gate.reason
    end as refused,
    case
        when h.table_name = 'leads' then jsonb_build_object('device_id', l.device_id)
        else jsonb_build_object('status', sc.status, 'assigned_device_id', sc.assigned_device_id)
    end as expected,
    jsonb_build_object(h.column_name, h.home_id) as becomes
from left_home as h
left join contact as sc on h.table_name = 'sequence_contacts' and h.row_id = sc.id
left join lead as l on h.table_name = 'leads' and h.row_id = l.id
left join user_devices as home on h.home_id = home.id
left join unnest(:'devices'::uuid [], :'device_reasons'::text []) as home_gate (id, reason) on h.home_id = home_gate.id
left join user_devices as stand_in on h.stand_in_id = stand_in.id
where
    (l.id is not null or sc.status = 'active' or sc.status = any(:'waiting'::text []))
    and (nullif(:'user', '')::uuid is null or coalesce(sc.user_id, l.user_id) = nullif(:'user', '')::uuid)
    and (nullif(:'device', '')::uuid is null or h.home_id = nullif(:'device', '')::uuid)
    -- For a tick, only who goes back. That a device is full is none of its being there.
    and (
        not :'by_tick'::boolean
        or home.user_id = sc.user_id and coalesce(home_gate.reason, 'device_full') = 'device_full'
    )
order by coalesce(sc.user_id, l.user_id), coalesce(sc.contact_phone, l.phone), h.table_name desc, h.row_id
limit nullif(:'most', '')::integer;
