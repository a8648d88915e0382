-- Change planned rows that still are what the plan says, and journal what they were, in one go
--
-- Each row is locked, compared, changed and journaled by this one statement. A row that is gone, or of which a
-- column is not what the plan expects, is left as it is. The columns that may change are
-- sequence_contacts.assigned_device_id, .processing_device_id, .processing_started_at; or .status and .last_error;
-- and leads.device_id.
--
-- Parameters:
--   run   uuid         the run that the journal names
--   now   timestamptz  the instant of the transaction
--   rows  jsonb        the planned rows: table_name, row_id, expected and becomes (objects of column and value)
-- Row:
--   changed  integer  rows changed
--   kept     uuid[]   rows left as they are
-- Locks: the planned rows: those of sequence_contacts before those of leads, as the tick does, each by id
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

contact_changed as (
    update sequence_contacts as sc
    set
        assigned_device_id = fit.assigned_device_id,
        processing_device_id = fit.processing_device_id,
        processing_started_at = fit.processing_started_at
    from (
        select
            c.id,
            c.becomes,
            to_jsonb(c.was) as was,
            new.assigned_device_id,
            new.processing_device_id,
            new.processing_started_at
        from contact as c
        -- The row as it is, but for the columns that are named: typed as the host's table has them.
        cross join lateral jsonb_populate_record(c.was, c.expected) as e
        cross join lateral jsonb_populate_record(c.was, c.becomes) as new
        where
            (c.was).status is not distinct from e.status
            and (c.was).assigned_device_id is not distinct from e.assigned_device_id
            and (c.was).processing_device_id is not distinct from e.processing_device_id
            and (c.was).processing_started_at is not distinct from e.processing_started_at
            and not c.becomes ? 'status'
    ) as fit
    where sc.id = fit.id
    returning sc.id, fit.becomes, fit.was, to_jsonb(sc) as now
),

-- Apart from those, for the sake of triggers on UPDATE OF status.
contact_restored as (
    update sequence_contacts as sc
    set
        status = fit.status,
        last_error = fit.last_error
    from (
        select
            c.id,
            c.becomes,
            to_jsonb(c.was) as was,
            new.status,
            new.last_error
        from contact as c
        cross join lateral jsonb_populate_record(c.was, c.expected) as e
        cross join lateral jsonb_populate_record(c.was, c.becomes) as new
        where
            (c.was).status is not distinct from e.status
            and (c.was).last_error is not distinct from e.last_error
            and c.becomes ? 'status'
    ) as fit
    where sc.id = fit.id
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

changed as (
    select
        'sequence_contacts' as table_name,
        contact_changed.*
    from contact_changed
    union all
    select
        'sequence_contacts' as table_name,
        contact_restored.*
    from contact_restored
    union all
    select
        'leads' as table_name,
        lead_changed.*
    from lead_changed
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
