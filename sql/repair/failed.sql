-- Queue messages again that were not sent: the same rows, with the same ids
--
-- The cause is told by the error that the broadcast worker has left. Unless causes are named, only what surely was not
-- sent is queued again. A message is tried so many times at most, each time after twice the pause.
--
-- Master of cause, failed: sql/audit/failed.sql
--
-- Parameters:
--   now       timestamptz  the instant of the transaction
--   since     interval     age of the messages that are looked at
--   until     timestamptz  only messages made before; empty: all
--   only      text[]       only messages that failed of these causes; empty: those that surely were not sent
--   user      uuid         only messages of this user
--   sequence  uuid         only this sequence
--   device    uuid         only what went to this device
--   to        uuid         the device that sends them; empty: the one that they were queued on
--   most      integer      messages to queue, at most; empty: all
--   spread    interval     lay out the messages of each device over so long
--   attempts  integer      how often a message is queued again, at most
--   failed    text[]       values of broadcast_messages.status of a message that will never be sent
--   stopped   text[]       values of sequence_contacts.status that somebody has set so that nothing is sent
--   national  text         regular expression of what begins a national number
--   country   text         what stands for it in an international one
-- Gates: gates/causes.sql, gates/steps.sql, gates/devices.sql under strict of all devices
-- Row:
--   table_name   text   the table of the row
--   row_id       uuid   the message
--   user_id      uuid   its user
--   phone        text   whom it goes to
--   sequence     text   name of the sequence
--   from_device  uuid   the device that it is queued on
--   from_name    text   its name
--   to_device    uuid   the device that sends it
--   to_name      text   its name
--   why          text   the cause for which it was not sent
--   refused      text   never_succeeds, may_be_sent, blocked, stopped, overtaken, attempts_used, tried_lately, paused,
--                       device_missing, device_of_other_user, device_gone, device_offline, device_restricted; or null
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '1 day' \endif
\if :{?until} \else \set until '' \endif
\if :{?only} \else \set only '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?to} \else \set to '' \endif
\if :{?most} \else \set most '' \endif
\if :{?spread} \else \set spread '0' \endif
\if :{?attempts} \else \set attempts '3' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?stopped} \else \set stopped '{paused,stopped,replied,set_aside}' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'no' \endif
\if :{?causes} \else \ir ../gates/causes.sql \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with device as materialized (
    select g.*
    from unnest(
        :'devices'::uuid [], :'device_users'::uuid [], :'device_reasons'::text [], :'is_gone'::boolean []
    ) as g (id, user_id, reason, is_gone)
),

paused_sequence as materialized (
    select s.sequence_id
    from unnest(:'step_sequences'::uuid [], :'step_pauses'::text []) as s (sequence_id, pause)
    where s.pause is not null
),

cause as materialized (
    select c.*
    from unnest(:'causes'::text [], :'cause_patterns'::text [], :'cause_outlooks'::text []) with ordinality
        as c (name, pattern, outlook, place)
),

unsent as materialized (
    select
        m.id,
        m.user_id,
        m.device_id,
        m.sequence_id,
        m.sequence_stepid,
        m.recipient_phone,
        m.status,
        m.error_message,
        m.created_at
    from broadcast_messages as m
    where
        m.created_at >= :'now'::timestamptz - :'since'::interval
        and (nullif(:'until', '')::timestamptz is null or m.created_at < nullif(:'until', '')::timestamptz)
        and m.status = any(:'failed'::text [])
        and m.sequence_id is not null
        and (nullif(:'user', '')::uuid is null or m.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'sequence', '')::uuid is null or m.sequence_id = nullif(:'sequence', '')::uuid)
        and (nullif(:'device', '')::uuid is null or m.device_id = nullif(:'device', '')::uuid)
),

failed as materialized (
    select
        m.*,
        coalesce(told.name, case when m.error_message ~ '\S' then 'other' else 'no_reason' end) as cause,
        coalesce(told.outlook, 'unsure') as outlook
    from unsent as m
    left join lateral (
        select
            cause.name,
            cause.outlook
        from cause
        where concat_ws(': ', nullif(m.status, 'failed'), m.error_message) ~* cause.pattern
        order by cause.place
        limit 1
    ) as told on true
),

-- Who has a row in the sequence that was stopped.
stopped as materialized (
    select distinct
        sc.sequence_id,
        sc.contact_phone
    from failed as f
    inner join sequence_contacts as sc on f.sequence_id = sc.sequence_id and f.recipient_phone = sc.contact_phone
    where sc.status = any(:'stopped'::text [])
),

