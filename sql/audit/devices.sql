-- Devices: who is assigned to them, what waits for them, what they send, and which of them are in trouble
--
-- The number of assigned people is of all rows, past ones too: it reads the whole table of contacts. All the
-- rest goes by index from the device to its work.
--
-- A device is in trouble when it is the first of:
--   zombie             online, yet a message waits for more than 15 minutes and none has left in that time
--   offline_with_work  not online, and something waits for it
--   out_of_service     device_load_balance says not available, and something waits for it
--   full               no room for another message, and something is due
--
-- Parameters:
--   now            timestamptz  the instant of the transaction
--   user           uuid         only devices of this user
--   sequence       uuid         only people of this sequence, and the devices that have any
--   device         uuid         only this device
--   active         text[]       values of sequences.status that count as active
--   online         text[]       values of user_devices.status that count as online
--   max_in_flight  integer      messages of a device in flight
--   max_per_hour   integer      messages of a device sent in 60 minutes, plus those in flight
--   max_per_day    integer      messages of a device sent in 24 hours, plus those in flight
--   limit          integer      rows to return; empty: all
-- Row:
--   device             text         its name
--   device_id          uuid         the device
--   status             text         as the host has it
--   availability       text         Available or Not Available, by its status
--   assigned_contacts  integer      people assigned to it, ever
--   trouble            text         what is wrong with it; null: nothing
--   due                integer      contacts due now
--   in_flight          integer      messages pending, queued or processing
--   sent_hour          integer      messages sent in the last 60 minutes
--   sent_day           integer      messages sent in the last 24 hours
--   room               integer      messages that it may still take under its limits
--   oldest_due         timestamptz  since when the first of them is due
--   drain              interval     until all of that is sent, at the pace of the last hour; null: it stands
--   last_seen          timestamptz  as the host has it
--   user_id            uuid         whose it is
--   repair             text         what to do about it
--   total              integer      rows in all, listed or not
--   found              jsonb        devices in trouble by kind: number, severity, repair
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?active} \else \set active '{active}' \endif
\if :{?online} \else \set online '{online}' \endif
\if :{?max_in_flight} \else \set max_in_flight '50' \endif
\if :{?max_per_hour} \else \set max_per_hour '80' \endif
\if :{?max_per_day} \else \set max_per_day '800' \endif
\if :{?limit} \else \set limit '20' \endif
with kind (kind, severity, repair) as (
    values
        ('zombie', 1, 'look at the phone; if it is lost: seqdev repair device DEVICE --spread'),
        ('offline_with_work', 1, 'bring it back; if it is lost: seqdev repair device DEVICE --spread'),
        ('out_of_service', 2, 'put it back into service, or: seqdev repair device DEVICE --spread'),
        ('full', 2, 'wait, or share its work: seqdev repair device DEVICE --spread --max N')
),

assigned as materialized (
    select
        person.assigned_device_id as device_id,
        count(*)::integer as contacts
    from (
        select distinct
            sc.assigned_device_id,
            sc.contact_phone
        from sequence_contacts as sc
        where
            (nullif(:'sequence', '')::uuid is null or sc.sequence_id = nullif(:'sequence', '')::uuid)
            and (nullif(:'device', '')::uuid is null or sc.assigned_device_id = nullif(:'device', '')::uuid)
    ) as person
    group by person.assigned_device_id
),

due_row as materialized (
    select
        device.id as device_id,
        sc.sequence_id,
        sc.next_trigger_time
    from user_devices as device
    cross join lateral (
        select c.*
        from sequence_contacts as c
        where
            c.status = 'active'
            and c.assigned_device_id = device.id
            and c.next_trigger_time <= :'now'::timestamptz
        offset 0
    ) as sc
    union all
    -- Contacts without an assigned device are their lead's.
    select
        l.device_id,
        sc.sequence_id,
        sc.next_trigger_time
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    inner join leads as l on s.user_id = l.user_id and sc.contact_phone = l.phone
    where
        sc.status = 'active'
        and sc.assigned_device_id is null
        and sc.next_trigger_time <= :'now'::timestamptz
),

