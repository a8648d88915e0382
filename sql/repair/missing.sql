-- Assign the lead's device to the rows still to come that have none
--
-- The lead is the one of the same user and phone. Where the person's rows and messages of that sequence name
-- another device of the user, more than one fits, and a person has to decide.
--
-- Parameters:
--   user      uuid    only sequences of this user
--   sequence  uuid    only this sequence
--   device    uuid    only people whose lead this device owns
--   waiting   text[]  values of sequence_contacts.status: a later step's row, made beforehand
-- Gates: gates/devices.sql of all devices
-- Row:
--   table_name   text   the table of the row
--   row_id       uuid   the row
--   user_id      uuid   the user of the sequence
--   phone        text   whose row it is
--   sequence     text   name of the sequence
--   from_device  uuid   the device assigned now: none
--   from_name    text   its name
--   to_device    uuid   the lead's device
--   to_name      text   its name
--   why          text   lead_device
--   refused      text   no_lead, no_device, device_missing, device_of_other_user, device_gone, several_devices_fit; or
--                       null
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'no' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
select
    'sequence_contacts' as table_name,
    sc.id as row_id,
    s.user_id,
    sc.contact_phone::text as phone,
    s.name::text as sequence,
    null::uuid as from_device,
    null::text as from_name,
    d.id as to_device,
    d.device_name::text as to_name,
    'lead_device' as why,
    case
        when lead.leads = 0 then 'no_lead'
        when lead.devices = 0 then 'no_device'
        when lead.devices > 1 then 'several_devices_fit'
        when d.id is null then 'device_missing'
        when not coalesce(d.user_id = s.user_id, false) then 'device_of_other_user'
        when g.is_gone then 'device_gone'
        when other.fits then 'several_devices_fit'
    end as refused,
    jsonb_build_object('status', sc.status, 'assigned_device_id', null) as expected,
    jsonb_build_object('assigned_device_id', lead.device_id) as becomes
from sequence_contacts as sc
inner join sequences as s on sc.sequence_id = s.id
cross join lateral (
    select
        count(*) as leads,
        count(distinct l.device_id) as devices,
        (array_agg(l.device_id order by l.device_id))[1] as device_id
    from leads as l
    where l.user_id = s.user_id and l.phone = sc.contact_phone
) as lead
left join user_devices as d on lead.device_id = d.id
left join unnest(:'devices'::uuid [], :'is_gone'::boolean []) as g (id, is_gone) on lead.device_id = g.id
cross join lateral (
    select count(*) > 0 as fits
    from sequence_contacts as x
    left join broadcast_messages as m on m.id = md5('seqdev message ' || x.id)::uuid
    inner join user_devices as named
        on
            named.id in (x.assigned_device_id, m.device_id)
            and s.user_id = named.user_id
            and lead.device_id <> named.id
    where x.contact_phone = sc.contact_phone and x.sequence_id = sc.sequence_id
) as other
where
    (sc.status = 'active' or sc.status = any(:'waiting'::text []))
    and sc.assigned_device_id is null
    and (
        nullif(:'user', '')::uuid is null
        or s.user_id = nullif(:'user', '')::uuid
        and coalesce(sc.user_id, s.user_id) = s.user_id
    )
    and (nullif(:'sequence', '')::uuid is null or s.id = nullif(:'sequence', '')::uuid)
    and (nullif(:'device', '')::uuid is null or lead.device_id = nullif(:'device', '')::uuid)
order by s.user_id, sc.contact_phone, sc.id;