-- A later step has gone out, or is about to: they would come in the wrong order.
overtaken as materialized (
    select distinct f.id
    from failed as f
    inner join broadcast_messages as m
        on
            f.recipient_phone = m.recipient_phone
            and f.sequence_id = m.sequence_id
            and f.user_id = m.user_id
            and f.created_at < m.created_at
    where m.status <> all(:'failed'::text [])
),

judged as materialized (
    select
        f.*,
        target.id as target_id,
        case
            when f.outlook = 'never' then 'never_succeeds'
            when f.outlook = 'unsure' and :'only'::text [] = '{}' then 'may_be_sent'
            when person.is_blocked then 'blocked'
            when
                (f.sequence_id, f.recipient_phone) in (
                    select
                        stopped.sequence_id,
                        stopped.contact_phone
                    from stopped
                )
                then 'stopped'
            when f.id in (select overtaken.id from overtaken) then 'overtaken'
            when tried.times >= :'attempts'::integer then 'attempts_used'
            when tried.last_at > :'now'::timestamptz - 2 ^ (tried.times - 1) * interval '15 minutes' then 'tried_lately'
            when target.id is null then 'device_missing'
            when target.user_id <> f.user_id then 'device_of_other_user'
            when target.is_gone then 'device_gone'
            when target.reason = 'paused' or f.sequence_id in (select p.sequence_id from paused_sequence as p) then 'paused'
            when target.reason is not null then 'device_offline'
            when f.cause = 'restricted' and target.id = f.device_id then 'device_restricted'
        end as refused
    from failed as f
    left join device as target on coalesce(nullif(:'to', '')::uuid, f.device_id) = target.id
    cross join lateral (
        select exists (
            select 1
            from seqdev.blocked as b
            where
                b.since is not null
                and coalesce(b.user_id, f.user_id) = f.user_id
                and b.digits = (
                    -- digits: as in enroll/persons.sql
                    select
                        case
                            when f.recipient_phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                            else regexp_replace(bare.digits, :'national'::text, :'country'::text)
                        end as digits
                    from (
                        select regexp_replace(
                            f.recipient_phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
                        ) as digits
                    ) as bare
                )
        ) as is_blocked
    ) as person
    cross join lateral (
        select
            count(*) as times,
            max(ch.changed_at) as last_at
        from seqdev.change as ch
        inner join seqdev.run as r on ch.run_id = r.id
        where
            ch.row_id = f.id
            and ch.table_name = 'broadcast_messages'
            and ch.column_name = 'status'
            and ch.new_value = 'pending'
            and r.command = 'repair failed'
    ) as tried
    where :'only'::text [] = '{}' or f.cause = any(:'only'::text [])
),

placed as materialized (
    select
        j.*,
        row_number() over (partition by j.refused is null order by j.created_at, j.id) as place
    from judged as j
),

-- Of those that are queued again: its place on its device, and how many there are.
laid_out as materialized (
    select
        p.id,
        row_number() over (partition by p.target_id order by p.place) - 1 as before,
        count(*) over (partition by p.target_id) as number
    from placed as p
    where
        p.refused is null
        and (nullif(:'most', '')::integer is null or p.place <= nullif(:'most', '')::integer)
)

select
    'broadcast_messages' as table_name,
    p.id as row_id,
    p.user_id,
    p.recipient_phone::text as phone,
    coalesce(s.name, left(s.id::text, 0))::text as sequence,
    p.device_id as from_device,
    coalesce(was.device_name, left(was.id::text, 0))::text as from_name,
    p.target_id as to_device,
    coalesce(becoming.device_name, left(becoming.id::text, 0))::text as to_name,
    p.cause as why,
    p.refused,
    jsonb_build_object('status', p.status, 'device_id', p.device_id, 'error_message', p.error_message) as expected,
    jsonb_build_object(
        'status', 'pending',
        'device_id', p.target_id,
        'error_message', null,
        'scheduled_at', :'now'::timestamptz + coalesce(l.before, 0)::float8 / coalesce(l.number, 1) * :'spread'::interval
    ) as becomes
from placed as p
left join laid_out as l on p.id = l.id
left join sequences as s on p.sequence_id = s.id
left join user_devices as was on p.device_id = was.id
left join user_devices as becoming on p.target_id = becoming.id
where p.refused is not null or l.id is not null
order by p.user_id, p.recipient_phone, p.created_at, p.id;
