-- The journal of a run: what it has changed, in the order in which it did
--
-- Parameters:
--   run   uuid     the run
--   most  integer  changes to return; empty: all
-- Row:
--   table_name   text         the table of the row
--   row_id       uuid         the row
--   phone        text         whose row it is; null where it is gone
--   sequence     text         name of the sequence, or of the rule; null for a lead, and for a message
--   column_name  text         what was changed
--   old_value    text         what it was
--   old_device   text         name of the device that it was
--   new_value    text         what it became
--   new_device   text         name of the device that it became
--   changed_at   timestamptz  when
--   total        integer      changes in all, listed or not
-- Locks: none
\if :{?run} \else \set run '00000000-0000-0000-0000-000000000000' \endif
\if :{?most} \else \set most '20' \endif
with listed as materialized (
    select ch.*
    from seqdev.change as ch
    where ch.run_id = :'run'::uuid
    order by ch.id
    limit nullif(:'most', '')::integer
),

contact as materialized (
    select
        sc.id,
        sc.contact_phone,
        coalesce(s.name, left(s.id::text, 0))::text as name
    from sequence_contacts as sc
    left join sequences as s on sc.sequence_id = s.id
    where
        sc.id in (
            select listed.row_id
            from listed
            where listed.table_name = 'sequence_contacts'
        )
),

lead as materialized (
    select
        l.id,
        l.phone
    from leads as l
    where
        l.id in (
            select listed.row_id
            from listed
            where listed.table_name = 'leads'
        )
),

message as materialized (
    select
        m.id,
        m.recipient_phone
    from broadcast_messages as m
    where
        m.id in (
            select listed.row_id
            from listed
            where listed.table_name = 'broadcast_messages'
        )
)

select
    ch.table_name,
    ch.row_id,
    coalesce(sc.contact_phone, l.phone, m.recipient_phone, b.digits)::text as phone,
    coalesce(sc.name, r.name)::text as sequence,
    ch.column_name,
    ch.old_value,
    coalesce(was.device_name, left(was.id::text, 0))::text as old_device,
    ch.new_value,
    coalesce(d.device_name, left(d.id::text, 0))::text as new_device,
    ch.changed_at,
    counted.total
from listed as ch
cross join (
    select count(*)::integer as total
    from seqdev.change as x
    where x.run_id = :'run'::uuid
) as counted
left join contact as sc on ch.row_id = sc.id
left join lead as l on ch.row_id = l.id
left join message as m on ch.row_id = m.id
left join seqdev.blocked as b on ch.table_name = 'blocked' and ch.row_id = b.id
left join seqdev.rule as r on ch.table_name = 'rule' and ch.row_id = r.id
left join user_devices as was on ch.column_name like '%device_id' and ch.old_value = was.id::text
left join user_devices as d on ch.column_name like '%device_id' and ch.new_value = d.id::text
order by ch.id;
