-- Claim the due contacts of locked devices on Citus: step completed, message queued, next step made or activated
--
-- Rows of several shards cannot be locked and passed over. So who is due is found first, and then that very row is
-- updated, if it still is as it was found: one that somebody else has changed meanwhile is left to the next batch, and one
-- that is locked is waited for. What was updated, and nothing else, gets its message and its next step, in the same
-- statement: what changes rows in it runs in the order in which it stands here, and sees what was changed before. The ids
-- of the message and of the next step's row are functions of the row's id: what a failover loses comes back with the same.
--
-- An UPDATE here compares only values of the same type: whatever depends on a setting, Citus refuses there. Distributed
-- tables stand first in a join, and are joined by phone, so that each node works on its own shards.
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
\if :{?paces} \else \ir ../gates/spread_distributed.sql \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with entry as materialized (
    select s.*
    from unnest(:'step_users'::uuid [], :'step_sequences'::uuid [], :'entry_triggers'::text [])
        as s (user_id, sequence_id, trigger)
    where s.trigger is not null
),

-- The sequences that a trigger enters.
entered as materialized (
    select
        entry.user_id,
        entry.trigger,
        array_agg(entry.sequence_id) as sequences
    from entry
    group by entry.user_id, entry.trigger
),

-- "enters": the other sequences of the user's that next_trigger enters.
step as materialized (
    select
        s.*,
        array_remove(coalesce(entered.sequences, '{}'), s.sequence_id) as enters
    from unnest(
        :'step_users'::uuid [], :'step_sequences'::uuid [], :'steps'::uuid [], :'step_reasons'::text [],
        :'next_triggers'::text [], :'next_steps'::uuid [], :'next_step_days'::integer [], :'next_step_hours'::numeric []
    ) as s (user_id, sequence_id, id, reason, next_trigger, next_id, next_day, next_hours)
    left join entered on (s.user_id, s.next_trigger) = (entered.user_id, entered.trigger)
    where coalesce(s.reason is null, false)
),

device as materialized (
    -- As in tick/claim.sql.
    select
        d.id,
        d.user_id,
        least(:'take'::integer, d.room) as room,
        coalesce(d.new_room < least(:'take'::integer, d.room), false) as is_chosen_for
    from unnest(
        :'devices'::uuid [], :'device_users'::uuid [], :'device_reasons'::text [], :'device_rooms'::integer [],
        :'new_rooms'::integer []
    ) as d (id, user_id, reason, room, new_room)
    where coalesce(d.reason is null, false)
),

given as materialized (
    select g.*
    from unnest(:'contacts'::uuid [], :'onto'::uuid []) as g (contact_id, device_id)
),

-- Who is due, each with the place among those of the device, the oldest first.
own as materialized (
    select
        sc.id,
        sc.contact_phone,
        sc.sequence_id,
        sc.sequence_stepid,
        sc.assigned_device_id,
        sc.next_trigger_time,
        sc.processing_device_id,
        sc.processing_started_at,
        -- A processor that died between its message and its row has left the message.
        sc.processing_started_at is not null and coalesce((
            select true
            from broadcast_messages as m
            where
                (m.recipient_phone, m.sequence_id) = (sc.contact_phone, sc.sequence_id)
                and coalesce(m.sequence_stepid = sc.sequence_stepid, m.created_at >= sc.processing_started_at)
            limit 1
        ), false) as is_sent,
        device.id as device_id,
        device.room,
        case when :'priorities'::jsonb = '{}' then 0 else -coalesce((:'priorities'::jsonb ->> sc.sequence_id::text)::integer, 0) end as turn,
        row_number() over (partition by device.id order by case when :'priorities'::jsonb = '{}' then 0 else -coalesce((:'priorities'::jsonb ->> sc.sequence_id::text)::integer, 0) end, sc.next_trigger_time, sc.id) as place
    from sequence_contacts as sc
    inner join device on sc.assigned_device_id = device.id
    where
        :'own'::boolean
        and not device.is_chosen_for
        -- due: as in tick/claim.sql
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
),

