-- Change planned rows that still are what the plan says, and journal what they were, where the tables are distributed
--
-- Does what sql/repair/apply.sql does, in several statements of one transaction. FOR UPDATE does not run over several
-- shards: rows are locked by an update that changes nothing, then compared. No row is changed twice by one statement,
-- which finds the first change on some nodes and not on others. Who gets another phone may belong to another shard:
-- that row is deleted, and inserted with all else that it was.
--
-- Parameters:
--   run   uuid         the run that the journal names
--   now   timestamptz  the instant of the transaction
--   rows  jsonb        the planned rows: table_name, row_id, together (rows in which it is the same change all, or
--                      none), expected and becomes (objects of column and value; of an empty one nothing changes)
-- Row:
--   changed  integer  rows changed
--   kept     uuid[]   rows left as they are
-- Locks: as sql/repair/apply.sql, in its order of tables; within a table by shard
\if :{?run} \else \set run '00000000-0000-0000-0000-000000000000' \endif
\if :{?now} \else \set now 'now' \endif
\if :{?rows} \else \set rows '[]' \endif
-- Who is enrolled meanwhile is enrolled by the list as it was: that is waited for.
select pg_advisory_xact_lock(hashtextextended('seqdev blocked', 0)) as is_held
from (
    select 1
    from jsonb_to_recordset(:'rows'::jsonb) as w (table_name text)
    where w.table_name = 'blocked'
    limit 1
) as one;

select b.id
from seqdev.blocked as b
where
    b.id in (
        select w.row_id
        from jsonb_to_recordset(:'rows'::jsonb) as w (table_name text, row_id uuid)
        where w.table_name = 'blocked'
    )
order by b.id
for update of b;

with wanted as materialized (
    select w.row_id
    from jsonb_to_recordset(:'rows'::jsonb) as w (table_name text, row_id uuid)
    where w.table_name = 'sequence_contacts'
)

update sequence_contacts as sc
set assigned_device_id = sc.assigned_device_id
from wanted
where sc.id = wanted.row_id;

with wanted as materialized (
    select w.row_id
    from jsonb_to_recordset(:'rows'::jsonb) as w (table_name text, row_id uuid)
    where w.table_name = 'leads'
)

update leads as l
set device_id = l.device_id
from wanted
where l.id = wanted.row_id;

-- Nor does SKIP LOCKED run: of a message that another transaction has locked, that one's number is in xmax.
with wanted as materialized (
    select w.row_id
    from jsonb_to_recordset(:'rows'::jsonb) as w (table_name text, row_id uuid)
    where w.table_name = 'broadcast_messages'
),

free as materialized (
    select
        m.id,
        m.recipient_phone
    from broadcast_messages as m
    inner join wanted on m.id = wanted.row_id
    where
        m.xmax::text = '0'
        or pg_visible_in_snapshot(
            ((pg_snapshot_xmax(pg_current_snapshot())::text::bigint >> 32 << 32) | m.xmax::text::bigint)::text::xid8,
            pg_current_snapshot()
        )
)

update broadcast_messages as m
set device_id = m.device_id
from free
where m.recipient_phone = free.recipient_phone and m.id = free.id;

select r.id
from seqdev.rule as r
where
    r.id in (
        select w.row_id
        from jsonb_to_recordset(:'rows'::jsonb) as w (table_name text, row_id uuid)
        where w.table_name = 'rule'
    )
order by r.id
for update of r;

with wanted as materialized (
    select
        w.table_name,
        w.row_id,
        w.together,
        w.expected,
        w.becomes,
        not exists (
            select 1
            from jsonb_each_text(w.becomes) as b (name, value)
            where
                b.name in ('device_id', 'assigned_device_id')
                and b.value is not null
                and b.value::uuid not in (select d.id from user_devices as d)
        ) as has_device
    from jsonb_to_recordset(:'rows'::jsonb)
        as w (table_name text, row_id uuid, together text, expected jsonb, becomes jsonb)
),

contact as materialized (
    select sc.*
    from sequence_contacts as sc
    where
        sc.id in (
            select wanted.row_id
            from wanted
            where wanted.table_name = 'sequence_contacts' and wanted.has_device
        )
),

lead as materialized (
    select l.*
    from leads as l
    where
        l.id in (
            select wanted.row_id
            from wanted
            where wanted.table_name = 'leads' and wanted.has_device
        )
),

