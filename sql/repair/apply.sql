-- Change planned rows that still are what the plan says, and journal what they were, in one go
--
-- Each row is locked, compared, changed and journaled by this one statement. A row that is gone, or of which a
-- column is not what the plan expects, is left as it is; so are a message that the sender has locked, a row whose new
-- device was deleted since, and whatever is to change together with a row that is left. The columns that may change are
--   of sequence_contacts   assigned_device_id, processing_device_id, processing_started_at, next_trigger_time;
--                          or status, last_error, contact_phone, sequence_stepid, current_step, current_trigger,
--                          next_trigger_time, completed_at, the claim; and id, of who begins anew
--   of leads               device_id; or phone, trigger, name, niche, device_id
--   of broadcast_messages  device_id; or status, error_message, scheduled_at, device_id
--   of blocked             since, why, blocked_by; what is not on the list yet is put on it
--   of rule                value
--
-- Parameters:
--   run   uuid         the run that the journal names
--   now   timestamptz  the instant of the transaction
--   rows  jsonb        the planned rows: table_name, row_id, together (rows in which it is the same change all, or
--                      none), expected and becomes (objects of column and value; of an empty one nothing changes)
-- Row:
--   changed  integer  rows changed
--   kept     uuid[]   rows left as they are
-- Locks: where the list of blocked phones changes, first a transaction-level advisory lock, which each transaction that
--   enrols shares until its end; the planned rows: those of the list, those of sequence_contacts before those of leads,
--   as the tick does, then those of broadcast_messages and of rule, each by id
\if :{?run} \else \set run '00000000-0000-0000-0000-000000000000' \endif
\if :{?now} \else \set now 'now' \endif
\if :{?rows} \else \set rows '[]' \endif
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

-- Who is enrolled meanwhile is enrolled by the list as it was: that is waited for.
barrier as materialized (
    select pg_advisory_xact_lock(hashtextextended('seqdev blocked', 0)) as is_held
    from (
        select 1
        from wanted
        where wanted.table_name = 'blocked'
        limit 1
    ) as one
),

blocked as materialized (
    select
        b.id,
        b as was
    from wanted as w
    inner join seqdev.blocked as b on w.row_id = b.id
    where w.table_name = 'blocked' and (select count(*) from barrier) >= 0
    order by b.id
    for update of b
),

contact as materialized (
    select
        sc.id,
        sc as was,
        w.together,
        w.expected,
        w.becomes
    from wanted as w
    inner join sequence_contacts as sc on w.row_id = sc.id
    where w.table_name = 'sequence_contacts' and w.has_device and (select count(*) from blocked) >= 0
    order by sc.id
    for update of sc
),

lead as materialized (
    select
        l.id,
        l as was,
        w.together,
        w.expected,
        w.becomes
    from wanted as w
    inner join leads as l on w.row_id = l.id
    -- Counted first, and so locked first.
    where w.table_name = 'leads' and w.has_device and (select count(*) from contact) >= 0
    order by l.id
    for update of l
),

message as materialized (
    select
        m.id,
        m as was,
        w.together,
        w.expected,
        w.becomes
    from wanted as w
    inner join broadcast_messages as m on w.row_id = m.id
    where w.table_name = 'broadcast_messages' and w.has_device and (select count(*) from lead) >= 0
    order by m.id
    for update of m skip locked
),

rule as materialized (
    select
        r.id,
        r as was,
        w.together,
        w.expected,
        w.becomes
    from wanted as w
    inner join seqdev.rule as r on w.row_id = r.id
    where w.table_name = 'rule'
    order by r.id
    for update of r
),

-- The rows that still are what the plan says, and what they become: typed as the host's tables have them.
contact_fit as materialized (
    select
        c.id,
        c.together,
        c.becomes,
        to_jsonb(c.was) as was,
        jsonb_populate_record(c.was, c.becomes) as new
    from contact as c
    -- The row as it is, but for the columns that are named.
    where to_jsonb(c.was) = to_jsonb(jsonb_populate_record(c.was, c.expected))
),

lead_fit as materialized (
    select
        l.id,
        l.together,
        l.becomes,
        to_jsonb(l.was) as was,
        jsonb_populate_record(l.was, l.becomes) as new
    from lead as l
    where to_jsonb(l.was) = to_jsonb(jsonb_populate_record(l.was, l.expected))
),

