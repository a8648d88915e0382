-- Claim the due contacts of locked devices: message queued, step completed, next step made, in one go
--
-- Each due row is locked and itself updated, so that nobody can claim it twice; rows that somebody else
-- has locked are passed over. The ids of the message and of the next step's row are functions of the row's id:
-- what a failover loses comes back with the same ids.
--
-- This file is the master of what makes a contact due, gates apart: the lines below "due" stand in every file that
-- looks for due contacts. "is true" keeps the last of them a lookup in a hash, and the scan in the index's order.
--
-- Parameters:
--   now        timestamptz  the instant of the transaction
--   due_by     timestamptz  contacts are due that are due by then: the instant the run began
--   oldest     timestamptz  contacts that were due before are too late, and left out
--   stale      timestamptz  a claim that another processor made later than that is respected
--   own        boolean      claim the contacts that are assigned to the devices
--   contacts   uuid[]       contacts to claim besides (pick.sql, overflow.sql)
--   onto       uuid[]       the device for each of them
--   moves      boolean      they leave their own device for it; else it is theirs, or their lead's
--   reassigns  boolean      those who leave their own device are assigned to the other from then on
--   take       integer      contacts to claim for one device, at most
--   most       integer      contacts to claim in all, at most
--   run        uuid         the run, for the journal of reassigned contacts
-- Gates: gates/steps.sql, gates/devices.sql of the devices that this transaction has locked
-- Row:
--   device_id  uuid     a device that was asked for
--   claimed    integer  contacts claimed for it
--   moved      integer  of these: contacts of other devices
--   queued     integer  messages queued; less than claimed where a message existed already
--   ended      integer  contacts whose sequence is over
--   chained    integer  of these: the lead's trigger list names the next sequence now
--   swallowed  integer  contacts whose message or next step a trigger of the host's kept from being written
-- Locks: the claimed rows, and the leads whose sequence is over
\if :{?now} \else \set now 'now' \endif
\if :{?due_by} \else \set due_by 'now' \endif
\if :{?oldest} \else \set oldest '-infinity' \endif
\if :{?stale} \else \set stale '-infinity' \endif
\if :{?own} \else \set own 'true' \endif
\if :{?contacts} \else \set contacts '{}' \endif
\if :{?onto} \else \set onto '{}' \endif
\if :{?moves} \else \set moves 'false' \endif
\if :{?reassigns} \else \set reassigns 'false' \endif
\if :{?take} \else \set take '100' \endif
\if :{?most} \else \set most '10000' \endif
\if :{?run} \else \set run '00000000-0000-0000-0000-000000000000' \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with step as materialized (
    select s.*
    from unnest(
        :'step_users'::uuid [], :'step_sequences'::uuid [], :'steps'::uuid [], :'step_reasons'::text [],
        :'next_triggers'::text [], :'next_steps'::uuid [], :'next_step_days'::integer [], :'next_step_hours'::numeric []
    ) as s (user_id, sequence_id, id, reason, next_trigger, next_id, next_day, next_hours)
    where s.reason is null
),

entry as materialized (
    select s.* from unnest(:'step_users'::uuid [], :'step_sequences'::uuid [], :'entry_triggers'::text [])
        as s (user_id, sequence_id, trigger)
    where s.trigger is not null
),

device as materialized (
    -- A room that is null has no end.
    select d.id, d.user_id, least(:'take'::integer, d.room) as room
    from unnest(
        :'devices'::uuid [], :'device_users'::uuid [], :'device_reasons'::text [], :'device_rooms'::integer []
    ) as d (id, user_id, reason, room)
    where d.reason is null
),

given as materialized (
    select g.device_id, array_agg(g.contact_id order by g.place) as contact_ids
    from unnest(:'contacts'::uuid [], :'onto'::uuid []) with ordinality as g (contact_id, device_id, place)
    group by g.device_id
),

