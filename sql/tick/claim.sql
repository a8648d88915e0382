-- Claim the due contacts of locked devices: message queued, step completed, next step made, in one go
--
-- Each due row is locked and itself updated, so that nobody can claim it twice; rows that somebody else
-- has locked are passed over. The message's id is a function of the row's id, and so is the id of the row
-- of the next step: what a failover loses comes back with the same ids.
--
-- Parameters:
--   now            timestamptz  the instant of the transaction
--   due_by         timestamptz  contacts are due that are due by then: the instant the run began
--   policy         text         device policy: queue or strict
--   devices        uuid[]       devices that this transaction has locked
--   take           integer      contacts to claim for one device, at most
--   most           integer      contacts to claim in all, at most
--   active         text[]       values of sequences.status that count as active
--   claimed        interval     how long the claim of another processor is respected
--   max_in_flight  integer      messages of a device in flight (not under queue)
--   max_per_hour   integer      messages of a device sent in 60 minutes, plus those in flight
--   max_per_day    integer      messages of a device sent in 24 hours, plus those in flight
-- Row:
--   device_id      uuid     a device that was asked for
--   claimed        integer  contacts claimed for it
--   queued         integer  messages queued; less than claimed where a message existed already
--   ended          integer  contacts whose sequence is over
--   chained        integer  of these: the lead's trigger list names the next sequence now
-- Locks: the claimed rows, and the leads whose sequence is over
\if :{?now} \else \set now 'now' \endif
\if :{?due_by} \else \set due_by 'now' \endif
\if :{?policy} \else \set policy 'queue' \endif
\if :{?devices} \else \set devices '{}' \endif
\if :{?take} \else \set take '100' \endif
\if :{?most} \else \set most '10000' \endif
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
        st.message_type,
        st.content,
        st.media_url,
        st.next_trigger,
        nx.id as next_id,
        nx.day_number as next_day,
        nx.trigger as next_name,
        nx.trigger_delay_hours as next_delay
    from sequences as s
    inner join sequence_steps as st on s.id = st.sequence_id
    left join lateral (
        select n.*
        from sequence_steps as n
        where n.sequence_id = st.sequence_id and n.trigger = st.next_trigger and st.next_trigger ~ '\S'
        order by n.day_number, n.id
        limit 1
    ) as nx on true
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

-- Contacts without an assigned device are their lead's.
unassigned as materialized (
    select
        sc.id,
        l.device_id
    from sequence_contacts as sc
    inner join step on sc.sequence_stepid = step.id and sc.sequence_id = step.sequence_id
    inner join leads as l on step.user_id = l.user_id and sc.contact_phone = l.phone
    where
        sc.assigned_device_id is null
        and sc.status = 'active'
        and sc.next_trigger_time <= :'due_by'::timestamptz
        and l.device_id = any(:'devices'::uuid [])
),

claimed as materialized (
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
                select
                    sc.id,
                    sc.sequence_id,
                    sc.sequence_stepid,
                    sc.contact_phone,
                    sc.contact_name,
                    sc.assigned_device_id,
                    sc.next_trigger_time
                from unassigned as u
                inner join sequence_contacts as sc on u.id = sc.id
                where
                    u.device_id = device.id
                    and sc.assigned_device_id is null
                    and sc.status = 'active'
                    and sc.next_trigger_time <= :'due_by'::timestamptz
                    and sc.contact_phone ~ '\S'
                    and (
                        sc.processing_started_at is null
                        or sc.processing_started_at <= :'due_by'::timestamptz - :'claimed'::interval
                    )
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
            ) as borrowed
        ) as pick
        order by pick.next_trigger_time
        limit device.room
    ) as due
    limit :'most'::integer
),

