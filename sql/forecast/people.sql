-- Who will be due: contacts by device, step, and what decides about each of them; and when each of them is
--
-- Nothing of this depends on the policy of their user, nor on what a device may send. Instants are ticks from now: an
-- instant counts from the next tick on.
--
-- Parameters:
--   users          uuid[]       only these users; empty: all
--   now            timestamptz  the instant of the forecast
--   hours          integer      how far to look
--   every          interval     time from tick to tick
--   oldest         timestamptz  contacts that were due before are too late, and wait
--   max_lateness   interval     so long after it was due a contact is too late; 0: never
--   claim_timeout  interval     how long the claim of another processor is respected
--   without_lead   boolean      people without a lead of the sequence's user are sent to, too
--   national       text         a regular expression that tells a number without a country code
--   country        text         what stands for its match
--   failed         text[]       values of broadcast_messages.status of a message that will never be sent
--   waiting        text[]       values of sequence_contacts.status: a later step's row, made beforehand
--   choosy         uuid[]       devices that may open only so many chats
--   replied        uuid[]       contacts of people who have written back: they leave the sequence
--   moved_rows     uuid[]       contacts that ticks have moved, as forecast/moved.sql has them
--   moved_homes    uuid[]       and the devices that they have left
-- Gates: gates/windows.sql within that time, gates/steps.sql
-- Row:
--   device_id    uuid     the device that they are assigned to, or else their lead's; null: none
--   device_name  text     its name
--   owner_id     uuid     whose it is; null: there is no such device
--   place        integer  the place of the step in the arrays of gates/steps.sql
--   ruled_out    text     why they are not sent, whatever else is: replied, too_late, bad_phone; null: nothing of that
--   is_claimed   boolean  another processor has claimed them, and nobody knows when
--   is_leadless  boolean  there is no lead of the sequence's user
--   zones        text     the zones of their phones, where their window is their own; else empty
--   is_new       boolean  their device has never written to them, and may open only so many chats
--   person       integer  of these, whoever has several rows on the device: a number, the same in each; else 0
--   home_id      uuid     the device from which ticks have moved them
--   patience     integer  ticks after they were due, after which they are too late; null: never
--   not_before   text     jsonb: by the step's place, before which tick a row that waits is not due; null: none does
--   dues         integer[]  when each of them is due
-- Locks: none
\if :{?users} \else \set users '{}' \endif
\if :{?now} \else \set now 'now' \endif
\if :{?hours} \else \set hours '336' \endif
\if :{?every} \else \set every '1 minute' \endif
\if :{?oldest} \else \set oldest '-infinity' \endif
\if :{?max_lateness} \else \set max_lateness '0' \endif
\if :{?claim_timeout} \else \set claim_timeout '5 minutes' \endif
\if :{?without_lead} \else \set without_lead 'false' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?choosy} \else \set choosy '{}' \endif
\if :{?replied} \else \set replied '{}' \endif
\if :{?moved_rows} \else \set moved_rows '{}' \endif
\if :{?moved_homes} \else \set moved_homes '{}' \endif
\if :{?within} \else \set within '14 days' \endif
\if :{?change_windows} \else \ir ../gates/windows.sql \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
with unit as materialized (
    select extract(epoch from :'every'::interval) as seconds
),

step as materialized (
    select s.user_id, s.sequence_id, s.id, s.place::integer as place
    from unnest(
        :'step_users'::uuid [], :'step_sequences'::uuid [], :'steps'::uuid [], :'step_reasons'::text []
    ) with ordinality as s (user_id, sequence_id, id, reason, place)
    where
        (:'users'::uuid [] = '{}' or s.user_id = any(:'users'::uuid []))
        and coalesce(s.reason <> 'sequence_inactive', true)
),

-- The place that stands for none of the sequence's steps; whether its windows are the recipients' own.
sequence as materialized (
    select
        step.user_id,
        step.sequence_id,
        step.place,
        step.sequence_id in (
            select timed_step.sequence_id
            from unnest(:'timed_steps'::uuid [], :'timed_windows'::text []) as timed (id, win)
            inner join step as timed_step on timed.id = timed_step.id
            inner join unnest(:'change_windows'::text [], :'change_zones'::text []) as change (win, zones)
                on timed.win = change.win and change.zones <> ''
        ) as is_recipients
    from step
    where step.id is null
),

prefix as materialized (
    select p.digits, p.zones
    from unnest(:'zoned_prefixes'::text [], :'zoned_zones'::text []) as p (digits, zones)
    where exists (select 1 from sequence where sequence.is_recipients)
),

-- The longest prefix of the phone that there is tells: gates/windows.sql. All at once: one by one, each would be compared
-- with thousands.
zoned as materialized (
    select distinct on (sc.id)
        sc.id,
        prefix.zones
    from sequence_contacts as sc
    inner join sequence as s on sc.sequence_id = s.sequence_id
    cross join lateral (
        -- digits: as in enroll/persons.sql
        select
            case when sc.contact_phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                else regexp_replace(bare.digits, :'national'::text, :'country'::text) end as digits
        from (
            select regexp_replace(
                sc.contact_phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
            ) as digits
        ) as bare
    ) as recipient
    cross join generate_series(1, 9) as known (size)
    inner join prefix on left(recipient.digits, known.size) = prefix.digits
    where
        s.is_recipients
        and sc.status = 'active'
        and sc.next_trigger_time < :'now'::timestamptz + :'hours'::integer * interval '1 hour'
    order by sc.id, known.size desc
),