-- Only those that this transaction has locked.
message as materialized (
    select m.*
    from broadcast_messages as m
    where
        m.id in (
            select wanted.row_id
            from wanted
            where wanted.table_name = 'broadcast_messages' and wanted.has_device
        )
        and m.xmin::text::bigint = pg_current_xact_id()::text::bigint & 4294967295
),

-- The rows that still are what the plan says, and what they become: typed as the host's tables have them.
contact_fit as materialized (
    select
        c.id,
        c.contact_phone,
        w.together,
        w.becomes,
        to_jsonb(c) as was,
        to_jsonb(new) as full_new,
        new.id as new_id,
        new.status as new_status,
        new.last_error as new_last_error,
        new.next_trigger_time as new_next_trigger_time,
        new.contact_phone as new_contact_phone,
        new.sequence_stepid as new_sequence_stepid,
        new.current_step as new_current_step,
        new.current_trigger as new_current_trigger,
        new.completed_at as new_completed_at,
        new.assigned_device_id as new_assigned_device_id,
        new.processing_device_id as new_processing_device_id,
        new.processing_started_at as new_processing_started_at
    from contact as c
    inner join wanted as w on c.id = w.row_id and w.table_name = 'sequence_contacts'
    cross join lateral jsonb_populate_record(null::sequence_contacts, to_jsonb(c) || w.becomes) as new
    -- The row as it is, but for the columns that are named.
    where to_jsonb(c) = to_jsonb(jsonb_populate_record(null::sequence_contacts, to_jsonb(c) || w.expected))
),

lead_fit as materialized (
    select
        l.id,
        l.phone,
        w.together,
        w.becomes,
        to_jsonb(l) as was,
        to_jsonb(new) as full_new,
        new.phone as new_phone,
        new.trigger as new_trigger,
        new.name as new_name,
        new.niche as new_niche,
        new.device_id as new_device_id
    from lead as l
    inner join wanted as w on l.id = w.row_id and w.table_name = 'leads'
    cross join lateral jsonb_populate_record(null::leads, to_jsonb(l) || w.becomes) as new
    where to_jsonb(l) = to_jsonb(jsonb_populate_record(null::leads, to_jsonb(l) || w.expected))
),

message_fit as materialized (
    select
        m.id,
        m.recipient_phone,
        w.together,
        w.becomes,
        to_jsonb(m) as was,
        new.status as new_status,
        new.error_message as new_error_message,
        new.scheduled_at as new_scheduled_at,
        new.device_id as new_device_id
    from message as m
    inner join wanted as w on m.id = w.row_id and w.table_name = 'broadcast_messages'
    cross join lateral jsonb_populate_record(null::broadcast_messages, to_jsonb(m) || w.becomes) as new
    where to_jsonb(m) = to_jsonb(jsonb_populate_record(null::broadcast_messages, to_jsonb(m) || w.expected))
),

-- An entry that is not there has to be not blocked.
blocked_fit as materialized (
    select
        w.row_id as id,
        w.together,
        w.becomes,
        b.id is null as is_new,
        coalesce(to_jsonb(b), '{}') as was,
        new.digits as new_digits,
        new.user_id as new_user_id,
        new.since as new_since,
        new.why as new_why,
        new.blocked_by as new_blocked_by
    from wanted as w
    left join seqdev.blocked as b on w.row_id = b.id
    cross join lateral
    jsonb_populate_record(null::seqdev.blocked, coalesce(to_jsonb(b), '{}') || w.expected || w.becomes) as new
    where
        w.table_name = 'blocked'
        and case
            when b.id is null then w.expected ->> 'digits' is not null
            else to_jsonb(b) = to_jsonb(jsonb_populate_record(b, w.expected))
        end
),

rule_fit as materialized (
    select
        r.id,
        w.together,
        w.becomes,
        to_jsonb(r) as was,
        w.becomes ->> 'value' as new_value
    from seqdev.rule as r
    inner join wanted as w on r.id = w.row_id and w.table_name = 'rule'
    where to_jsonb(r) = to_jsonb(jsonb_populate_record(r, w.expected))
),

parted as materialized (
    select w.together
    from wanted as w
    where
        (w.table_name, w.row_id) not in (
            select
                'sequence_contacts',
                c.id
            from contact_fit as c
            union all
            select
                'leads',
                l.id
            from lead_fit as l
            union all
            select
                'broadcast_messages',
                m.id
            from message_fit as m
            union all
            select
                'blocked',
                b.id
            from blocked_fit as b
            union all
            select
                'rule',
                r.id
            from rule_fit as r
        )
),