decided as materialized (
    select
        c.id,
        c.device_id,
        c.sequence_id,
        c.sequence_stepid,
        c.contact_phone,
        c.contact_name,
        c.assigned_device_id,
        step.user_id,
        step.message_type,
        step.content,
        step.media_url,
        step.next_trigger,
        step.next_id,
        step.next_day,
        step.next_name,
        step.next_delay,
        step.next_id is null or coalesce(after.done, false) as ends,
        step.next_id is not null and coalesce(after.done, false) as loops
    from claimed as c
    inner join step on c.sequence_stepid = step.id
    -- A next step that the person has behind them already: the steps go in a circle, and end here.
    left join lateral (
        select x.id <> c.id and x.status in ('completed', 'failed') or x.id = c.id as done
        from sequence_contacts as x
        where
            x.sequence_id = c.sequence_id
            and x.contact_phone = c.contact_phone
            and x.sequence_stepid = step.next_id
    ) as after on true
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
        coalesce(d.message_type, 'text'),
        coalesce(d.content, ''),
        d.media_url,
        'pending',
        :'now'::timestamptz,
        :'now'::timestamptz
    from decided as d
    -- The id only: a conflict with any other key of the host's is an error, never a message lost.
    on conflict (id) do nothing
    returning device_id
),

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
        d.next_name,
        :'now'::timestamptz + greatest(0, coalesce(d.next_delay, 24)) * interval '1 hour',
        0,
        d.assigned_device_id,
        d.next_id,
        d.user_id
    from decided as d
    where d.next_id is not null
    -- This person and step exist already: that row is the next step's.
    on conflict (sequence_id, contact_phone, sequence_stepid) do nothing
),

-- Another sequence of the user that next_trigger enters, unless the person has been there.
ending as materialized (
    select
        d.id,
        d.device_id,
        d.user_id,
        d.contact_phone,
        d.sequence_id,
        d.next_trigger,
        d.loops,
        coalesce(d.next_trigger ~ '\S', false) as goes_on,
        chain.known,
        chain.open
    from decided as d
    left join lateral (
        select
            count(*) > 0 as known,
            coalesce(bool_or(not exists (
                select 1
                from sequence_contacts as x
                where x.sequence_id = entry.sequence_id and x.contact_phone = d.contact_phone
            )), false) as open
        from entry
        where
            entry.user_id = d.user_id
            and entry.trigger = d.next_trigger
            and entry.sequence_id <> d.sequence_id
    ) as chain on d.next_id is null
    where d.ends
),

completed as (
    update sequence_contacts as sc
    set
        status = 'completed',
        completed_at = :'now'::timestamptz,
        -- Kept, so that a processor that looks for rows without a device does not find this one.
        processing_device_id = d.device_id,
        processing_started_at = null,
        last_error = case
            when e.loops then 'ended: the next step was done before'
            when e.goes_on and not e.known then 'ended: next_trigger ' || e.next_trigger || ' names no step or sequence'
            when e.goes_on and not e.open then 'ended: was in the sequence of ' || e.next_trigger || ' before'
        end
    from decided as d
    left join ending as e on d.id = e.id
    where sc.id = d.id and sc.status = 'active'
),

-- What becomes of each entry trigger in the list of each lead: the next sequence's, or nothing.
trigger_change as materialized (
    select
        e.user_id,
        e.contact_phone,
        jsonb_object_agg(
            btrim(entry.trigger), case when e.open then btrim(e.next_trigger) end
        ) as becomes
    from ending as e
    inner join entry on e.sequence_id = entry.sequence_id
    group by e.user_id, e.contact_phone
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
    coalesce(sent.queued, 0)::integer as queued,
    coalesce(over.ended, 0)::integer as ended,
    coalesce(over.chained, 0)::integer as chained
from device
left join (
    select
        d.device_id,
        count(*) as claimed
    from decided as d
    group by d.device_id
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
        e.device_id,
        count(*) as ended,
        count(l.phone) filter (where e.open) as chained
    from ending as e
    left join lead_changed as l on e.user_id = l.user_id and e.contact_phone = l.phone
    group by e.device_id
) as over on device.id = over.device_id;