-- Of people whose rows of later steps wait: when each of these is due at the earliest, by the step's place.
ahead as materialized (
    select
        sc.sequence_id,
        sc.contact_phone,
        jsonb_object_agg(
            step.place, ceil(extract(epoch from sc.next_trigger_time - :'now'::timestamptz) / unit.seconds)
        ) as not_before
    from sequence_contacts as sc
    cross join unit
    inner join step on sc.sequence_stepid = step.id and sc.sequence_id = step.sequence_id
    where
        sc.status = any(:'waiting'::text [])
        and sc.next_trigger_time > :'now'::timestamptz
        and sc.next_trigger_time < :'now'::timestamptz + interval '1000 days'
    group by sc.sequence_id, sc.contact_phone
),

-- On devices that may open only so many chats, the rows of people whom they have never written to.
stranger as materialized (
    select
        own.id,
        case
            when count(*) over (partition by own.device_id, own.contact_phone) > 1
                then dense_rank() over (order by own.device_id, own.contact_phone)
            else 0
        end::integer as person
    from (
        select
            sc.id,
            sc.contact_phone,
            coalesce(sc.assigned_device_id, l.device_id) as device_id
        from (
            select
                c.*,
                s.user_id as owner_id
            from sequence_contacts as c
            inner join sequence as s on c.sequence_id = s.sequence_id
            where
                :'choosy'::uuid [] <> '{}'
                and c.status = 'active'
                and c.next_trigger_time < :'now'::timestamptz + :'hours'::integer * interval '1 hour'
        ) as sc
        left join lateral (
            select leads.device_id
            from leads
            where leads.user_id = sc.owner_id and leads.phone = sc.contact_phone
            limit 1
        ) as l on true
    ) as own
    where
        own.device_id in (select c.id from unnest(:'choosy'::uuid []) as c (id))
        and (
            -- known
            select true
            from broadcast_messages as m
            where
                m.recipient_phone = own.contact_phone
                and m.device_id = own.device_id
                and (m.sent_at is not null or m.status in ('pending', 'queued', 'processing'))
                and m.status <> 'failed'
                and m.status <> all(:'failed'::text [])
            limit 1
        ) is null
),

person as materialized (
    select
        coalesce(sc.assigned_device_id, l.device_id) as device_id,
        coalesce(step.place, sc.own_place) as place,
        case
            when sc.id in (select r.id from unnest(:'replied'::uuid []) as r (id)) then 'replied'
            when sc.next_trigger_time < :'oldest'::timestamptz then 'too_late'
            when coalesce(sc.contact_phone !~ '\S', true) then 'bad_phone'
        end as ruled_out,
        sc.processing_started_at is null and sc.processing_device_id is not null and sc.completed_at is null as is_claimed,
        not :'without_lead'::boolean and l.user_id is null as is_leadless,
        coalesce(zoned.zones, '') as zones,
        stranger.id is not null as is_new,
        coalesce(stranger.person, 0) as person,
        gone.home_id,
        case when :'max_lateness'::interval > interval '0' then greatest(-1, floor(
            extract(epoch from sc.due_at - :'now'::timestamptz + :'max_lateness'::interval) / unit.seconds
        ) - tick.due)::integer end as patience,
        ahead.not_before::text as not_before,
        tick.due::integer as due
    from (
        select
            c.*,
            s.user_id as owner_id,
            s.place as own_place,
            -- An instant that is infinite could not be subtracted from.
            least(
                greatest(c.next_trigger_time::timestamptz, :'now'::timestamptz - interval '1000 days'),
                :'now'::timestamptz + interval '1000 days'
            ) as due_at,
            least(
                greatest(
                    c.next_trigger_time::timestamptz,
                    c.processing_started_at::timestamptz + :'claim_timeout'::interval,
                    :'now'::timestamptz - interval '1000 days'
                ), :'now'::timestamptz + interval '1000 days'
            ) as ready_at
        from sequence_contacts as c
        inner join sequence as s on c.sequence_id = s.sequence_id
        where
            c.status = 'active'
            and c.next_trigger_time < :'now'::timestamptz + :'hours'::integer * interval '1 hour'
    ) as sc
    cross join unit
    left join step on sc.sequence_stepid = step.id and sc.sequence_id = step.sequence_id
    left join ahead on sc.sequence_id = ahead.sequence_id and sc.contact_phone = ahead.contact_phone
    left join stranger on sc.id = stranger.id
    left join zoned on sc.id = zoned.id
    left join unnest(:'moved_rows'::uuid [], :'moved_homes'::uuid []) as gone (row_id, home_id) on sc.id = gone.row_id
    -- One lookup by key for each, whatever the planner expects: user and phone are unique.
    left join lateral (
        select leads.user_id, leads.device_id
        from leads
        where leads.user_id = sc.owner_id and leads.phone = sc.contact_phone
        limit 1
    ) as l on true
    cross join lateral (
        select ceil(extract(epoch from sc.ready_at - :'now'::timestamptz) / unit.seconds) as due
    ) as tick
)

select
    p.device_id,
    coalesce(d.device_name, left(d.id::text, 0))::text as device_name,
    d.user_id as owner_id,
    p.place,
    p.ruled_out,
    p.is_claimed,
    p.is_leadless,
    p.zones,
    p.is_new,
    p.person,
    p.home_id,
    p.patience,
    p.not_before,
    array_agg(p.due) as dues
from person as p
left join user_devices as d on p.device_id = d.id
group by
    p.device_id, d.id, d.device_name, d.user_id, p.place, p.ruled_out, p.is_claimed, p.is_leadless, p.zones, p.is_new, p.person, p.home_id,
    p.patience, p.not_before;