-- What changes, with the way in which it does.
contact_change as materialized (
    select
        fit.*,
        case
            when fit.contact_phone <> fit.new_contact_phone then 'goes'
            when not fit.becomes ?| '{status, last_error, contact_phone, sequence_stepid}' then 'is assigned'
            when coalesce(fit.new_status <> 'active', true) then 'ends'
            when fit.was ->> 'status' = 'active' then 'moves'
            else 'begins'
        end as way
    from contact_fit as fit
    where fit.becomes <> '{}' and fit.together not in (select parted.together from parted)
),

lead_change as materialized (
    select
        fit.*,
        fit.phone <> fit.new_phone as goes
    from lead_fit as fit
    where fit.becomes <> '{}' and fit.together not in (select parted.together from parted)
),

message_change as materialized (
    select fit.*
    from message_fit as fit
    where fit.becomes <> '{}' and fit.together not in (select parted.together from parted)
),

blocked_change as materialized (
    select fit.*
    from blocked_fit as fit
    where fit.together not in (select parted.together from parted)
),

rule_change as materialized (
    select fit.*
    from rule_fit as fit
    where fit.becomes <> '{}' and fit.together not in (select parted.together from parted)
),

-- In three steps, since some hosts have a key of one active row a person and sequence: those that end or go, then those
-- that only move, then those that become active.
contact_assigned as (
    update sequence_contacts as sc
    set
        assigned_device_id = fit.new_assigned_device_id,
        processing_device_id = fit.new_processing_device_id,
        processing_started_at = fit.new_processing_started_at,
        next_trigger_time = fit.new_next_trigger_time
    from contact_change as fit
    where fit.way = 'is assigned' and sc.contact_phone = fit.contact_phone and sc.id = fit.id
    returning fit.id as old_id, sc.*
),

contact_gone as (
    delete from sequence_contacts as sc
    using contact_change as fit
    where fit.way = 'goes' and sc.contact_phone = fit.contact_phone and sc.id = fit.id
    returning fit.id as old_id
),

contact_ended as (
    update sequence_contacts as sc
    set
        id = fit.new_id,
        status = fit.new_status,
        last_error = fit.new_last_error,
        next_trigger_time = fit.new_next_trigger_time,
        sequence_stepid = fit.new_sequence_stepid,
        current_step = fit.new_current_step,
        current_trigger = fit.new_current_trigger,
        completed_at = fit.new_completed_at,
        processing_device_id = fit.new_processing_device_id,
        processing_started_at = fit.new_processing_started_at
    from contact_change as fit
    where fit.way = 'ends' and sc.contact_phone = fit.contact_phone and sc.id = fit.id
    returning fit.id as old_id, sc.*
),

contact_moved as (
    update sequence_contacts as sc
    set
        id = fit.new_id,
        status = fit.new_status,
        last_error = fit.new_last_error,
        next_trigger_time = fit.new_next_trigger_time,
        sequence_stepid = fit.new_sequence_stepid,
        current_step = fit.new_current_step,
        current_trigger = fit.new_current_trigger,
        completed_at = fit.new_completed_at,
        processing_device_id = fit.new_processing_device_id,
        processing_started_at = fit.new_processing_started_at
    from contact_change as fit
    where fit.way = 'moves' and sc.contact_phone = fit.contact_phone and sc.id = fit.id
    returning fit.id as old_id, sc.*
),

contact_activated as (
    update sequence_contacts as sc
    set
        id = fit.new_id,
        status = fit.new_status,
        last_error = fit.new_last_error,
        next_trigger_time = fit.new_next_trigger_time,
        sequence_stepid = fit.new_sequence_stepid,
        current_step = fit.new_current_step,
        current_trigger = fit.new_current_trigger,
        completed_at = fit.new_completed_at,
        processing_device_id = fit.new_processing_device_id,
        processing_started_at = fit.new_processing_started_at
    from contact_change as fit
    where fit.way = 'begins' and sc.contact_phone = fit.contact_phone and sc.id = fit.id
    returning fit.id as old_id, sc.*
),

contact_come as (
    insert into sequence_contacts
    select new.*
    from contact_change as fit
    cross join lateral jsonb_populate_record(null::sequence_contacts, fit.full_new) as new
    where fit.way = 'goes'
    returning *
),

lead_changed as (
    update leads as l
    set
        device_id = fit.new_device_id,
        trigger = fit.new_trigger,
        name = fit.new_name,
        niche = fit.new_niche
    from lead_change as fit
    where not fit.goes and l.phone = fit.phone and l.id = fit.id
    returning l.*
),