message_fit as materialized (
    select
        m.id,
        m.together,
        m.becomes,
        to_jsonb(m.was) as was,
        jsonb_populate_record(m.was, m.becomes) as new
    from message as m
    where to_jsonb(m.was) = to_jsonb(jsonb_populate_record(m.was, m.expected))
),

-- An entry that is not there has to be not blocked.
blocked_fit as materialized (
    select
        w.row_id as id,
        w.together,
        w.becomes,
        blocked.id is null as is_new,
        coalesce(to_jsonb(blocked.was), '{}') as was,
        jsonb_populate_record(jsonb_populate_record(blocked.was, w.expected), w.becomes) as new
    from wanted as w
    left join blocked on w.row_id = blocked.id
    where
        w.table_name = 'blocked'
        and case
            when blocked.id is null then w.expected ->> 'digits' is not null
            else to_jsonb(blocked.was) = to_jsonb(jsonb_populate_record(blocked.was, w.expected))
        end
),

rule_fit as materialized (
    select
        r.id,
        r.together,
        r.becomes,
        to_jsonb(r.was) as was,
        jsonb_populate_record(r.was, r.becomes) as new
    from rule as r
    where to_jsonb(r.was) = to_jsonb(jsonb_populate_record(r.was, r.expected))
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
        and fit.becomes <> '{}'
        and fit.together not in (select parted.together from parted)
    returning sc.id, fit.becomes, fit.was, to_jsonb(sc) as now
),

-- Apart from those, for the sake of triggers on UPDATE OF status. In three steps, since some hosts have a key of one
-- active row a person and sequence: those that end, then those that only move, then those that become active.
contact_placed as (
    update sequence_contacts as sc
    set
        id = (fit.new).id,
        status = (fit.new).status,
        last_error = (fit.new).last_error,
        next_trigger_time = (fit.new).next_trigger_time,
        contact_phone = (fit.new).contact_phone,
        sequence_stepid = (fit.new).sequence_stepid,
        current_step = (fit.new).current_step,
        current_trigger = (fit.new).current_trigger,
        completed_at = (fit.new).completed_at,
        processing_device_id = (fit.new).processing_device_id,
        processing_started_at = (fit.new).processing_started_at
    from contact_fit as fit
    where
        sc.id = fit.id
        and fit.becomes ?| '{status, last_error, contact_phone, sequence_stepid}'
        and (fit.new).status is distinct from 'active'
        and fit.together not in (select parted.together from parted)
    returning fit.id, fit.becomes, fit.was, to_jsonb(sc) as now
),

contact_moved as (
    update sequence_contacts as sc
    set
        id = (fit.new).id,
        status = (fit.new).status,
        last_error = (fit.new).last_error,
        next_trigger_time = (fit.new).next_trigger_time,
        contact_phone = (fit.new).contact_phone,
        sequence_stepid = (fit.new).sequence_stepid,
        current_step = (fit.new).current_step,
        current_trigger = (fit.new).current_trigger,
        completed_at = (fit.new).completed_at,
        processing_device_id = (fit.new).processing_device_id,
        processing_started_at = (fit.new).processing_started_at
    from contact_fit as fit
    where
        sc.id = fit.id
        and fit.becomes ?| '{status, last_error, contact_phone, sequence_stepid}'
        and (fit.new).status = 'active'
        and fit.was ->> 'status' = 'active'
        and fit.together not in (select parted.together from parted)
        and (select count(*) from contact_placed) >= 0
    returning fit.id, fit.becomes, fit.was, to_jsonb(sc) as now
),

contact_activated as (
    update sequence_contacts as sc
    set
        id = (fit.new).id,
        status = (fit.new).status,
        last_error = (fit.new).last_error,
        next_trigger_time = (fit.new).next_trigger_time,
        contact_phone = (fit.new).contact_phone,
        sequence_stepid = (fit.new).sequence_stepid,
        current_step = (fit.new).current_step,
        current_trigger = (fit.new).current_trigger,
        completed_at = (fit.new).completed_at,
        processing_device_id = (fit.new).processing_device_id,
        processing_started_at = (fit.new).processing_started_at
    from contact_fit as fit
    where
        sc.id = fit.id
        and fit.becomes ?| '{status, last_error, contact_phone, sequence_stepid}'
        and (fit.new).status = 'active'
        and fit.was ->> 'status' is distinct from 'active'
        and fit.together not in (select parted.together from parted)
        and (select count(*) from contact_moved) >= 0
    returning fit.id, fit.becomes, fit.was, to_jsonb(sc) as now
),

