-- Claim the due contacts of locked devices: message queued, step completed, next step made, in one go
--
-- Each due row is locked and itself updated, so that nobody can claim it twice; rows that somebody else
-- has locked are passed over. The message's id is a function of the row's id, and so is the id of the row
-- of the next step: what a failover loses comes back with the same ids.
--
-- Parameters:
--   now            timestamptz  the instant of the transaction
--   due_by         timestamptz  contacts are due that are due by then: the instant the run began
--   oldest         timestamptz  contacts that were due before are too late, and left out
--   policy         text         device policy: queue, strict, fallback or reassign
--   devices        uuid[]       devices that this transaction has locked
--   take           integer      contacts to claim for one device, at most
--   most           integer      contacts to claim in all, at most
--   only           uuid[]       only these of the contacts that are due; empty: all (pick.sql says which there are)
--   moved          uuid[]       contacts to claim besides, whose own device is not available (overflow.sql)
--   onto           uuid[]       the device for each of them
--   run            uuid         the run, for the journal of reassigned contacts
--   active         text[]       values of sequences.status that count as active
--   claimed        interval     how long the claim of another processor is respected
--   max_in_flight  integer      messages of a device in flight (not under queue)
--   max_per_hour   integer      messages of a device sent in 60 minutes, plus those in flight
--   max_per_day    integer      messages of a device sent in 24 hours, plus those in flight
-- Row:
--   device_id      uuid     a device that was asked for
--   claimed        integer  contacts claimed for it
--   moved          integer  of these: contacts of other devices
--   queued         integer  messages queued; less than claimed where a message existed already
--   ended          integer  contacts whose sequence is over
--   chained        integer  of these: the lead's trigger list names the next sequence now
--   swallowed      integer  contacts whose message or next step a trigger of the host's kept from being written
-- Locks: the claimed rows, and the leads whose sequence is over
\if :{?now} \else \set now 'now' \endif
\if :{?due_by} \else \set due_by 'now' \endif
\if :{?oldest} \else \set oldest '-infinity' \endif
\if :{?policy} \else \set policy 'queue' \endif
\if :{?devices} \else \set devices '{}' \endif
\if :{?take} \else \set take '100' \endif
\if :{?most} \else \set most '10000' \endif
\if :{?only} \else \set only '{}' \endif
\if :{?moved} \else \set moved '{}' \endif
\if :{?onto} \else \set onto '{}' \endif
\if :{?run} \else \set run '00000000-0000-0000-0000-000000000000' \endif
\if :{?active} \else \set active '{active}' \endif
\if :{?claimed} \else \set claimed '5 minutes' \endif
\if :{?max_in_flight} \else \set max_in_flight '50' \endif
\if :{?max_per_hour} \else \set max_per_hour '80' \endif
\if :{?max_per_day} \else \set max_per_day '800' \endif
with entry as materialized (
    select
        s.id as sequence_id,
        s.user_id,
        st.trigger
    from sequences as s
    inner join sequence_steps as st on s.id = st.sequence_id
    where st.is_entry_point and st.trigger ~ '\S'
),

step as materialized (
    select
        s.user_id,
        st.sequence_id,
        st.id,
        st.next_trigger,
        nx.id as next_id,
        nx.day_number as next_day,
        nx.trigger as next_name,
        nx.trigger_delay_hours as next_delay
    from sequences as s
    inner join sequence_steps as st on s.id = st.sequence_id
    left join (
        select distinct on (n.sequence_id, n.trigger) n.*
        from sequence_steps as n
        where n.trigger ~ '\S'
        order by n.sequence_id, n.trigger, n.day_number, n.id
    ) as nx on st.sequence_id = nx.sequence_id and st.next_trigger = nx.trigger
    where
        s.is_active
        and s.status = any(:'active'::text [])
        and (st.content ~ '\S' or st.media_url ~ '\S')
),

