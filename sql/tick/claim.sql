-- Claim the due contacts of locked devices: message queued, step completed, next step made or activated, in one go
--
-- Each due row is locked and itself updated, so that nobody can claim it twice; rows that somebody else
-- has locked are passed over. The ids of the message and of the next step's row are functions of the row's id:
-- what a failover loses comes back with the same ids.
--
-- This file is the master of what makes a contact due, gates apart: the lines below "due" stand in every file that
-- looks for due contacts. A device without an instant is a claim, too, but on a row that was done before, where it is
-- the device of the message. "is true" keeps the last of them a lookup in a hash, and the scan in the index's order.
--
-- Parameters:
--   now           timestamptz  the instant of the transaction
--   due_by        timestamptz  contacts are due that are due by then: the instant the run began
--   oldest        timestamptz  contacts that were due before are too late, and left out
--   stale         timestamptz  a claim that another processor made later than that is respected
--   without_lead  boolean      people without a lead of the sequence's user are due, too
--   national      text         a regular expression that tells a number without a country code
--   country       text         what stands for its match
--   own           boolean      claim the contacts that are assigned to the devices, but for those that pick.sql chooses
--   contacts      uuid[]       contacts to claim besides (pick.sql, overflow.sql)
--   onto          uuid[]       the device for each of them
--   moves         boolean      they leave their own device for it; else it is theirs, or their lead's
--   reassigns     boolean      those who leave their own device are assigned to the other from then on
--   take          integer      contacts to claim for one device, at most
--   most          integer      contacts to claim in all, at most
--   run           uuid         the run, for the journal of reassigned contacts
--   waiting       text[]       values of sequence_contacts.status: a later step's row, made beforehand
--   done          text[]       values of sequence_contacts.status: the step is done
-- Gates: gates/windows.sql, gates/steps.sql, gates/spread.sql and gates/devices.sql of the devices that this transaction
--   has locked
-- Row:
--   device_id  uuid     a device that was asked for
--   claimed    integer  contacts claimed for it
--   moved      integer  of these: contacts of other devices
--   queued     integer  messages queued; less than claimed where a message existed already
--   ended      integer  contacts whose sequence is over
--   chained    integer  of these: the lead's trigger list names the next sequence now
--   swallowed  integer  rows, of all devices, that a trigger of the host's kept from being written
-- Locks: the claimed rows, and the leads whose sequence is over
\if :{?now} \else \set now 'now' \endif
\if :{?due_by} \else \set due_by 'now' \endif
\if :{?oldest} \else \set oldest '-infinity' \endif
\if :{?stale} \else \set stale '-infinity' \endif
\if :{?without_lead} \else \set without_lead 'false' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
\if :{?own} \else \set own 'true' \endif
\if :{?contacts} \else \set contacts '{}' \endif
\if :{?onto} \else \set onto '{}' \endif
\if :{?moves} \else \set moves 'false' \endif
\if :{?reassigns} \else \set reassigns 'false' \endif
\if :{?take} \else \set take '100' \endif
\if :{?most} \else \set most '10000' \endif
\if :{?run} \else \set run '00000000-0000-0000-0000-000000000000' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?done} \else \set done '{completed,sent,failed}' \endif
\if :{?recipient_hours} \else \ir ../gates/windows.sql \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
\if :{?paces} \else \ir ../gates/spread.sql \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with entry as materialized (
    select s.* from unnest(:'step_users'::uuid [], :'step_sequences'::uuid [], :'entry_triggers'::text [])
        as s (user_id, sequence_id, trigger)
    where s.trigger is not null
),

-- The sequences that a trigger enters.
entered as materialized (
    select entry.user_id, entry.trigger, array_agg(entry.sequence_id) as sequences
    from entry
    group by entry.user_id, entry.trigger
),

