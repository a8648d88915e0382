-- Claim the due contacts of locked devices on Citus: step completed, message queued, next step made or activated
--
-- Rows of several shards cannot be locked and passed over. So who is due is found first, and then that very row is
-- updated, if it still is as it was found: one that somebody else has changed meanwhile is left to the next batch, and one
-- that is locked is waited for. What was updated, and nothing else, gets its message and its next step, in one
-- transaction: what changes rows runs in the order in which it stands here. The ids of the message and of the next
-- step's row are functions of the row's id: what a failover loses comes back with the same.
--
-- Of the devices' own contacts no row travels there and back: of each device only the last that it claims is known here.
-- Each shard queues the messages of its rows up to that one, then completes the rows that these messages are of, then makes
-- their next steps. Where these are not as many as they were to be (somebody else has taken one, or has made one due,
-- meanwhile; a failover has left one's message and not its row), that counts as swallowed: all is undone, and tried for
-- the same contacts by their ids. "listed" are those who go by their ids: given ones, those with a claim that another
-- processor left behind, and all where the rule spread gives each an instant of its own.
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

given as (
    select g.*
    from unnest(:'contacts'::uuid [], :'onto'::uuid []) as g (contact_id, device_id)
),

-- Who is due, as far as it makes the order; who is listed, with the phone.
own as materialized (
    select
        sc.id,
        sc.next_trigger_time,
        device.id as device_id,
        case when sc.processing_started_at is not null or :'paces'::jsonb <> '{}' then sc.contact_phone end as contact_phone,
        case when :'priorities'::jsonb = '{}' then 0 else -coalesce((:'priorities'::jsonb ->> sc.sequence_id::text)::integer, 0) end as turn
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

-- Those of them who go by their ids.
own_listed as (
    select
        o.id,
        o.device_id,
        o.contact_phone
    from (
        select
            own.*,
            row_number() over (partition by own.device_id order by own.turn, own.next_trigger_time, own.id) as place
        from own
        where own.contact_phone is not null
    ) as o
    inner join device on o.device_id = device.id
    where o.place <= device.room
),

by_id as (
    select
        given.contact_id,
        given.device_id,
        null as contact_phone
    from given
    union all
    select
        o.id,
        o.device_id,
        o.contact_phone
    from own_listed as o
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
        case when :'priorities'::jsonb = '{}' then 0 else -coalesce((:'priorities'::jsonb ->> sc.sequence_id::text)::integer, 0) end as turn
    from sequence_contacts as sc
    inner join by_id on sc.id = by_id.contact_id
    inner join device on by_id.device_id = device.id
    where
        -- Who was assigned to the device since is among its own.
        case
            when by_id.contact_phone is not null then (by_id.contact_phone, by_id.device_id) = (sc.contact_phone, sc.assigned_device_id)
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

-- What a device may still take, the oldest first: who is listed, and of the others the last.
picked as materialized (
    select
        p.id,
        p.device_id,
        p.turn,
        p.next_trigger_time,
        p.place,
        p.is_listed,
        p.latest,
        p.contacts
    from (
        select
            within.*,
            max(within.place) filter (where not within.is_listed) over (partition by within.device_id) as last_place,
            max(within.next_trigger_time) filter (where not within.is_listed) over (partition by within.device_id) as latest,
            count(*) filter (where not within.is_listed) over (partition by within.device_id) as contacts
        from (
            select placed.*
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
                        own.next_trigger_time,
                        own.device_id,
                        own.turn,
                        false as is_listed
                    from own
                    where own.contact_phone is null
                    union all
                    select
                        b.id,
                        b.next_trigger_time,
                        b.device_id,
                        b.turn,
                        true
                    from besides as b
                ) as both_kinds
            ) as placed
            inner join device on placed.device_id = device.id
            where placed.place <= device.room
            order by placed.place, placed.next_trigger_time, placed.id
            limit :'most'::integer
        ) as within
    ) as p
    where p.is_listed or p.place = p.last_place
),

listed as materialized (
    select
        b.*,
        case
            when :'paces'::jsonb = '{}' then :'now'::timestamptz
            -- Where the rule spread lays them out: as in tick/claim.sql.
            else greatest(
                :'now'::timestamptz,
                (:'paces'::jsonb -> picked.device_id::text ->> 'at')::timestamptz
                + interval '1 second' * (:'paces'::jsonb -> picked.device_id::text ->> 'gap')::float8
                * (
                    picked.place - 1.25
                    + ('x' || left(md5('seqdev message ' || picked.id)::uuid::text, 8))::bit(32)::bigint / 8589934592.0
                )
            )
        end as scheduled_at
    from picked
    inner join besides as b on picked.id = b.id
    where picked.is_listed
),

cut as materialized (
    select
        device.id,
        device.user_id,
        picked.turn,
        picked.next_trigger_time,
        picked.id as contact_id,
        picked.latest,
        picked.contacts
    from picked
    inner join device on picked.device_id = device.id
    where not picked.is_listed
),

message as (
    insert into broadcast_messages (
        id, user_id, device_id, sequence_id, sequence_stepid, recipient_phone, recipient_name,
        message_type, content, media_url, status, scheduled_at, created_at
    )
    -- No text is null: as in tick/claim.sql.
    select
        md5('seqdev message ' || sc.id::text)::uuid,
        device.user_id,
        device.id,
        sc.sequence_id,
        sc.sequence_stepid,
        sc.contact_phone,
        coalesce(sc.contact_name, ''),
        coalesce(substring(st.message_type from '\S+'), 'text'),
        coalesce(st.content, ''),
        coalesce(st.media_url, ''),
        'pending',
        :'now'::timestamptz,
        :'now'::timestamptz
    from sequence_contacts as sc
    inner join cut as device on sc.assigned_device_id = device.id
    inner join sequence_steps as st on sc.sequence_stepid = st.id
    where
        sc.next_trigger_time <= device.latest
        and (case when :'priorities'::jsonb = '{}' then 0 else -coalesce((:'priorities'::jsonb ->> sc.sequence_id::text)::integer, 0) end, sc.next_trigger_time, sc.id)
        <= (device.turn, device.next_trigger_time, device.contact_id)
        and sc.processing_started_at is null
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
    on conflict (recipient_phone, id) do nothing
    returning device_id
),

-- Each step by its id: a lookup, and never a join. Of rows that it has not seen yet the planner expects one.
by_step as (
    select
        jsonb_object_agg(
            step.id,
            jsonb_build_object(
                'user_id', step.user_id,
                'sequence_id', step.sequence_id,
                'next_trigger', step.next_trigger,
                'next_id', step.next_id,
                'next_day', step.next_day,
                'next_hours', step.next_hours,
                'enters', step.enters
            )
        ) as step
    from step
)

select
    set_config(
        'seqdev.claim',
        jsonb_build_object(
            'step', coalesce((select by_step.step from by_step), '{}'),
            'cut', coalesce((select jsonb_object_agg(cut.id, cut.contacts) from cut), '{}'),
            'listed', coalesce((select jsonb_agg(to_jsonb(listed)) from listed), '[]'),
            'queued',
            coalesce((
                select jsonb_object_agg(of_device.device_id, of_device.contacts)
                from (
                    select
                        message.device_id,
                        count(*) as contacts
                    from message
                    group by message.device_id
                ) as of_device
            ), '{}')
        )::text,
        true
    ) is not null as is_kept;

-- A statement of its own: where a shard is on the coordinator, it sees only what earlier statements have changed.
with entry as (
    select s.*
    from unnest(:'step_users'::uuid [], :'step_sequences'::uuid [], :'entry_triggers'::text [])
        as s (user_id, sequence_id, trigger)
    where s.trigger is not null
),

claim as materialized (
    select current_setting('seqdev.claim')::jsonb as told
),

by_step as materialized (
    select claim.told -> 'step' as step
    from claim
),

listed as materialized (
    select
        typed.id,
        typed.contact_phone,
        typed.sequence_id,
        typed.sequence_stepid,
        typed.assigned_device_id,
        typed.next_trigger_time,
        typed.processing_device_id,
        typed.processing_started_at,
        (c.one ->> 'is_sent')::boolean as is_sent,
        (c.one ->> 'device_id')::uuid as device_id,
        (c.one ->> 'scheduled_at')::timestamptz as scheduled_at
    from claim
    cross join jsonb_array_elements(claim.told -> 'listed') as c (one)
    cross join jsonb_populate_record(null::sequence_contacts, c.one) as typed
),

-- As the host's columns have them: values of another type are not compared with them in an update.
instant as materialized (
    select
        message.created_at as now,
        earliest.next_trigger_time as oldest,
        latest.next_trigger_time as due_by
    from jsonb_populate_record(
        null::broadcast_messages, jsonb_build_object('created_at', :'now'::timestamptz)
    ) as message
    cross join jsonb_populate_record(
        null::sequence_contacts, jsonb_build_object('next_trigger_time', :'oldest'::timestamptz)
    ) as earliest
    cross join jsonb_populate_record(
        null::sequence_contacts, jsonb_build_object('next_trigger_time', :'due_by'::timestamptz)
    ) as latest
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
            when d.step ->> 'next_id' is not null then 'ended: the next step was done before'
            when d.step ->> 'next_trigger' is null then null
            when d.step ->> 'enters' = '[]' then 'ended: next_trigger ' || (d.step ->> 'next_trigger') || ' names no step or sequence'
            when not d.open then 'ended: was in the sequence of ' || (d.step ->> 'next_trigger') || ' before'
        end
    from (
        select
            e.*,
            -- Of most, no more is needed: their messages are queued, and their shards know the rest.
            case
                when not e.is_made or e.next_is not in ('new', 'there') then jsonb_object(
                    '{id, sequence_id, sequence_stepid, contact_phone, contact_name, device_id, is_sent, user_id, next_trigger,
                    next_id, next_day, next_hours, there_id, there_assigned, assigned, assignment, open}',
                    array[
                        e.id::text, e.sequence_id::text, e.sequence_stepid::text, e.contact_phone::text, e.contact_name::text,
                        e.device_id::text, e.is_sent::text, e.step ->> 'user_id', e.step ->> 'next_trigger', e.step ->> 'next_id',
                        e.step ->> 'next_day', e.step ->> 'next_hours', e.there_id::text, e.there_assigned::text, e.assigned::text,
                        e.assignment::text, e.open::text
                    ]
                )
            end as told
        from (
            select
                c.*,
                there.id as there_id,
                there.assigned_device_id as there_assigned,
                there.next_trigger_time as there_due,
                case
                    when :'moves'::boolean and :'reassigns'::boolean then c.device_id
                    else c.assigned
                end as assignment,
                case
                    when c.step ->> 'next_id' is null then 'none'
                    when there.id is null then 'new'
                    -- Behind the person already: the steps go in a circle, and end here.
                    when there.sequence_stepid = c.sequence_stepid or there.status = any(:'done'::text []) then 'done'
                    when there.status = any(:'waiting'::text []) then 'waits'
                    else 'there'
                end as next_is,
                case
                    when c.step ->> 'next_id' is null then (
                        select count(distinct x.sequence_id)
                        from sequence_contacts as x
                        where x.contact_phone = c.contact_phone and c.step -> 'enters' ? x.sequence_id::text
                    ) < jsonb_array_length(c.step -> 'enters')
                    else false
                end as open
            from (
                select
                    found.id,
                    null::uuid as message_id,
                    found.contact_phone,
                    found.contact_name,
                    c.sequence_id,
                    c.sequence_stepid,
                    c.assigned_device_id as assigned,
                    c.next_trigger_time as earliest,
                    c.next_trigger_time as latest,
                    c.processing_device_id,
                    c.processing_started_at,
                    c.device_id,
                    c.scheduled_at,
                    c.is_sent,
                    false as is_made,
                    (select by_step.step from by_step) -> c.sequence_stepid::text as step
                from sequence_contacts as found
                inner join listed as c on found.contact_phone = c.contact_phone and found.id = c.id
                union all
                -- By their messages, which are an index away, and few however many there have been.
                select
                    null,
                    m.id,
                    m.recipient_phone,
                    null,
                    m.sequence_id,
                    m.sequence_stepid,
                    m.device_id as assigned,
                    (select instant.oldest from instant),
                    (select instant.due_by from instant),
                    null,
                    null,
                    m.device_id,
                    null,
                    false,
                    true,
                    (select by_step.step from by_step) -> m.sequence_stepid::text
                from broadcast_messages as m
                where m.created_at = (select instant.now from instant)
            ) as c
            left join sequence_contacts as there
                on
                    c.contact_phone = there.contact_phone
                    and c.sequence_id = there.sequence_id
                    and (c.step ->> 'next_id')::uuid = there.sequence_stepid
        ) as e
    ) as d
    where
        sc.contact_phone = d.contact_phone
        and sc.sequence_id = d.sequence_id
        and sc.sequence_stepid = d.sequence_stepid
        -- As it was found: what another session has done meanwhile counts.
        and sc.status = 'active'
        and sc.next_trigger_time between d.earliest and d.latest
        and sc.assigned_device_id is not distinct from d.assigned
        and sc.processing_started_at is not distinct from d.processing_started_at
        and case
            when d.is_made then
                md5('seqdev message ' || sc.id::text)::uuid = d.message_id
                and (sc.processing_device_id is null or sc.completed_at is not null)
            else sc.id = d.id and sc.processing_device_id is not distinct from d.processing_device_id
        end
    returning
        d.next_is,
        d.is_made,
        d.device_id,
        d.told,
        d.scheduled_at,
        case when d.next_is = 'waits' then d.there_due end as there_due
),