device as materialized (
    select
        d.id,
        d.user_id,
        greatest(
            0,
            case
                when :'policy'::text = 'queue' then :'take'::integer
                else least(
                    :'take'::integer,
                    :'max_in_flight'::integer - flying.messages,
                    :'max_per_hour'::integer - flying.messages - hour.messages,
                    :'max_per_day'::integer - flying.messages - day.messages
                )
            end
        ) as room
    from user_devices as d
    -- Counted no further than the limit, so that a long queue costs no more than a full one.
    cross join lateral (
        select count(*)::integer as messages
        from (
            select 1
            from broadcast_messages as m
            where
                :'policy'::text <> 'queue'
                and m.device_id = d.id
                and m.status in ('pending', 'queued', 'processing')
                and (m.scheduled_at is null or m.scheduled_at <= :'now'::timestamptz)
            limit :'max_in_flight'::integer
        ) as m
    ) as flying
    cross join lateral (
        select count(*)::integer as messages
        from (
            select 1
            from broadcast_messages as m
            where
                :'policy'::text <> 'queue'
                and m.device_id = d.id
                and m.sent_at > :'now'::timestamptz - interval '60 minutes'
                and m.status not in ('pending', 'queued', 'processing', 'failed')
            limit :'max_per_hour'::integer
        ) as m
    ) as hour
    cross join lateral (
        select count(*)::integer as messages
        from (
            select 1
            from broadcast_messages as m
            where
                :'policy'::text <> 'queue'
                and m.device_id = d.id
                and m.sent_at > :'now'::timestamptz - interval '24 hours'
                and m.status not in ('pending', 'queued', 'processing', 'failed')
            limit :'max_per_day'::integer
        ) as m
    ) as day
    where d.id = any(:'devices'::uuid [])
),

-- Contacts without an assigned device are their lead's: the oldest of each device, some to spare for those
-- that somebody else has locked.
unassigned as materialized (
    select
        l.device_id,
        (array_agg(sc.id order by sc.next_trigger_time))[1 : 2 * :'take'::integer] as contact_ids
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    -- One lookup by key for each, whatever the planner expects: user and phone are unique.
    cross join lateral (
        select leads.device_id
        from leads
        where leads.user_id = s.user_id and leads.phone = sc.contact_phone
        limit 1
    ) as l
    where
        sc.assigned_device_id is null
        and sc.status = 'active'
        and sc.next_trigger_time <= :'due_by'::timestamptz
        and (:'oldest'::timestamptz = '-infinity' or sc.next_trigger_time >= :'oldest'::timestamptz)
        and (:'only'::uuid [] = '{}' or sc.id = any(:'only'::uuid []))
        and (s.user_id in (select device.user_id from device)) is true
        and l.device_id = any(:'devices'::uuid [])
        and ((s.user_id, sc.sequence_id, sc.sequence_stepid) in (
            select
                step.user_id,
                step.sequence_id,
                step.id
            from step
        )) is true
        and sc.contact_phone ~ '\S'
        and (
            sc.processing_started_at is null
            or sc.processing_started_at <= :'due_by'::timestamptz - :'claimed'::interval
        )
    group by l.device_id
),

own as materialized (
    select
        due.*,
        device.id as device_id
    from device
    cross join lateral (
        select pick.*
        from (
            select own.*
            from (
                select
                    sc.id,
                    sc.sequence_id,
                    sc.sequence_stepid,
                    sc.contact_phone,
                    sc.contact_name,
                    sc.assigned_device_id,
                    sc.next_trigger_time
                from sequence_contacts as sc
                where
                    sc.assigned_device_id = device.id
                    and sc.status = 'active'
                    and sc.next_trigger_time <= :'due_by'::timestamptz
                    and (:'oldest'::timestamptz = '-infinity' or sc.next_trigger_time >= :'oldest'::timestamptz)
                    and (:'only'::uuid [] = '{}' or sc.id = any(:'only'::uuid []))
                    and sc.contact_phone ~ '\S'
                    and (
                        sc.processing_started_at is null
                        or sc.processing_started_at <= :'due_by'::timestamptz - :'claimed'::interval
                    )
                    -- "is true" keeps this a lookup in a hash, and the scan in the order of the index.
                    and ((device.user_id, sc.sequence_id, sc.sequence_stepid) in (
                        select
                            step.user_id,
                            step.sequence_id,
                            step.id
                        from step
                    )) is true
                order by sc.next_trigger_time
                limit device.room
                for update of sc skip locked
            ) as own
            union all
            select borrowed.*
            from (
                select held.*
                from unassigned as u
                cross join unnest(u.contact_ids) as contact (id)
                cross join lateral (
                    select
                        sc.id,
                        sc.sequence_id,
                        sc.sequence_stepid,
                        sc.contact_phone,
                        sc.contact_name,
                        sc.assigned_device_id,
                        sc.next_trigger_time
                    from sequence_contacts as sc
                    where
                        sc.id = contact.id
                        -- Judged anew under the lock. "is true" keeps this out of the choice of the index.
                        and (
                            sc.assigned_device_id is null
                            and sc.status = 'active'
                            and sc.next_trigger_time <= :'due_by'::timestamptz
                            and (:'oldest'::timestamptz = '-infinity' or sc.next_trigger_time >= :'oldest'::timestamptz)
                            and sc.contact_phone ~ '\S'
                            and (
                                sc.processing_started_at is null
                                or sc.processing_started_at <= :'due_by'::timestamptz - :'claimed'::interval
                            )
                            and (device.user_id, sc.sequence_id, sc.sequence_stepid) in (
                                select
                                    step.user_id,
                                    step.sequence_id,
                                    step.id
                                from step
                            )
                        ) is true
                    limit 1
                    for update of sc skip locked
                ) as held
                where u.device_id = device.id
                limit device.room
            ) as borrowed
        ) as pick
        order by pick.next_trigger_time
        limit device.room
    ) as due
    limit :'most'::integer
),