-- "enters": the other sequences of the user's that next_trigger enters.
step as materialized (
    select s.*, array_remove(coalesce(entered.sequences, '{}'), s.sequence_id) as enters
    from unnest(
        :'step_users'::uuid [], :'step_sequences'::uuid [], :'steps'::uuid [], :'step_reasons'::text [],
        :'next_triggers'::text [], :'next_steps'::uuid [], :'next_step_days'::integer [], :'next_step_hours'::numeric []
    ) as s (user_id, sequence_id, id, reason, next_trigger, next_id, next_day, next_hours)
    left join entered on (s.user_id, s.next_trigger) = (entered.user_id, entered.trigger)
    -- "coalesce", as of the devices below: of a null the planner expects one row, and joins each with all.
    where coalesce(s.reason is null, false)
),

device as materialized (
    -- A room that is null has no end. Who goes from a device that may open fewer chats than it takes, pick.sql chooses.
    select
        d.id, d.user_id, least(:'take'::integer, d.room) as room,
        coalesce(d.new_room < least(:'take'::integer, d.room), false) as is_chosen_for
    from unnest(
        :'devices'::uuid [], :'device_users'::uuid [], :'device_reasons'::text [], :'device_rooms'::integer [],
        :'new_rooms'::integer []
    ) as d (id, user_id, reason, room, new_room)
    where coalesce(d.reason is null, false)
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
                    sc.assigned_device_id, sc.next_trigger_time, sc.processing_started_at,
                    -- Without priorities a constant, so that the rows come in the index's order, and no more are read.
                    case when :'priorities'::jsonb = '{}' then 0 else -coalesce((:'priorities'::jsonb ->> sc.sequence_id::text)::integer, 0) end as turn
                from sequence_contacts as sc
                where
                    sc.assigned_device_id = device.id
                    -- due
                    and sc.status = 'active'
                    and sc.next_trigger_time between :'oldest'::timestamptz and :'due_by'::timestamptz
                    and coalesce(
                        sc.processing_started_at <= :'stale'::timestamptz,
                        sc.processing_device_id is null or sc.completed_at is not null
                    )
                    and sc.contact_phone ~ '\S'
                    and (:'without_lead'::boolean or (
                        select true from leads as person
                        where (person.user_id, person.phone) = (device.user_id, sc.contact_phone) limit 1
                    ))
                    and (:'recipient_hours'::jsonb = '{}' or (
                        -- The longest prefix of the phone that there is tells: gates/windows.sql.
                        select (:'recipient_hours'::jsonb ->> of.key)::boolean
                        from (
                            -- digits: as in enroll/persons.sql
                            select
                                case when sc.contact_phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                                    else regexp_replace(bare.digits, :'national'::text, :'country'::text) end as digits
                            from (
                                select regexp_replace(
                                    sc.contact_phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
                                ) as digits
                            ) as bare
                        ) as person
                        cross join generate_series(9, 0, -1) as prefix (size)
                        cross join lateral (
                            select (:'recipient_hours'::jsonb ->> sc.sequence_stepid::text) || ' ' || left(person.digits, prefix.size) as key
                        ) as of
                        where :'recipient_hours'::jsonb ? of.key
                        limit 1
                    ) is not false)
                    and ((device.user_id, sc.sequence_id, sc.sequence_stepid)
                        in (select step.user_id, step.sequence_id, step.id from step)) is true
                order by turn, sc.next_trigger_time
                limit case when :'own'::boolean and not device.is_chosen_for then device.room else 0 end
                for update of sc skip locked
            ) as own
            union all
            -- A limit on the union would keep what comes first, not what is oldest.
            (
                select
                    held.id, held.sequence_id, held.sequence_stepid, held.contact_phone, held.contact_name,
                    held.assigned_device_id, held.next_trigger_time, held.processing_started_at,
                    case when :'priorities'::jsonb = '{}' then 0 else -coalesce((:'priorities'::jsonb ->> held.sequence_id::text)::integer, 0) end as turn
                from given
                cross join unnest(given.contact_ids) as contact (id)
                -- By key alone, and judged after the lock: without statistics the planner would take an index of the due.
                cross join lateral (
                    select sc.*
                    from (
                        select
                            sc.id, sc.sequence_id, sc.sequence_stepid, sc.contact_phone, sc.contact_name,
                            sc.assigned_device_id, sc.next_trigger_time, sc.processing_started_at,
                            sc.processing_device_id, sc.completed_at, sc.status
                        from sequence_contacts as sc
                        where sc.id = contact.id
                        limit 1
                        for update of sc skip locked
                    ) as sc
                    where
                        -- Who was assigned to the device since is among its own.
                        case when :'moves'::boolean or sc.assigned_device_id is null then true
                            else (not :'own'::boolean or device.is_chosen_for) and sc.assigned_device_id = device.id end
                        -- due
                        and sc.status = 'active'
                        and sc.next_trigger_time between :'oldest'::timestamptz and :'due_by'::timestamptz
                        and coalesce(
                            sc.processing_started_at <= :'stale'::timestamptz,
                            sc.processing_device_id is null or sc.completed_at is not null
                        )
                        and sc.contact_phone ~ '\S'
                        and (:'without_lead'::boolean or (
                            select true from leads as person
                            where (person.user_id, person.phone) = (device.user_id, sc.contact_phone) limit 1
                        ))
                        and (:'recipient_hours'::jsonb = '{}' or (
                            -- The longest prefix of the phone that there is tells: gates/windows.sql.
                            select (:'recipient_hours'::jsonb ->> of.key)::boolean
                            from (
                                -- digits: as in enroll/persons.sql
                                select
                                    case when sc.contact_phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                                        else regexp_replace(bare.digits, :'national'::text, :'country'::text) end as digits
                                from (
                                    select regexp_replace(
                                        sc.contact_phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
                                    ) as digits
                                ) as bare
                            ) as person
                            cross join generate_series(9, 0, -1) as prefix (size)
                            cross join lateral (
                                select (:'recipient_hours'::jsonb ->> sc.sequence_stepid::text) || ' ' || left(person.digits, prefix.size) as key
                            ) as of
                            where :'recipient_hours'::jsonb ? of.key
                            limit 1
                        ) is not false)
                        and ((device.user_id, sc.sequence_id, sc.sequence_stepid)
                            in (select step.user_id, step.sequence_id, step.id from step)) is true
                ) as held
                where given.device_id = device.id
                limit device.room
            )
        ) as pick
        order by pick.turn, pick.next_trigger_time
        limit device.room
    ) as due
    limit :'most'::integer
),