finished as materialized (
    select
        c.next_is,
        c.is_made,
        c.scheduled_at,
        c.there_due,
        d.*
    from completed as c
    cross join lateral jsonb_to_record(c.told) as d (
        id uuid, sequence_id uuid, sequence_stepid uuid, contact_phone text, contact_name text, device_id uuid,
        is_sent boolean, user_id uuid, next_trigger text, next_id uuid, next_day integer,
        next_hours numeric, there_id uuid, there_assigned uuid, assigned uuid, assignment uuid, open boolean
    )
    where c.told is not null
),

listed_message as (
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
    from finished as d
    inner join sequence_steps as st on d.sequence_stepid = st.id
    where not d.is_made and not d.is_sent
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
        from finished as d
        union all
        select
            d.there_id,
            d.there_assigned,
            coalesce(d.assignment, d.there_assigned)
        from finished as d
        where d.next_is = 'waits'
    ) as r
    where r.old is distinct from r.new
),

listed_next_step as (
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
    from finished as d
    where not d.is_made and d.next_is = 'new'
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
    from finished as d
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
    from finished as o
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
    from finished as d
    where
        not d.is_made
        and not d.is_sent
        and (select count(*) from listed_message)
        < (select count(*) from finished as c where not c.is_made and not c.is_sent)
),