claimed as materialized (
    select
        due.*, device.id as device_id, device.user_id,
        case when :'moves'::boolean and :'reassigns'::boolean then device.id else due.assigned_device_id end as assignment
    from device
    cross join lateral (
        select pick.*
        from (
            select own.* from (
                select
                    sc.id, sc.sequence_id, sc.sequence_stepid, sc.contact_phone, sc.contact_name,
                    sc.assigned_device_id, sc.next_trigger_time
                from sequence_contacts as sc
                where
                    sc.assigned_device_id = device.id
                    -- due
                    and sc.status = 'active'
                    and sc.next_trigger_time between :'oldest'::timestamptz and :'due_by'::timestamptz
                    and (sc.processing_started_at is null or sc.processing_started_at <= :'stale'::timestamptz)
                    and sc.contact_phone ~ '\S'
                    and ((device.user_id, sc.sequence_id, sc.sequence_stepid)
                        in (select step.user_id, step.sequence_id, step.id from step)) is true
                order by sc.next_trigger_time
                limit case when :'own'::boolean then device.room else 0 end
                for update of sc skip locked
            ) as own
            union all
            -- A limit on the union would keep what comes first, not what is oldest.
            (
                select held.*
                from given
                cross join unnest(given.contact_ids) as contact (id)
                cross join lateral (
                    select
                        sc.id, sc.sequence_id, sc.sequence_stepid, sc.contact_phone, sc.contact_name,
                        sc.assigned_device_id, sc.next_trigger_time
                    from sequence_contacts as sc
                    where
                        sc.id = contact.id
                        -- Who was assigned to the device since is among its own.
                        and case when :'moves'::boolean or sc.assigned_device_id is null then true
                            else not :'own'::boolean and sc.assigned_device_id = device.id end
                        -- due
                        and sc.status = 'active'
                        and sc.next_trigger_time between :'oldest'::timestamptz and :'due_by'::timestamptz
                        and (sc.processing_started_at is null or sc.processing_started_at <= :'stale'::timestamptz)
                        and sc.contact_phone ~ '\S'
                        and ((device.user_id, sc.sequence_id, sc.sequence_stepid)
                            in (select step.user_id, step.sequence_id, step.id from step)) is true
                    limit 1
                    for update of sc skip locked
                ) as held
                where given.device_id = device.id
                limit device.room
            )
        ) as pick
        order by pick.next_trigger_time
        limit device.room
    ) as due
    limit :'most'::integer
),

reassigned as (
    insert into seqdev.change (run_id, table_name, row_id, column_name, old_value, new_value, changed_at)
    select :'run'::uuid, 'sequence_contacts', c.id, 'assigned_device_id', c.assigned_device_id::text,
        c.assignment::text, :'now'::timestamptz
    from claimed as c
    where c.assignment is distinct from c.assigned_device_id
),

decided as materialized (
    select
        c.*, step.next_trigger, step.next_id, step.next_day, step.next_hours,
        md5('seqdev message ' || c.id)::uuid as message_id,
        md5('seqdev contact ' || c.id || ' ' || step.next_id)::uuid as next_row
    from claimed as c
    inner join step on c.sequence_stepid = step.id
    -- Neighbours in the index that the next step's rows go into.
    order by c.sequence_id, c.contact_phone
    -- Cuts nothing off: of a limit unknown to the planner it expects a tenth, and looks rows up by key below,
    -- where it would read whole tables.
    limit (select :'most'::integer)
),

message as (
    insert into broadcast_messages (
        id, user_id, device_id, sequence_id, sequence_stepid, recipient_phone, recipient_name,
        message_type, content, media_url, status, scheduled_at, created_at
    )
    select
        d.message_id, d.user_id, d.device_id, d.sequence_id, d.sequence_stepid, d.contact_phone, d.contact_name,
        coalesce(st.message_type, 'text'), coalesce(st.content, ''), st.media_url,
        'pending', :'now'::timestamptz, :'now'::timestamptz
    from decided as d
    inner join sequence_steps as st on d.sequence_stepid = st.id
    -- The id only: a conflict with any other key of the host's is an error, never a message lost.
    on conflict (id) do nothing
    returning id
),

next_step as (
    insert into sequence_contacts (
        id, sequence_id, contact_phone, contact_name, current_step, status, current_trigger,
        next_trigger_time, retry_count, assigned_device_id, sequence_stepid, user_id
    )
    select
        d.next_row, d.sequence_id, d.contact_phone, d.contact_name, d.next_day, 'active', d.next_trigger,
        :'now'::timestamptz + d.next_hours * interval '1 hour', 0, d.assignment, d.next_id, d.user_id
    from decided as d
    where d.next_id is not null
    -- This person and step exist already: that row is the next step's.
    on conflict (sequence_id, contact_phone, sequence_stepid) do nothing
    returning id
),

