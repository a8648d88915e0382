-- Take messages back that wait in the queue, or move them to another device
--
-- Only those pending: of one that is queued or processing only the sender knows whether it was sent. A sender that has read
-- a message before it is taken back may send it all the same. None is moved while its device is online: its sender may
-- begin one at any moment, and a second one would send it again.
--
-- Parameters:
--   now         timestamptz  the instant of the transaction
--   older_than  interval     only messages that have waited for so long
--   user        uuid         only messages of this user
--   sequence    uuid         only this sequence
--   device      uuid         only what is queued on this device
--   to          uuid         the device that gets them; empty: take them back
--   most        integer      messages, at most; empty: all
-- Gates: gates/devices.sql under strict of all devices
-- Row:
--   table_name   text   the table of the row
--   row_id       uuid   the message
--   user_id      uuid   its user
--   phone        text   whom it goes to
--   sequence     text   name of the sequence; null for a campaign's
--   from_device  uuid   the device that it is queued on
--   from_name    text   its name
--   to_device    uuid   the device that gets it
--   to_name      text   its name
--   why          text   pending
--   refused      text   device_online, device_of_other_user, device_gone; or null
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?older_than} \else \set older_than '0' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?to} \else \set to '' \endif
\if :{?most} \else \set most '' \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'no' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with device as materialized (
    select g.*
    from unnest(
        :'devices'::uuid [], :'device_users'::uuid [], :'is_online'::boolean [], :'is_gone'::boolean []
    ) as g (id, user_id, is_online, is_gone)
),

waiting as materialized (
    select
        m.id,
        m.user_id,
        m.recipient_phone,
        m.sequence_id,
        m.device_id,
        m.status,
        m.created_at,
        case
            when nullif(:'to', '')::uuid is null then null
            when target.user_id <> m.user_id then 'device_of_other_user'
            when target.is_gone then 'device_gone'
            when own.is_online then 'device_online'
        end as refused
    from broadcast_messages as m
    left join device as own on m.device_id = own.id
    left join device as target on target.id = nullif(:'to', '')::uuid
    where
        m.status = 'pending'
        and greatest(m.created_at, m.scheduled_at) <= :'now'::timestamptz - :'older_than'::interval
        and m.device_id is distinct from nullif(:'to', '')::uuid
        and (nullif(:'user', '')::uuid is null or m.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'sequence', '')::uuid is null or m.sequence_id = nullif(:'sequence', '')::uuid)
        and (nullif(:'device', '')::uuid is null or m.device_id = nullif(:'device', '')::uuid)
),

placed as (
    select
        w.*,
        row_number() over (partition by w.refused is null order by w.created_at, w.id) as place
    from waiting as w
)

select
    'broadcast_messages' as table_name,
    p.id as row_id,
    p.user_id,
    p.recipient_phone::text as phone,
    coalesce(s.name, left(s.id::text, 0))::text as sequence,
    p.device_id as from_device,
    coalesce(was.device_name, left(was.id::text, 0))::text as from_name,
    becoming.id as to_device,
    coalesce(becoming.device_name, left(becoming.id::text, 0))::text as to_name,
    'pending' as why,
    p.refused,
    jsonb_build_object('status', p.status, 'device_id', p.device_id) as expected,
    case
        when becoming.id is not null then jsonb_build_object('device_id', becoming.id)
        else jsonb_build_object('status', 'cancelled', 'error_message', 'taken back by seqdev')
    end as becomes
from placed as p
left join sequences as s on p.sequence_id = s.id
left join user_devices as was on p.device_id = was.id
left join user_devices as becoming on becoming.id = nullif(:'to', '')::uuid
where p.refused is not null or nullif(:'most', '')::integer is null or p.place <= nullif(:'most', '')::integer
order by p.user_id, p.recipient_phone, p.created_at, p.id;