sent_before as materialized (
    select count(distinct d.id) as contacts
    from short as d
    inner join broadcast_messages as m on d.contact_phone = m.recipient_phone
    where m.id = md5('seqdev message ' || d.id)::uuid
),

done as (
    select
        d.device_id,
        count(*) filter (where not d.is_made) as others,
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
    from finished as d
    group by d.device_id
),

sent as (
    select
        m.device_id,
        count(*) as queued
    from listed_message as m
    group by m.device_id
),

of_device as (
    select
        d.device_id,
        count(*) filter (where d.next_is = 'new') as next_steps,
        count(*) filter (where d.next_is = 'waits') as activated,
        count(*) filter (where d.is_made) as made
    from completed as d
    group by d.device_id
),

wanted as materialized (
    select
        coalesce(sum(of_device.next_steps), 0) as next_steps,
        coalesce(sum(of_device.activated), 0) as activated,
        coalesce(jsonb_object_agg(of_device.device_id, of_device.made) filter (where of_device.made > 0), '{}') as made
    from of_device
)

select
    set_config(
        'seqdev.claimed',
        jsonb_build_object(
            'done', coalesce((select jsonb_object_agg(done.device_id, to_jsonb(done)) from done), '{}'),
            'queued', coalesce((select jsonb_object_agg(sent.device_id, sent.queued) from sent), '{}'),
            -- For the next statement to make.
            'next_steps', wanted.next_steps - (select count(*) from listed_next_step),
            'swallowed',
            abs(wanted.activated - (select count(*) from activated))
            + abs((select count(*) from short) - sent_before.contacts)
            -- Of each device as many as it was to claim, each with its message: else another session has come between.
            + case when claim.told -> 'cut' = claim.told -> 'queued' and claim.told -> 'queued' = wanted.made then 0 else 1 end
        )::text,
        true
    ) is not null as is_kept
