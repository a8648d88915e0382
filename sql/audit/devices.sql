-- Devices: who is assigned to them, what waits for them, what they send, and which of them are in trouble
--
-- The number of assigned people is of all rows, past ones too: it reads the whole table of contacts. All the
-- rest goes by index from the device to its work.
--
-- A device is in trouble when it is the first of:
--   gone               it does not come back, but has leads, steps to come, or messages that no sender has begun
--   paused             seqdev pause --device: who is due for it waits
--   zombie             online, yet a message waits for more than 15 minutes and none has left in that time
--   offline_with_work  not online, and something is due, or a message waits that no sender has begun
--   out_of_service     device_load_balance says not available, and something waits for it
--   restricted         its messages fail with an error that says that it may open no new chats: restricted_errors
--   full               no room for another message, and something is due
--   begun_only         not online, and nothing waits for it but messages that its sender has begun
--
-- Parameters:
--   now       timestamptz  the instant of the transaction
--   user      uuid         only devices of this user
--   sequence  uuid         only people of this sequence, and the devices that have any
--   device    uuid         only this device
--   waiting   text[]       values of sequence_contacts.status: a later step's row, made beforehand
--   failed    text[]       values of broadcast_messages.status of a message that will never be sent
--   limit     integer      rows to return; empty: all
-- Gates: gates/steps.sql, gates/devices.sql under strict of these devices, all their messages counted
-- Row:
--   device             text         its name
--   device_id          uuid         the device
--   status             text         as the host has it
--   availability       text         Available, Not Available or Gone, by its status
--   assigned_contacts  integer      people assigned to it, ever
--   trouble            text         what is wrong with it; null: nothing
--   due                integer      contacts due now
--   in_flight          integer      messages pending, queued or processing
--   sent_hour          integer      messages sent in the last 60 minutes
--   sent_day           integer      messages sent in the last 24 hours
--   room               integer      messages that it may still take under its limits
--   new_room           integer      people it has never written to whom it may still write to; null: any number
--   oldest_due         timestamptz  since when the first of them is due
--   drain              interval     until all of that is sent, at the pace of the last hour; null: it stands
--   last_seen          timestamptz  as the host has it
--   pause              text         that it is paused, until when, and why; null: it is not
--   user_id            uuid         whose it is
--   repair             text         what to do about it
--   total              integer      rows in all, listed or not
--   found              jsonb        devices in trouble by kind: number, severity, repair
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?limit} \else \set limit '20' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'all' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with kind (kind, severity, repair) as (
    values
        ('gone', 1, 'move its people: seqdev repair device DEVICE --spread --queue'),
        ('paused', 3, 'nothing, if it is meant; to go on: seqdev resume --device DEVICE'),
        ('zombie', 1, 'look at the phone; if it is lost: seqdev repair device DEVICE --spread'),
        ('offline_with_work', 1, 'bring it back; if it is lost: seqdev repair device DEVICE --spread --queue'),
        ('out_of_service', 2, 'put it back into service, or: seqdev repair device DEVICE --spread'),
        ('restricted', 2, 'let it rest for a day: people it knows go on; for others: seqdev repair device DEVICE --spread --max N'),
        ('full', 2, 'wait, or share its work: seqdev repair device DEVICE --spread --max N'),
        ('begun_only', 3, 'ask its sender whether these were sent: nobody else knows')
),

assigned as materialized (
    select
        person.assigned_device_id as device_id,
        count(*)::integer as contacts,
        bool_or(person.waits) as has_people
    from (
        select
            sc.assigned_device_id,
            sc.contact_phone,
            bool_or(sc.status = 'active' or sc.status = any(:'waiting'::text [])) as waits
        from sequence_contacts as sc
        where
            (nullif(:'sequence', '')::uuid is null or sc.sequence_id = nullif(:'sequence', '')::uuid)
            and (nullif(:'device', '')::uuid is null or sc.assigned_device_id = nullif(:'device', '')::uuid)
        group by sc.assigned_device_id, sc.contact_phone
    ) as person
    group by person.assigned_device_id
),

due as materialized (
    select
        r.device_id,
        count(*)::integer as contacts,
        min(r.next_trigger_time) filter (where isfinite(r.next_trigger_time))::timestamptz as oldest
    from (
        select
            sc.contact_phone,
            sc.assigned_device_id as device_id,
            sc.next_trigger_time
        from sequence_contacts as sc
        where
            sc.status = 'active'
            and sc.assigned_device_id in (select device.id from user_devices as device)
            and sc.next_trigger_time <= :'now'::timestamptz
            and sc.sequence_id = any(:'active_sequences'::uuid [])
            and (nullif(:'sequence', '')::uuid is null or sc.sequence_id = nullif(:'sequence', '')::uuid)
        union all
        -- Contacts without an assigned device are their lead's.
        select
            sc.contact_phone,
            l.device_id,
            sc.next_trigger_time
        from sequence_contacts as sc
        inner join sequences as s on sc.sequence_id = s.id
        inner join leads as l on s.user_id = l.user_id and sc.contact_phone = l.phone
        where
            sc.status = 'active'
            and sc.assigned_device_id is null
            and sc.next_trigger_time <= :'now'::timestamptz
            and sc.sequence_id = any(:'active_sequences'::uuid [])
            and (nullif(:'sequence', '')::uuid is null or sc.sequence_id = nullif(:'sequence', '')::uuid)
    ) as r
    group by r.device_id
),