lead_gone as (
    delete from leads as l
    using lead_change as fit
    where fit.goes and l.phone = fit.phone and l.id = fit.id
    returning l.id
),

lead_come as (
    insert into leads
    select new.*
    from lead_change as fit
    cross join lateral jsonb_populate_record(null::leads, fit.full_new) as new
    where fit.goes
    returning *
),

message_changed as (
    update broadcast_messages as m
    set
        status = fit.new_status,
        error_message = fit.new_error_message,
        scheduled_at = fit.new_scheduled_at,
        device_id = fit.new_device_id
    from message_change as fit
    where m.recipient_phone = fit.recipient_phone and m.id = fit.id
    returning m.*
),

blocked_entered as (
    insert into seqdev.blocked (id, digits, user_id, since, why, blocked_by)
    select
        fit.id,
        fit.new_digits,
        fit.new_user_id,
        fit.new_since,
        fit.new_why,
        fit.new_blocked_by
    from blocked_change as fit
    where fit.is_new
    -- Somebody else has blocked it in this moment.
    on conflict do nothing
    returning *
),

blocked_changed as (
    update seqdev.blocked as b
    set
        since = fit.new_since,
        why = fit.new_why,
        blocked_by = fit.new_blocked_by
    from blocked_change as fit
    where b.id = fit.id and not fit.is_new and fit.becomes <> '{}'
    returning b.*
),

rule_changed as (
    update seqdev.rule as r
    set value = fit.new_value
    from rule_change as fit
    where r.id = fit.id
    returning r.*
),

changed as materialized (
    select
        'sequence_contacts' as table_name,
        fit.id,
        fit.becomes,
        fit.was,
        done.now
    from (
        select
            contact_assigned.old_id,
            to_jsonb(contact_assigned) as now
        from contact_assigned
        union all
        select
            contact_ended.old_id,
            to_jsonb(contact_ended) as now
        from contact_ended
        union all
        select
            contact_moved.old_id,
            to_jsonb(contact_moved) as now
        from contact_moved
        union all
        select
            contact_activated.old_id,
            to_jsonb(contact_activated) as now
        from contact_activated
        union all
        select
            gone.id,
            to_jsonb(contact_come) as now
        from contact_come
        inner join contact_change as gone on contact_come.id = gone.new_id
    ) as done
    inner join contact_change as fit on done.old_id = fit.id
    union all
    select
        'leads',
        fit.id,
        fit.becomes,
        fit.was,
        done.now
    from (
        select
            lead_changed.id,
            to_jsonb(lead_changed) as now
        from lead_changed
        union all
        select
            lead_come.id,
            to_jsonb(lead_come) as now
        from lead_come
    ) as done
    inner join lead_change as fit on done.id = fit.id
    union all
    select
        'broadcast_messages',
        fit.id,
        fit.becomes,
        fit.was,
        to_jsonb(done)
    from message_changed as done
    inner join message_change as fit on done.id = fit.id
    union all
    select
        'blocked',
        fit.id,
        fit.becomes,
        fit.was,
        done.now
    from (
        select
            blocked_entered.id,
            to_jsonb(blocked_entered) as now
        from blocked_entered
        union all
        select
            blocked_changed.id,
            to_jsonb(blocked_changed) as now
        from blocked_changed
    ) as done
    inner join blocked_change as fit on done.id = fit.id
    union all
    select
        'rule',
        fit.id,
        fit.becomes,
        fit.was,
        to_jsonb(done)
    from rule_changed as done
    inner join rule_change as fit on done.id = fit.id
),

journal as (
    insert into seqdev.change (run_id, table_name, row_id, column_name, old_value, new_value, changed_at)
    select
        :'run'::uuid,
        c.table_name,
        -- Of what has another id now the journal is found by that one.
        coalesce(c.now ->> 'id', c.id::text)::uuid,
        col.name,
        c.was ->> col.name,
        c.now ->> col.name,
        :'now'::timestamptz
    from changed as c
    cross join lateral jsonb_object_keys(c.becomes) as col (name)
    where c.was ->> col.name is distinct from c.now ->> col.name
    returning row_id
)

select
    count(*) filter (where changed.id is not null)::integer as changed,
    coalesce(
        array_agg(w.row_id) filter (
            where case
                when w.becomes = '{}' then w.together in (select parted.together from parted)
                else changed.id is null
            end
        ),
        '{}'
    ) as kept
from wanted as w
left join changed on w.table_name = changed.table_name and w.row_id = changed.id;