-- Whose sequence is over, and which other sequence of the user next_trigger enters, unless the person has
-- been there. Lookups in a hash or by key, never joins: where few rows are expected, those pair all with all.
outcome as materialized (
    select o.*, o.next_is in ('none', 'done') as ends
    from (
        select
            d.id, d.device_id, d.assignment, d.user_id, d.sequence_id, d.contact_phone, d.next_trigger,
            d.next_id is not null as loops,
            case
                when d.message_id in (select m.id from message as m) then 'new'
                when d.message_id in (select m.id from broadcast_messages as m where m.id = d.message_id) then 'there'
                else 'swallowed'
            end as message_is,
            case
                when d.next_id is null then 'none'
                when d.next_row in (select n.id from next_step as n) then 'new'
                else coalesce((
                    select
                        -- Behind the person already: the steps go in a circle, and end here.
                        case when x.status in ('completed', 'failed') or x.id = d.id then 'done' else 'waits' end
                    from sequence_contacts as x
                    where
                        (x.sequence_id, x.contact_phone, x.sequence_stepid)
                        = (d.sequence_id, d.contact_phone, d.next_id)
                ), 'swallowed')
            end as next_is,
            chain.known, chain.open
        from decided as d
        cross join lateral (
            select
                count(*) > 0 as known,
                coalesce(bool_or((
                    select true
                    from sequence_contacts as x
                    where x.sequence_id = entry.sequence_id and x.contact_phone = d.contact_phone
                    limit 1
                ) is null), false) as open
            from entry
            where
                d.next_id is null
                and (entry.user_id, entry.trigger) = (d.user_id, d.next_trigger)
                and entry.sequence_id <> d.sequence_id
        ) as chain
    ) as o
),

completed as (
    update sequence_contacts as sc
    set
        status = 'completed',
        completed_at = :'now'::timestamptz,
        assigned_device_id = o.assignment,
        -- Kept, so that a processor that looks for rows without a device does not find this one.
        processing_device_id = o.device_id,
        processing_started_at = null,
        last_error = case
            when not o.ends then null
            when o.loops then 'ended: the next step was done before'
            when not o.known then 'ended: next_trigger ' || o.next_trigger || ' names no step or sequence'
            when not o.open then 'ended: was in the sequence of ' || o.next_trigger || ' before'
        end
    from outcome as o
    -- By key alone: that it is active was judged under the lock.
    where sc.id = o.id
),

-- What becomes of each entry trigger in the list of each lead: the next sequence's, or nothing.
trigger_change as materialized (
    select o.user_id, o.contact_phone,
        jsonb_object_agg(btrim(entry.trigger), case when o.open then btrim(o.next_trigger) end) as becomes
    from outcome as o
    inner join entry on o.sequence_id = entry.sequence_id
    where o.ends
    group by o.user_id, o.contact_phone
),

lead_changed as (
    update leads as l
    set
        trigger = coalesce((
            select string_agg(kept.member, ',' order by kept.place)
            from (
                select coalesce(c.becomes ->> btrim(m.member), m.member) as member, min(m.place) as place
                from unnest(string_to_array(l.trigger, ',')) with ordinality as m (member, place)
                where not c.becomes ? btrim(m.member) or c.becomes ->> btrim(m.member) is not null
                group by coalesce(c.becomes ->> btrim(m.member), m.member)
            ) as kept
        ), '')
    from trigger_change as c
    where
        (l.user_id, l.phone) = (c.user_id, c.contact_phone)
        and c.becomes ?| array(select btrim(m.member) from unnest(string_to_array(l.trigger, ',')) as m (member))
    returning l.user_id, l.phone
)

select
    device.id as device_id,
    count(o.id)::integer as claimed,
    count(o.id) filter (where :'moves'::boolean)::integer as moved,
    count(o.id) filter (where o.message_is = 'new')::integer as queued,
    count(o.id) filter (where o.ends)::integer as ended,
    count(o.id) filter (
        where o.ends and o.open and (o.user_id, o.contact_phone) in (select l.user_id, l.phone from lead_changed as l)
    )::integer as chained,
    count(o.id) filter (where 'swallowed' in (o.message_is, o.next_is))::integer as swallowed
from device
left join outcome as o on device.id = o.device_id
group by device.id;