besides as materialized (
    select
        sc.id,
        sc.contact_phone,
        sc.sequence_id,
        sc.sequence_stepid,
        sc.assigned_device_id,
        sc.next_trigger_time,
        sc.processing_device_id,
        sc.processing_started_at,
        -- A processor that died between its message and its row has left the message.
        sc.processing_started_at is not null and coalesce((
            select true
            from broadcast_messages as m
            where
                (m.recipient_phone, m.sequence_id) = (sc.contact_phone, sc.sequence_id)
                and coalesce(m.sequence_stepid = sc.sequence_stepid, m.created_at >= sc.processing_started_at)
            limit 1
        ), false) as is_sent,
        device.id as device_id,
        device.room,
        case when :'priorities'::jsonb = '{}' then 0 else -coalesce((:'priorities'::jsonb ->> sc.sequence_id::text)::integer, 0) end as turn,
        0 as place
    from sequence_contacts as sc
    inner join given on sc.id = given.contact_id
    inner join device on given.device_id = device.id
    where
        -- Who was assigned to the device since is among its own.
        case
            when :'moves'::boolean or sc.assigned_device_id is null then true
            else (not :'own'::boolean or device.is_chosen_for) and sc.assigned_device_id = device.id
        end
        -- due: as in tick/claim.sql
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
),

-- What a device may still take, the oldest first.
picked as materialized (
    select
        placed.id,
        placed.contact_phone,
        placed.sequence_id,
        placed.sequence_stepid,
        placed.assigned_device_id,
        placed.next_trigger_time,
        placed.processing_device_id,
        placed.processing_started_at,
        placed.is_sent,
        placed.device_id,
        case
            when :'paces'::jsonb = '{}' then :'now'::timestamptz
            -- Where the rule spread lays them out: as in tick/claim.sql.
            else greatest(
                :'now'::timestamptz,
                (:'paces'::jsonb -> placed.device_id::text ->> 'at')::timestamptz
                + interval '1 second' * (:'paces'::jsonb -> placed.device_id::text ->> 'gap')::float8
                * (
                    placed.place - 1.25
                    + ('x' || left(md5('seqdev message ' || placed.id)::uuid::text, 8))::bit(32)::bigint / 8589934592.0
                )
            )
        end as scheduled_at
    from (
        select
            both_kinds.*,
            row_number() over (
                partition by both_kinds.device_id
                order by both_kinds.turn, both_kinds.next_trigger_time, both_kinds.id
            ) as place
        from (
            select
                own.id,
                own.contact_phone,
                own.sequence_id,
                own.sequence_stepid,
                own.assigned_device_id,
                own.next_trigger_time,
                own.processing_device_id,
                own.processing_started_at,
                own.is_sent,
                own.device_id,
                own.room,
                own.turn
            from own
            where own.place <= own.room
            union all
            select
                b.id,
                b.contact_phone,
                b.sequence_id,
                b.sequence_stepid,
                b.assigned_device_id,
                b.next_trigger_time,
                b.processing_device_id,
                b.processing_started_at,
                b.is_sent,
                b.device_id,
                b.room,
                b.turn
            from besides as b
        ) as both_kinds
    ) as placed
    where placed.place <= placed.room
    order by placed.place, placed.next_trigger_time, placed.id
    limit :'most'::integer
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
    from (
        select
            found.id,
            found.contact_phone,
            c.device_id,
            c.next_trigger_time,
            c.processing_device_id,
            c.processing_started_at,
            c.scheduled_at,
            step.user_id,
            step.next_trigger,
            step.next_id,
            step.next_day,
            step.next_hours,
            step.enters,
            there.id as there_id,
            there.assigned_device_id as there_assigned,
            there.next_trigger_time as there_due,
            c.assigned_device_id as assigned,
            case
                when :'moves'::boolean and :'reassigns'::boolean then c.device_id
                else c.assigned_device_id
            end as assignment,
            case
                when step.next_id is null then 'none'
                when there.id is null then 'new'
                -- Behind the person already: the steps go in a circle, and end here.
                when there.id = c.id or there.status = any(:'done'::text []) then 'done'
                when there.status = any(:'waiting'::text []) then 'waits'
                else 'there'
            end as next_is,
            case
                when step.next_id is null and step.enters <> '{}' then (
                    select count(distinct x.sequence_id)
                    from sequence_contacts as x
                    where x.contact_phone = found.contact_phone and x.sequence_id = any(step.enters)
                ) < cardinality(step.enters)
                else false
            end as open,
            c.is_sent
        from sequence_contacts as found
        inner join picked as c on found.contact_phone = c.contact_phone and found.id = c.id
        inner join step on c.sequence_id = step.sequence_id and c.sequence_stepid = step.id
        left join sequence_contacts as there
            on
                found.contact_phone = there.contact_phone
                and found.sequence_id = there.sequence_id
                and step.next_id = there.sequence_stepid
    ) as d
    where
        sc.contact_phone = d.contact_phone
        and sc.id = d.id
        -- As it was found: what another session has done meanwhile counts.
        and sc.status = 'active'
        and sc.next_trigger_time = d.next_trigger_time
        and sc.assigned_device_id is not distinct from d.assigned
        and sc.processing_device_id is not distinct from d.processing_device_id
        and sc.processing_started_at is not distinct from d.processing_started_at
    returning
        sc.id, sc.sequence_id, sc.sequence_stepid, sc.contact_phone, sc.contact_name,
        d.device_id, d.scheduled_at, d.is_sent,
        d.user_id, d.next_trigger, d.next_id, d.next_day, d.next_hours, d.there_id,
        d.there_assigned, d.there_due, d.assigned, d.assignment, d.next_is, d.open
),