-- Contacts of devices that are not available, on the device that takes them.
moved as materialized (
    select
        sc.id,
        sc.sequence_id,
        sc.sequence_stepid,
        sc.contact_phone,
        sc.contact_name,
        sc.assigned_device_id,
        sc.next_trigger_time,
        device.id as device_id
    from unnest(:'moved'::uuid [], :'onto'::uuid []) as m (contact_id, device_id)
    inner join device on m.device_id = device.id
    inner join sequence_contacts as sc on m.contact_id = sc.id
    where
        (
            sc.status = 'active'
            and sc.next_trigger_time <= :'due_by'::timestamptz
            and (:'oldest'::timestamptz = '-infinity' or sc.next_trigger_time >= :'oldest'::timestamptz)
            and (
                sc.processing_started_at is null
                or sc.processing_started_at <= :'due_by'::timestamptz - :'claimed'::interval
            )
            and (device.user_id, sc.sequence_id, sc.sequence_stepid) in (
                select
                    step.user_id,
                    step.sequence_id,
                    step.id
                from step
            )
        ) is true
    for update of sc skip locked
),

reassigned as (
    insert into seqdev.change (run_id, table_name, row_id, column_name, old_value, new_value, changed_at)
    select
        :'run'::uuid,
        'sequence_contacts',
        moved.id,
        'assigned_device_id',
        moved.assigned_device_id::text,
        moved.device_id::text,
        :'now'::timestamptz
    from moved
    where :'policy'::text = 'reassign'
),

claimed as materialized (
    select
        own.*,
        own.assigned_device_id as assignment,
        false as is_moved
    from own
    union all
    select
        moved.*,
        case :'policy'::text when 'reassign' then moved.device_id else moved.assigned_device_id end as assignment,
        true as is_moved
    from moved
),

decided as materialized (
    select
        c.*,
        step.user_id,
        step.next_trigger,
        step.next_id,
        step.next_day,
        step.next_name,
        step.next_delay,
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
        md5('seqdev message ' || d.id)::uuid,
        d.user_id,
        d.device_id,
        d.sequence_id,
        d.sequence_stepid,
        d.contact_phone,
        d.contact_name,
        coalesce(st.message_type, 'text'),
        coalesce(st.content, ''),
        st.media_url,
        'pending',
        :'now'::timestamptz,
        :'now'::timestamptz
    from decided as d
    inner join sequence_steps as st on d.sequence_stepid = st.id
    -- The id only: a conflict with any other key of the host's is an error, never a message lost.
    on conflict (id) do nothing
    returning id, device_id
),

next_step as (
    insert into sequence_contacts (
        id, sequence_id, contact_phone, contact_name, current_step, status, current_trigger,
        next_trigger_time, retry_count, assigned_device_id, sequence_stepid, user_id
    )
    select
        d.next_row,
        d.sequence_id,
        d.contact_phone,
        d.contact_name,
        d.next_day,
        'active',
        d.next_name,
        :'now'::timestamptz + greatest(0, coalesce(d.next_delay, 24)) * interval '1 hour',
        0,
        d.assignment,
        d.next_id,
        d.user_id
    from decided as d
    where d.next_id is not null
    -- This person and step exist already: that row is the next step's.
    on conflict (sequence_id, contact_phone, sequence_stepid) do nothing
    returning id
),