due as materialized (
    select
        r.device_id,
        count(*)::integer as contacts,
        min(r.next_trigger_time) filter (where isfinite(r.next_trigger_time))::timestamptz as oldest
    from due_row as r
    inner join sequences as s on r.sequence_id = s.id
    where
        s.is_active
        and s.status = any(:'active'::text [])
        and (nullif(:'sequence', '')::uuid is null or s.id = nullif(:'sequence', '')::uuid)
    group by r.device_id
),

flight as materialized (
    select
        m.device_id,
        count(*)::integer as messages,
        min(coalesce(m.scheduled_at, m.created_at)) as oldest
    from broadcast_messages as m
    where
        m.status in ('pending', 'queued', 'processing')
        and (m.scheduled_at is null or m.scheduled_at <= :'now'::timestamptz)
    group by m.device_id
),

device as materialized (
    select
        d.*,
        d.status = any(:'online'::text []) as is_online,
        -- The one column here that an installation may lack.
        (to_jsonb(d) ->> 'last_seen')::timestamptz as seen,
        coalesce(assigned.contacts, 0) as assigned_contacts,
        coalesce(due.contacts, 0) as due,
        due.oldest as oldest_due,
        coalesce(flight.messages, 0) as in_flight,
        flight.oldest as oldest_in_flight,
        sent.hour,
        sent.day,
        sent.last,
        greatest(
            0,
            least(
                :'max_in_flight'::integer - coalesce(flight.messages, 0),
                :'max_per_hour'::integer - coalesce(flight.messages, 0) - sent.hour,
                :'max_per_day'::integer - coalesce(flight.messages, 0) - sent.day
            )
        ) as room
    from user_devices as d
    left join assigned on d.id = assigned.device_id
    left join due on d.id = due.device_id
    left join flight on d.id = flight.device_id
    cross join lateral (
        select
            count(*) filter (where m.sent_at > :'now'::timestamptz - interval '60 minutes')::integer as hour,
            count(*)::integer as day,
            max(m.sent_at) as last
        from broadcast_messages as m
        where
            m.device_id = d.id
            and m.sent_at > :'now'::timestamptz - interval '24 hours'
            and m.status not in ('pending', 'queued', 'processing', 'failed')
    ) as sent
    where
        (nullif(:'user', '')::uuid is null or d.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'device', '')::uuid is null or d.id = nullif(:'device', '')::uuid)
        and (nullif(:'sequence', '')::uuid is null or assigned.device_id is not null)
),

judged as materialized (
    select
        d.*,
        case
            when
                d.is_online
                and d.oldest_in_flight <= :'now'::timestamptz - interval '15 minutes'
                and coalesce(d.last <= :'now'::timestamptz - interval '15 minutes', true)
                then 'zombie'
            when not coalesce(d.is_online, false) and d.due + d.in_flight > 0 then 'offline_with_work'
            when
                d.due + d.in_flight > 0
                and exists (
                    select 1
                    from device_load_balance as b
                    where b.device_id = d.id and not b.is_available
                )
                then 'out_of_service'
            when d.room = 0 and d.due > 0 then 'full'
        end as kind
    from device as d
),

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
            judged.kind,
            count(*) as number
        from judged
        group by judged.kind
    ) as t
    left join kind on t.kind = kind.kind
)

select
    j.device_name::text as device,
    j.id as device_id,
    j.status::text as status,
    case when j.is_online then 'Available' else 'Not Available' end as availability,
    j.assigned_contacts,
    j.kind as trouble,
    j.due,
    j.in_flight,
    j.hour as sent_hour,
    j.day as sent_day,
    j.room,
    j.oldest_due,
    case
        when j.hour > 0 and j.is_online and coalesce(j.kind, '') <> 'zombie'
            then (j.due + j.in_flight) * interval '1 hour' / j.hour
    end as drain,
    case when isfinite(j.seen) then j.seen end as last_seen,
    j.user_id,
    replace(kind.repair, 'DEVICE', j.id::text) as repair,
    tally.total,
    tally.found
from judged as j
cross join tally
left join kind on j.kind = kind.kind
order by kind.severity nulls last, j.assigned_contacts desc, j.device_name, j.id
limit nullif(:'limit', '')::integer;