from wanted
cross join claim
cross join sent_before;

with claim as materialized (
    select current_setting('seqdev.claim')::jsonb as told
),

by_step as materialized (
    select claim.told -> 'step' as step
    from claim
),

-- As the host's column has it: a value of another type is not compared with it in an update.
instant as materialized (
    select typed.created_at as now
    from jsonb_populate_record(
        null::broadcast_messages, jsonb_build_object('created_at', :'now'::timestamptz)
    ) as typed
),

-- After the rows are completed, and not before: as in tick/claim.sql. They are found by their messages.
next_step as (
    insert into sequence_contacts (
        id, sequence_id, contact_phone, contact_name, current_step, status, current_trigger,
        next_trigger_time, retry_count, assigned_device_id, sequence_stepid, user_id
    )
    select
        md5('seqdev contact ' || sc.id::text || ' ' || (by_step.step -> sc.sequence_stepid::text ->> 'next_id'))::uuid,
        sc.sequence_id,
        sc.contact_phone,
        sc.contact_name,
        (by_step.step -> sc.sequence_stepid::text ->> 'next_day')::integer,
        'active',
        by_step.step -> sc.sequence_stepid::text ->> 'next_trigger',
        :'now'::timestamptz + (by_step.step -> sc.sequence_stepid::text ->> 'next_hours')::numeric * interval '1 hour',
        0,
        sc.assigned_device_id,
        (by_step.step -> sc.sequence_stepid::text ->> 'next_id')::uuid,
        m.user_id
    from broadcast_messages as m
    inner join sequence_contacts as sc
        on
            m.recipient_phone = sc.contact_phone
            and m.sequence_id = sc.sequence_id
            and m.sequence_stepid = sc.sequence_stepid
    cross join by_step
    where
        m.created_at = (select instant.now from instant)
        -- Not a condition of the join: for that it would be made of every row that there is.
        and case when sc.status = 'completed' then m.id = md5('seqdev message ' || sc.id::text)::uuid else false end
        and by_step.step -> sc.sequence_stepid::text ->> 'next_id' is not null
    -- This person and step exist already: that row is the next step's.
    on conflict (sequence_id, contact_phone, sequence_stepid) do nothing
    returning current_step
),

earlier as materialized (
    select current_setting('seqdev.claimed')::jsonb as told
),

device as materialized (
    select d.id
    from unnest(:'devices'::uuid [], :'device_reasons'::text []) as d (id, reason)
    where coalesce(d.reason is null, false)
)

select
    device.id as device_id,
    (coalesce(made.contacts, 0) + coalesce(done.others, 0))::integer as claimed,
    case when :'moves'::boolean then coalesce(done.others, 0) else 0 end::integer as moved,
    (coalesce(made.contacts, 0) + coalesce((earlier.told -> 'queued' ->> device.id::text)::integer, 0)) as queued,
    coalesce(done.ended, 0) as ended,
    coalesce(done.chained, 0) as chained,
    (
        (earlier.told ->> 'swallowed')::bigint
        + abs((earlier.told ->> 'next_steps')::bigint - (select count(*) from next_step))
    )::integer as swallowed
from device
cross join claim
cross join earlier
cross join lateral (select (claim.told -> 'queued' ->> device.id::text)::integer as contacts) as made
cross join lateral jsonb_to_record(coalesce(earlier.told -> 'done' -> device.id::text, '{}'))
    as done (others integer, ended integer, chained integer);
