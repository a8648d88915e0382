-- The leads with a phone, their owners, and the devices they belong to
--
-- Parameters:
--   phones  text[]  the phone, in every writing that is tried
--   user    uuid    only leads of this user
-- Gates: gates/devices.sql under strict of all devices, or the user's
-- Row:
--   user_id      uuid    whose lead it is
--   lead_id      uuid    the lead
--   phone        text    as it is written there
--   name         text    the person's name
--   status       text    the lead's status, as the host keeps it
--   triggers     text[]  the members of the trigger list
--   device_id    uuid    the device that owns the lead
--   device_name  text    its name; null for a device of another user
--   device       text    online, paused, offline, gone, no_device, device_missing or device_of_other_user
-- Locks: none
\if :{?phones} \else \set phones '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'no' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
select
    l.user_id,
    l.id as lead_id,
    l.phone::text as phone,
    l.name::text as name,
    (to_jsonb(l) ->> 'status')::text as status,
    coalesce(
        (
            select array_agg(btrim(m.member) order by m.place)
            from unnest(string_to_array(l.trigger, ',')) with ordinality as m (member, place)
            where m.member ~ '\S'
        ),
        '{}'
    )::text [] as triggers,
    l.device_id,
    case when d.user_id = l.user_id then coalesce(d.device_name, left(d.id::text, 0)) end::text as device_name,
    (
        case
            when l.device_id is null then 'no_device'
            when d.id is null then 'device_missing'
            when d.user_id <> l.user_id then 'device_of_other_user'
            when g.reason is null then 'online'
            when g.reason = 'paused' then 'paused'
            when g.is_gone then 'gone'
            else 'offline'
        end
    )::text as device
from leads as l
left join user_devices as d on l.device_id = d.id
left join unnest(:'devices'::uuid [], :'device_reasons'::text [], :'is_gone'::boolean [])
    as g (id, reason, is_gone)
    on l.device_id = g.id
where
    l.phone = any(:'phones'::text [])
    and (nullif(:'user', '')::uuid is null or l.user_id = nullif(:'user', '')::uuid)
order by l.user_id, l.phone;