lead_changed as (
    update leads as l
    set device_id = (fit.new).device_id
    from lead_fit as fit
    where
        l.id = fit.id
        and not fit.becomes ?| '{phone, trigger, name, niche}'
        and fit.becomes <> '{}'
        and fit.together not in (select parted.together from parted)
    returning l.id, fit.becomes, fit.was, to_jsonb(l) as now
),

-- Apart from those, for the sake of triggers on UPDATE OF phone.
lead_merged as (
    update leads as l
    set
        device_id = (fit.new).device_id,
        phone = (fit.new).phone,
        trigger = (fit.new).trigger,
        name = (fit.new).name,
        niche = (fit.new).niche
    from lead_fit as fit
    where
        l.id = fit.id
        and fit.becomes ?| '{phone, trigger, name, niche}'
        and fit.together not in (select parted.together from parted)
    returning l.id, fit.becomes, fit.was, to_jsonb(l) as now
),

message_changed as (
    update broadcast_messages as m
    set device_id = (fit.new).device_id
    from message_fit as fit
    where
        m.id = fit.id
        and not fit.becomes ? 'status'
        and fit.becomes <> '{}'
        and fit.together not in (select parted.together from parted)
    returning m.id, fit.becomes, fit.was, to_jsonb(m) as now
),

-- Apart from those, for the sake of triggers on UPDATE OF status.
message_queued as (
    update broadcast_messages as m
    set
        status = (fit.new).status,
        error_message = (fit.new).error_message,
        scheduled_at = (fit.new).scheduled_at,
        device_id = (fit.new).device_id
    from message_fit as fit
    where
        m.id = fit.id
        and fit.becomes ? 'status'
        and fit.together not in (select parted.together from parted)
    returning m.id, fit.becomes, fit.was, to_jsonb(m) as now
),

blocked_entered as (
    insert into seqdev.blocked (id, digits, user_id, since, why, blocked_by)
    select
        fit.id,
        (fit.new).digits,
        (fit.new).user_id,
        (fit.new).since,
        (fit.new).why,
        (fit.new).blocked_by
    from blocked_fit as fit
    where fit.is_new and fit.together not in (select parted.together from parted)
    -- Somebody else has blocked it in this moment.
    on conflict do nothing
    returning id, to_jsonb(blocked) as now
),

blocked_changed as (
    update seqdev.blocked as b
    set
        since = (fit.new).since,
        why = (fit.new).why,
        blocked_by = (fit.new).blocked_by
    from blocked_fit as fit
    where b.id = fit.id and fit.becomes <> '{}' and fit.together not in (select parted.together from parted)
    returning b.id, to_jsonb(b) as now
),

rule_changed as (
    update seqdev.rule as r
    set value = (fit.new).value
    from rule_fit as fit
    where
        r.id = fit.id
        and fit.becomes <> '{}'
        and fit.together not in (select parted.together from parted)
    returning r.id, fit.becomes, fit.was, to_jsonb(r) as now
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
        contact_moved.*
    from contact_moved
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
        'leads' as table_name,
        lead_merged.*
    from lead_merged
    union all
    select
        'broadcast_messages' as table_name,
        message_changed.*
    from message_changed
    union all
    select
        'broadcast_messages' as table_name,
        message_queued.*
    from message_queued
    union all
    select
        'blocked' as table_name,
        fit.id,
        fit.becomes,
        fit.was,
        listed.now
    from (
        select
            blocked_entered.id,
            blocked_entered.now
        from blocked_entered
        union all
        select
            blocked_changed.id,
            blocked_changed.now
        from blocked_changed
    ) as listed
    inner join blocked_fit as fit on listed.id = fit.id
    union all
    select
        'rule' as table_name,
        rule_changed.*
    from rule_changed
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
)

select
    (select count(*) from changed)::integer as changed,
    array(
        select w.row_id
        from wanted as w
        where
            case
                when w.becomes = '{}' then w.together in (select parted.together from parted)
                else not exists (
                    select 1
                    from changed as c
                    where c.table_name = w.table_name and c.id = w.row_id
                )
            end
    ) as kept;
