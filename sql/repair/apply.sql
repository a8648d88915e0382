-- Change planned rows that still are what the plan says, and journal what they were, in one go
--
-- Each row is locked, compared, changed and journaled by this one statement. A row that is gone, or of which a
-- column is not what the plan expects, is left as it is; so is a message that the sender has locked. The columns
-- that may change are
--   of sequence_contacts   assigned_device_id, processing_device_id, processing_started_at, next_trigger_time;
--                          or status, last_error, contact_phone, sequence_stepid, current_step, current_trigger,
--                          next_trigger_time, and of what becomes active the claim
--   of leads               device_id
--   of broadcast_messages  device_id
--
-- Parameters:
--   run   uuid         the run that the journal names
--   now   timestamptz  the instant of the transaction
--   rows  jsonb        the planned rows: table_name, row_id, expected and becomes (objects of column and value)
-- Row:
--   changed  integer  rows changed
--   kept     uuid[]   rows left as they are
-- Locks: the planned rows: those of sequence_contacts before those of leads, as the tick does, then those of
--   broadcast_messages, each by id
\if :{?run} \else \set run '00000000-0000-0000-0000-000000000000' \endif
\if :{?now} \else \set now 'now' \endif
\if :{?rows} \else \set rows '[]' \endif
with wanted as materialized (
    select
        w.table_name,
        w.row_id,
        w.expected,
        w.becomes
    from jsonb_to_recordset(:'rows'::jsonb) as w (table_name text, row_id uuid, expected jsonb, becomes jsonb)
),

contact as materialized (
    select
        sc.id,
        sc as was,
        w.expected,
        w.becomes
    from wanted as w
    inner join sequence_contacts as sc on w.row_id = sc.id
    where w.table_name = 'sequence_contacts'
    order by sc.id
    for update of sc
),

lead as materialized (
    select
        l.id,
        l as was,
        w.expected,
        w.becomes
    from wanted as w
    inner join leads as l on w.row_id = l.id
    -- Counted first, and so locked first.
    where w.table_name = 'leads' and (select count(*) from contact) >= 0
    order by l.id
    for update of l
),

message as materialized (
    select
        m.id,
        m as was,
        w.expected,
        w.becomes
    from wanted as w
    inner join broadcast_messages as m on w.row_id = m.id
    where w.table_name = 'broadcast_messages' and (select count(*) from lead) >= 0
    order by m.id
    for update of m skip locked
),

-- The contacts that still are what the plan says, and what they become: typed as the host's table has them.
contact_fit as materialized (
    select
        c.id,
        c.becomes,
        to_jsonb(c.was) as was,
        jsonb_populate_record(c.was, c.becomes) as new
    from contact as c
    -- The row as it is, but for the columns that are named.
    where to_jsonb(c.was) = to_jsonb(jsonb_populate_record(c.was, c.expected))
),

contact_changed as (
    update sequence_contacts as sc
    set
        assigned_device_id = (fit.new).assigned_device_id,
        processing_device_id = (fit.new).processing_device_id,
        processing_started_at = (fit.new).processing_started_at,
        next_trigger_time = (fit.new).next_trigger_time
    from contact_fit as fit
    where
        sc.id = fit.id
        and not fit.becomes ?| '{status, last_error, contact_phone, sequence_stepid}'
    returning sc.id, fit.becomes, fit.was, to_jsonb(sc) as now
),

-- Apart from those, for the sake of triggers on UPDATE OF status.
contact_placed as (
    update sequence_contacts as sc
    set
        status = (fit.new).status,
        last_error = (fit.new).last_error,
        next_trigger_time = (fit.new).next_trigger_time,
        contact_phone = (fit.new).contact_phone,
        sequence_stepid = (fit.new).sequence_stepid,
        current_step = (fit.new).current_step,
        current_trigger = (fit.new).current_trigger
    from contact_fit as fit
    where
        sc.id = fit.id
        and fit.becomes ?| '{status, last_error, contact_phone, sequence_stepid}'
        and (fit.becomes ->> 'status') is distinct from 'active'
    returning sc.id, fit.becomes, fit.was, to_jsonb(sc) as now
),

-- After those that end: some hosts have a key of one active row a person and sequence.
contact_activated as (
    update sequence_contacts as sc
    set
        status = (fit.new).status,
        last_error = (fit.new).last_error,
        next_trigger_time = (fit.new).next_trigger_time,
        contact_phone = (fit.new).contact_phone,
        sequence_stepid = (fit.new).sequence_stepid,
        current_step = (fit.new).current_step,
        current_trigger = (fit.new).current_trigger,
        processing_device_id = (fit.new).processing_device_id,
        processing_started_at = (fit.new).processing_started_at
    from contact_fit as fit
    where
        sc.id = fit.id
        and fit.becomes ->> 'status' = 'active'
        and (select count(*) from contact_placed) >= 0
    returning sc.id, fit.becomes, fit.was, to_jsonb(sc) as now
),

lead_changed as (
    update leads as l
    set device_id = fit.device_id
    from (
        select
            lead.id,
            lead.becomes,
            to_jsonb(lead.was) as was,
            new.device_id
        from lead
        cross join lateral jsonb_populate_record(lead.was, lead.expected) as e
        cross join lateral jsonb_populate_record(lead.was, lead.becomes) as new
        where (lead.was).device_id is not distinct from e.device_id
    ) as fit
    where l.id = fit.id
    returning l.id, fit.becomes, fit.was, to_jsonb(l) as now
),

message_changed as (
    update broadcast_messages as m
    set device_id = fit.device_id
    from (
        select
            message.id,
            message.becomes,
            to_jsonb(message.was) as was,
            new.device_id
        from message
        cross join lateral jsonb_populate_record(message.was, message.expected) as e
        cross join lateral jsonb_populate_record(message.was, message.becomes) as new
        where
            (message.was).device_id is not distinct from e.device_id
            and (message.was).status is not distinct from e.status
    ) as fit
    where m.id = fit.id
    returning m.id, fit.becomes, fit.was, to_jsonb(m) as now
),

changed as (
    select
        'sequence_contacts' as table_name,
        contact_changed.*
    from contact_changed
    union all
    select
        'sequence_contacts' as table_name,
        contact_placed.*
    from contact_placed
    union all
    select
        'sequence_contacts' as table_name,
        contact_activated.*
    from contact_activated
    union all
    select
        'leads' as table_name,
        lead_changed.*
    from lead_changed
    union all
    select
        'broadcast_messages' as table_name,
        message_changed.*
    from message_changed
),

journal as (
    insert into seqdev.change (run_id, table_name, row_id, column_name, old_value, new_value, changed_at)
    select
        :'run'::uuid,
        c.table_name,
        c.id,
        col.name,
        c.was ->> col.name,
        c.now ->> col.name,
        :'now'::timestamptz
    from changed as c
    cross join lateral jsonb_object_keys(c.becomes) as col (name)
    where c.was ->> col.name is distinct from c.now ->> col.name
)

select
    (select count(*) from changed)::integer as changed,
    array(
        select w.row_id
        from wanted as w
        where
            not exists (
                select 1
                from changed as c
                where c.table_name = w.table_name and c.id = w.row_id
            )
    ) as kept;