device as materialized (
    select
        d.*,
        g.is_online,
        g.is_gone,
        g.out_of_service,
        g.room,
        g.new_room,
        g.new_reason,
        g.in_flight,
        g.an_hour,
        g.a_day,
        g.pause,
        -- The one column here that an installation may lack.
        (to_jsonb(d) ->> 'last_seen')::timestamptz as seen,
        coalesce(assigned.contacts, 0) as assigned_contacts,
        coalesce(assigned.has_people, false) as has_people,
        coalesce(due.contacts, 0) as due,
        due.oldest as oldest_due
    from unnest(
        :'devices'::uuid [], :'is_online'::boolean [], :'is_gone'::boolean [], :'out_of_service'::boolean [],
        :'device_rooms'::integer [], :'in_flight'::integer [], :'sent_in_hour'::integer [], :'sent_in_day'::integer [],
        :'new_rooms'::integer [], :'new_reasons'::text [], :'device_pauses'::text []
    ) as g (
        id, is_online, is_gone, out_of_service, room, in_flight, an_hour, a_day, new_room, new_reason, pause
    )
    inner join user_devices as d on g.id = d.id
    left join assigned on d.id = assigned.device_id
    left join due on d.id = due.device_id
    where
        (nullif(:'user', '')::uuid is null or d.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'device', '')::uuid is null or d.id = nullif(:'device', '')::uuid)
        and (nullif(:'sequence', '')::uuid is null or assigned.device_id is not null)
),

-- What is in the queue of devices that may be in trouble: whether it waits, and since 15 minutes.
queue as materialized (
    select
        m.device_id,
        bool_or(m.status = 'pending') as is_pending,
        bool_or(coalesce(m.scheduled_at, m.created_at) <= :'now'::timestamptz - interval '15 minutes') as is_late
    from broadcast_messages as m
    where
        m.status in ('pending', 'queued', 'processing')
        and m.device_id in (
            select d.id
            from device as d
            where not d.is_online or d.in_flight > 0
        )
    group by m.device_id
),

sending as materialized (
    select distinct m.device_id
    from broadcast_messages as m
    where
        m.sent_at > :'now'::timestamptz - interval '15 minutes'
        and m.status not in ('pending', 'queued', 'processing', 'failed')
        and m.status <> all(:'failed'::text [])
        and m.device_id in (
            select d.id
            from device as d
            where d.is_online and d.in_flight > 0
        )
),

owner as materialized (
    select distinct l.device_id
    from leads as l
    where
        l.device_id in (
            select d.id
            from device as d
            where d.is_gone
        )
),

finding as materialized (
    select
        d.*,
        case
            when
                d.is_gone and (d.has_people or d.due > 0 or owner.device_id is not null or coalesce(queue.is_pending, false))
                then 'gone'
            when d.pause is not null then 'paused'
            when d.is_online and d.in_flight > 0 and queue.is_late and sending.device_id is null then 'zombie'
            when
                not d.is_online and (d.due > 0 or coalesce(queue.is_pending, false)) and not d.is_gone
                then 'offline_with_work'
            when d.out_of_service and d.due + d.in_flight > 0 then 'out_of_service'
            when d.is_online and d.new_reason = 'device_restricted' then 'restricted'
            when d.room = 0 and d.due > 0 then 'full'
            when not d.is_online and d.in_flight > 0 then 'begun_only'
        end as kind
    from device as d
    left join queue on d.id = queue.device_id
    left join sending on d.id = sending.device_id
    left join owner on d.id = owner.device_id
),

-- tally: as in audit/contacts.sql
tally as (
    select
        coalesce(sum(t.number), 0)::integer as total,
        coalesce(
            jsonb_object_agg(
                t.kind, jsonb_build_object('found', t.number, 'severity', kind.severity, 'repair', kind.repair)
            ) filter (where t.kind is not null),
            '{}'
        ) as found
    from (
        select
            finding.kind,
            count(*) as number
        from finding
        group by finding.kind
    ) as t
    left join kind on t.kind = kind.kind
)

select
    coalesce(f.device_name, '')::text as device,
    f.id as device_id,
    f.status::text as status,
    case when f.is_online then 'Available' when f.is_gone then 'Gone' else 'Not Available' end as availability,
    f.assigned_contacts,
    f.kind as trouble,
    f.due,
    f.in_flight,
    f.an_hour as sent_hour,
    f.a_day as sent_day,
    f.room,
    f.new_room,
    f.oldest_due,
    case
        when f.an_hour > 0 and f.is_online and coalesce(f.kind, '') <> 'zombie'
            then (f.due + f.in_flight) * interval '1 hour' / f.an_hour
    end as drain,
    case when isfinite(f.seen) then f.seen end as last_seen,
    f.pause,
    f.user_id,
    replace(kind.repair, 'DEVICE', f.id::text) as repair,
    tally.total,
    tally.found
from finding as f
cross join tally
left join kind on f.kind = kind.kind
order by kind.severity nulls last, f.assigned_contacts desc, f.device_name, f.id
limit nullif(:'limit', '')::integer;