-- Of whom the sequence is over, whether next_trigger enters another sequence of the user's, unless the person has
-- been there. Lookups in a hash or by key, never joins: where few rows are expected, those pair all with all.
decided as materialized (
    select
        c.*, step.next_trigger, step.next_id, step.next_day, step.next_hours, step.enters,
        md5('seqdev message ' || c.id)::uuid as message_id,
        md5('seqdev contact ' || c.id || ' ' || step.next_id)::uuid as next_row,
        there.id as there_id, there.assigned_device_id as there_assigned,
        case
            when step.next_id is null then 'none'
            when there.id is null then 'new'
            -- Behind the person already: the steps go in a circle, and end here.
            when there.id = c.id or there.status = any(:'done'::text []) then 'done'
            when there.status = any(:'waiting'::text []) then 'waits'
            else 'there'
        end as next_is,
        case
            when step.next_id is null then exists (
                select true
                from unnest(step.enters) as other (sequence_id)
                where
                    (
                        select true
                        from sequence_contacts as x
                        where x.sequence_id = other.sequence_id and x.contact_phone = c.contact_phone
                        limit 1
                    ) is null
            )
            else false
        end as open,
        -- A processor that died between its message and its row has left the message.
        c.processing_started_at is not null and coalesce((
            select true
            from broadcast_messages as m
            where
                (m.recipient_phone, m.sequence_id) = (c.contact_phone, c.sequence_id)
                and coalesce(m.sequence_stepid = c.sequence_stepid, m.created_at >= c.processing_started_at)
            limit 1
        ), false) as is_sent
    from claimed as c
    inner join step on c.sequence_stepid = step.id
    left join lateral (
        select x.id, x.status, x.assigned_device_id
        from sequence_contacts as x
        where (x.sequence_id, x.contact_phone, x.sequence_stepid) = (c.sequence_id, c.contact_phone, step.next_id)
        limit 1
    ) as there on true
    -- Neighbours in the index that the next step's rows go into.
    order by c.sequence_id, c.contact_phone
    -- Cuts nothing off: of a limit unknown to the planner it expects a tenth, and looks rows up by key below,
    -- where it would read whole tables.
    limit (select :'most'::integer)
),