message as (
    insert into broadcast_messages (
        id, user_id, device_id, sequence_id, sequence_stepid, recipient_phone, recipient_name,
        message_type, content, media_url, status, scheduled_at, created_at
    )
    -- No text is null: as in tick/claim.sql.
    select
        md5('seqdev message ' || d.id)::uuid,
        d.user_id,
        d.device_id,
        d.sequence_id,
        d.sequence_stepid,
        d.contact_phone,
        coalesce(d.contact_name, ''),
        coalesce(substring(st.message_type from '\S+'), 'text'),
        coalesce(st.content, ''),
        coalesce(st.media_url, ''),
        'pending',
        d.scheduled_at,
        :'now'::timestamptz
    from completed as d
    inner join sequence_steps as st on d.sequence_stepid = st.id
    where not d.is_sent
    on conflict (recipient_phone, id) do nothing
    returning device_id
),

reassigned as (
    insert into seqdev.change (run_id, table_name, row_id, column_name, old_value, new_value, changed_at)
    select
        :'run'::uuid,
        'sequence_contacts',
        r.id,
        'assigned_device_id',
        r.old::text,
        r.new::text,
        :'now'::timestamptz
    from (
        select
            d.id,
            d.assigned as old,
            d.assignment as new
        from completed as d
        union all
        select
            d.there_id,
            d.there_assigned,
            coalesce(d.assignment, d.there_assigned)
        from completed as d
        where d.next_is = 'waits'
    ) as r
    where r.old is distinct from r.new
),

-- After the rows are completed, and not before: as in tick/claim.sql.
next_step as (
    insert into sequence_contacts (
        id, sequence_id, contact_phone, contact_name, current_step, status, current_trigger,
        next_trigger_time, retry_count, assigned_device_id, sequence_stepid, user_id
    )
    select
        md5('seqdev contact ' || d.id || ' ' || d.next_id)::uuid,
        d.sequence_id,
        d.contact_phone,
        d.contact_name,
        d.next_day,
        'active',
        d.next_trigger,
        :'now'::timestamptz + d.next_hours * interval '1 hour',
        0,
        d.assignment,
        d.next_id,
        d.user_id
    from completed as d
    where d.next_is = 'new'
    -- This person and step exist already: that row is the next step's.
    on conflict (sequence_id, contact_phone, sequence_stepid) do nothing
    returning id
),