-- Whose sequence is over, and which other sequence of the user next_trigger enters, unless the person has
-- been there. Lookups in a hash or by key, never joins: where few rows are expected, those pair all with all.
outcome as materialized (
    select
        o.*,
        o.next_is in ('none', 'done') as ends
    from (
        select
            d.id,
            d.device_id,
            d.assignment,
            d.is_moved,
            d.user_id,
            d.sequence_id,
            d.contact_phone,
            d.next_trigger,
            d.next_id is not null as loops,
            case
                when d.next_id is null then 'none'
                when d.next_row in (select n.id from next_step as n) then 'new'
                else coalesce((
                    select
                        -- Behind the person already: the steps go in a circle, and end here.
                        case when x.status in ('completed', 'failed') or x.id = d.id then 'done' else 'waits' end
                    from sequence_contacts as x
                    where
                        x.sequence_id = d.sequence_id
                        and x.contact_phone = d.contact_phone
                        and x.sequence_stepid = d.next_id
                ), 'swallowed')
            end as next_is,
            coalesce(d.next_trigger ~ '\S', false) as goes_on,
            chain.known,
            chain.open
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
                and d.next_trigger ~ '\S'
                and entry.user_id = d.user_id
                and entry.trigger = d.next_trigger
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
            when o.goes_on and not o.known then 'ended: next_trigger ' || o.next_trigger || ' names no step or sequence'
            when o.goes_on and not o.open then 'ended: was in the sequence of ' || o.next_trigger || ' before'
        end
    from outcome as o
    -- By key alone: that it is active was judged under the lock.
    where sc.id = o.id
),

-- What becomes of each entry trigger in the list of each lead: the next sequence's, or nothing.
trigger_change as materialized (
    select
        o.user_id,
        o.contact_phone,
        jsonb_object_agg(
            btrim(entry.trigger), case when o.open then btrim(o.next_trigger) end
        ) as becomes
    from outcome as o
    inner join entry on o.sequence_id = entry.sequence_id
    where o.ends
    group by o.user_id, o.contact_phone
),

lead_changed as (
    update leads as l
    set
        trigger = coalesce(
            (
                select string_agg(kept.member, ',' order by kept.place)
                from (
                    select
                        coalesce(c.becomes ->> btrim(m.member), m.member) as member,
                        min(m.place) as place
                    from unnest(string_to_array(l.trigger, ',')) with ordinality as m (member, place)
                    where not c.becomes ? btrim(m.member) or c.becomes ->> btrim(m.member) is not null
                    group by coalesce(c.becomes ->> btrim(m.member), m.member)
                ) as kept
            ),
            ''
        )
    from trigger_change as c
    where
        l.user_id = c.user_id
        and l.phone = c.contact_phone
        and c.becomes ?| array(
            select btrim(m.member)
            from unnest(string_to_array(l.trigger, ',')) as m (member)
        )
    returning l.user_id, l.phone
)

select
    device.id as device_id,
    coalesce(done.claimed, 0)::integer as claimed,
    coalesce(done.moved, 0)::integer as moved,
    coalesce(sent.queued, 0)::integer as queued,
    coalesce(done.ended, 0)::integer as ended,
    coalesce(done.chained, 0)::integer as chained,
    coalesce(done.lost, 0)::integer + coalesce(unsaid.lost, 0)::integer as swallowed
from device
left join (
    select
        o.device_id,
        count(*) as claimed,
        count(*) filter (where o.is_moved) as moved,
        count(*) filter (where o.ends) as ended,
        count(*) filter (
            where o.ends and o.open and (o.user_id, o.contact_phone) in (
                select
                    l.user_id,
                    l.phone
                from lead_changed as l
            )
        ) as chained,
        count(*) filter (where o.next_is = 'swallowed') as lost
    from outcome as o
    group by o.device_id
) as done on device.id = done.device_id
left join (
    select
        m.device_id,
        count(*) as queued
    from message as m
    group by m.device_id
) as sent on device.id = sent.device_id
left join (
    select
        d.device_id,
        count(*) as lost
    from decided as d
    where
        -- Looked into only where a message is missing.
        (select count(*) from message) < (select count(*) from decided)
        and md5('seqdev message ' || d.id)::uuid not in (select m.id from message as m)
        and (
            select true
            from broadcast_messages as m
            where m.id = md5('seqdev message ' || d.id)::uuid
        ) is null
    group by d.device_id
) as unsaid on device.id = unsaid.device_id;
