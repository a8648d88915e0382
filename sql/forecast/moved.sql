-- Whom ticks have moved away from their own device, where the rule return_home brings them back to it
--
-- As repair/home.sql finds them for a tick; but also where they are not to go back yet.
--
-- Parameters:
--   now      timestamptz  the instant of the forecast
--   every    interval     time from tick to tick
--   waiting  text[]       values of sequence_contacts.status: a later step's row, made beforehand
-- Row:
--   row_id   uuid     a contact of theirs that is to come
--   home_id  uuid     their own device
--   last     integer  the tick from now, not later than that, that last moved anybody away from it
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?every} \else \set every '1 minute' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
with reassigned as materialized (
    select
        ch.id,
        ch.row_id,
        ch.old_value,
        ch.new_value,
        ch.changed_at
    from seqdev.run as r
    inner join seqdev.change as ch on r.id = ch.run_id
    where
        r.command = 'tick'
        and r.started_at > :'now'::timestamptz - interval '30 days'
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
        way.home
    from way
    inner join sequence_contacts as sc on way.sequence_id = sc.sequence_id and way.contact_phone = sc.contact_phone
    where
        way.home <> way.stand_in
        and sc.assigned_device_id::text = way.stand_in
        and (sc.status = 'active' or sc.status = any(:'waiting'::text []))
)

select
    w.id as row_id,
    w.home::uuid as home_id,
    ceil(extract(epoch from last.at - :'now'::timestamptz) / extract(epoch from :'every'::interval))::integer as last
from with_stand_in as w
inner join (
    select
        moved.old_value as home,
        max(moved.changed_at) as at
    from moved
    group by moved.old_value
) as last on w.home = last.home
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
    );