-- When the row that waits is due, in the type that the host's column has.
waiting as materialized (
    select
        d.there_id as id,
        d.contact_phone,
        d.assignment,
        (
            jsonb_populate_record(
                null::sequence_contacts,
                jsonb_build_object(
                    'next_trigger_time',
                    case
                        when pg_typeof(d.there_due) = 'timestamptz'::regtype then to_jsonb(later.at)
                        else to_jsonb(later.at::timestamp)
                    end
                )
            )
        ).next_trigger_time as due_at
    from completed as d
    cross join lateral (
        select greatest(d.there_due, :'now'::timestamptz + d.next_hours * interval '1 hour') as at
    ) as later
    where d.next_is = 'waits'
),

activated as (
    update sequence_contacts as sc
    set
        status = 'active',
        next_trigger_time = d.due_at,
        assigned_device_id = coalesce(d.assignment, sc.assigned_device_id)
    from waiting as d
    where
        sc.contact_phone = d.contact_phone
        and sc.id = d.id
        -- Another processor may have been faster.
        and sc.status = any(:'waiting'::text [])
    returning sc.id
),

-- What becomes of each entry trigger in the list of each lead: the next sequence's, or nothing.
trigger_change as materialized (
    select
        o.user_id,
        o.contact_phone,
        -- Of two that end here with one entry trigger, the one that leads to another sequence has it.
        jsonb_object_agg(
            btrim(entry.trigger), case when o.open then btrim(o.next_trigger) end
            order by o.open, o.next_trigger
        ) as becomes
    from completed as o
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
                select
                    coalesce(c.becomes ->> btrim(m.member), m.member) as member,
                    min(m.place) as place
                from unnest(string_to_array(l.trigger, ',')) with ordinality as m (member, place)
                where not c.becomes ? btrim(m.member) or c.becomes ->> btrim(m.member) is not null
                group by coalesce(c.becomes ->> btrim(m.member), m.member)
            ) as kept
        ), '')
    from trigger_change as c
    where
        l.phone = c.contact_phone
        and l.user_id = c.user_id
        and c.becomes ?| array(select btrim(m.member) from unnest(string_to_array(l.trigger, ',')) as m (member))
    returning l.user_id, l.phone, l.trigger
),

-- Where fewer messages were made than contacts completed: those that had one already have it all the same.
short as materialized (
    select
        d.id,
        d.contact_phone
    from completed as d
    where
        not d.is_sent
        and (select count(*) from message) < (select count(*) from completed as c where not c.is_sent)
),

sent_before as materialized (
    select count(distinct d.id) as contacts
    from short as d
    inner join broadcast_messages as m on d.contact_phone = m.recipient_phone
    where m.id = md5('seqdev message ' || d.id)::uuid
),

wanted as materialized (
    select
        count(*) filter (where d.next_is = 'new') as next_steps,
        count(*) filter (where d.next_is = 'waits') as activated
    from completed as d
),

swallowed as materialized (
    select
        wanted.next_steps - (select count(*) from next_step)
        + wanted.activated - (select count(*) from activated)
        + (select count(*) from short) - sent_before.contacts as rows
    from wanted
    cross join sent_before
)

select
    device.id as device_id,
    coalesce(done.claimed, 0)::integer as claimed,
    case when :'moves'::boolean then coalesce(done.claimed, 0) else 0 end::integer as moved,
    coalesce(sent.queued, 0)::integer as queued,
    coalesce(done.ended, 0)::integer as ended,
    coalesce(done.chained, 0)::integer as chained,
    swallowed.rows::integer as swallowed
from device
left join (
    select
        d.device_id,
        count(*) as claimed,
        count(*) filter (where d.next_is in ('none', 'done')) as ended,
        count(*) filter (
            where
                d.next_is in ('none', 'done')
                and d.open
                -- Its lead may have changed for another sequence that ended, and not for this one.
                and (d.user_id, d.contact_phone, btrim(d.next_trigger)) in (
                    select l.user_id, l.phone, btrim(m.member)
                    from lead_changed as l
                    cross join unnest(string_to_array(l.trigger, ',')) as m (member)
                )
        ) as chained
    from completed as d
    group by d.device_id
) as done on device.id = done.device_id
left join (
    select
        m.device_id,
        count(*) as queued
    from message as m
    group by m.device_id
) as sent on device.id = sent.device_id
cross join swallowed;