reassigned as (
    insert into seqdev.change (run_id, table_name, row_id, column_name, old_value, new_value, changed_at)
    select :'run'::uuid, 'sequence_contacts', r.id, 'assigned_device_id', r.old::text, r.new::text, :'now'::timestamptz
    from (
        select d.id, d.assigned_device_id as old, d.assignment as new
        from decided as d
        union all
        select d.there_id, d.there_assigned, coalesce(d.assignment, d.there_assigned)
        from decided as d
        where d.next_is = 'waits'
    ) as r
    where r.old is distinct from r.new
),

-- When each leaves, by the contact's id, where the rule spread lays them out: a gap apart, the oldest first, each up to a
-- quarter of a gap earlier or later, as its id has it. Without the rule nobody asks, and it is not made.
spread as materialized (
    select
        jsonb_object_agg(
            turn.id,
            greatest(
                :'now'::timestamptz,
                (turn.pace ->> 'at')::timestamptz + interval '1 second' * (turn.pace ->> 'gap')::float8
                * (turn.place - 1.25 + ('x' || left(turn.message_id::text, 8))::bit(32)::bigint / 8589934592.0)
            )
        ) as by_contact
    from (
        select
            d.id, d.message_id, :'paces'::jsonb -> d.device_id::text as pace,
            row_number() over (partition by d.device_id order by d.turn, d.next_trigger_time, d.id) as place
        from decided as d
    ) as turn
    where turn.pace is not null
),

message as (
    insert into broadcast_messages (
        id, user_id, device_id, sequence_id, sequence_stepid, recipient_phone, recipient_name,
        message_type, content, media_url, status, scheduled_at, created_at
    )
    -- No text is null: the host's worker could not read the message, and would pass it over for ever.
    select
        d.message_id, d.user_id, d.device_id, d.sequence_id, d.sequence_stepid, d.contact_phone,
        coalesce(d.contact_name, ''), coalesce(substring(st.message_type from '\S+'), 'text'),
        coalesce(st.content, ''), coalesce(st.media_url, ''), 'pending',
        case
            when :'paces'::jsonb = '{}' then :'now'::timestamptz
            else coalesce(((select spread.by_contact from spread) ->> d.id::text)::timestamptz, :'now'::timestamptz)
        end,
        :'now'::timestamptz
    from decided as d
    inner join sequence_steps as st on d.sequence_stepid = st.id
    where not d.is_sent
    -- The id only: a conflict with any other key of the host's is an error, never a message lost.
    on conflict (id) do nothing
    returning device_id
),

completed as (
    update sequence_contacts as sc
    set
        status = 'completed',
        completed_at = :'now'::timestamptz,
        assigned_device_id = d.assignment,
        -- Kept, so that a processor that looks for rows without a device does not find this one.
        processing_device_id = d.device_id,
        processing_started_at = null,
        last_error = case
            when d.next_is not in ('none', 'done') then null
            when d.next_id is not null then 'ended: the next step was done before'
            when d.next_trigger is null then null
            when d.enters = '{}' then 'ended: next_trigger ' || d.next_trigger || ' names no step or sequence'
            when not d.open then 'ended: was in the sequence of ' || d.next_trigger || ' before'
        end
    from decided as d
    -- By key alone: that it is active was judged under the lock.
    where sc.id = d.id
    returning sc.id
),

-- After the rows are completed, and not before: hosts have a key of one active row a person, and a trigger that lets no
-- step become active before those before it are done. That all are completed makes that order.
next_step as (
    insert into sequence_contacts (
        id, sequence_id, contact_phone, contact_name, current_step, status, current_trigger,
        next_trigger_time, retry_count, assigned_device_id, sequence_stepid, user_id
    )
    select
        d.next_row, d.sequence_id, d.contact_phone, d.contact_name, d.next_day, 'active', d.next_trigger,
        :'now'::timestamptz + d.next_hours * interval '1 hour', 0, d.assignment, d.next_id, d.user_id
    from decided as d
    where d.next_is = 'new' and (select count(*) from completed) = (select count(*) from decided)
    -- This person and step exist already: that row is the next step's.
    on conflict (sequence_id, contact_phone, sequence_stepid) do nothing
    returning id
),

activated as (
    update sequence_contacts as sc
    set
        status = 'active',
        next_trigger_time = greatest(
            sc.next_trigger_time, :'now'::timestamptz + d.next_hours * interval '1 hour'
        ),
        assigned_device_id = coalesce(d.assignment, sc.assigned_device_id)
    from decided as d
    where
        sc.id = d.there_id
        and d.next_is = 'waits'
        -- Another processor may have been faster.
        and sc.status = any(:'waiting'::text [])
        and (select count(*) from completed) = (select count(*) from decided)
    returning sc.id
),

-- What becomes of each entry trigger in the list of each lead: the next sequence's, or nothing.
trigger_change as materialized (
    select o.user_id, o.contact_phone,
        -- Of two that end here with one entry trigger, the one that leads to another sequence has it.
        jsonb_object_agg(
            btrim(entry.trigger), case when o.open then btrim(o.next_trigger) end
            order by o.open, o.next_trigger
        ) as becomes
    from decided as o
    inner join entry on o.sequence_id = entry.sequence_id
    where o.next_is in ('none', 'done')
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
    returning l.user_id, l.phone, l.trigger
)

select
    device.id as device_id,
    coalesce(done.claimed, 0)::integer as claimed,
    case when :'moves'::boolean then coalesce(done.claimed, 0) else 0 end::integer as moved,
    coalesce(sent.queued, 0)::integer as queued,
    coalesce(done.ended, 0)::integer as ended,
    coalesce(done.chained, 0)::integer as chained,
    (swallowed.rows + case
        when swallowed.messages > 0 then swallowed.messages - (
            select count(*)
            from decided as d
            inner join broadcast_messages as m on d.message_id = m.id
            where not d.is_sent
        )
        else 0
    end)::integer as swallowed
from device
left join (
    select
        d.device_id,
        count(*) as claimed,
        count(*) filter (where d.next_is in ('none', 'done')) as ended,
        count(*) filter (
            where d.next_is in ('none', 'done') and d.open
            -- Its lead may have changed for another sequence that ended, and not for this one.
            and (d.user_id, d.contact_phone, btrim(d.next_trigger)) in (
                select l.user_id, l.phone, btrim(m.member)
                from lead_changed as l
                cross join unnest(string_to_array(l.trigger, ',')) as m (member)
            )
        ) as chained
    from decided as d
    group by d.device_id
) as done on device.id = done.device_id
left join (
    select m.device_id, count(*) as queued
    from message as m
    group by m.device_id
) as sent on device.id = sent.device_id
cross join (
    select
        wanted.completed - (select count(*) from completed)
        + wanted.next_steps - (select count(*) from next_step)
        + wanted.activated - (select count(*) from activated) as rows,
        wanted.messages - (select count(*) from message) as messages
    from (
        select
            count(*) as completed,
            count(*) filter (where d.next_is = 'new') as next_steps,
            count(*) filter (where d.next_is = 'waits') as activated,
            count(*) filter (where not d.is_sent) as messages
        from decided as d
    ) as wanted
) as swallowed;
