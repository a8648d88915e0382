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
with found as materialized (
    select
        sc.id,
        sc.sequence_id,
        sc.contact_phone,
        sc.status,
        s.user_id,
        coalesce(s.name, left(s.id::text, 0))::text as name
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    where
        (sc.status = 'active' or sc.status = any(:'waiting'::text []))
        and sc.assigned_device_id is null
        and (
            nullif(:'user', '')::uuid is null
            or s.user_id = nullif(:'user', '')::uuid
            and coalesce(sc.user_id, s.user_id) = s.user_id
        )
        and (nullif(:'sequence', '')::uuid is null or s.id = nullif(:'sequence', '')::uuid)
),

lead as materialized (
    select
        found.id,
        count(distinct l.device_id) as devices,
        (array_agg(l.device_id order by l.device_id))[1] as device_id
    from found
    inner join leads as l on found.contact_phone = l.phone and found.user_id = l.user_id
    group by found.id
),

-- The devices by which the person was written to, or was to be, in this sequence.
named as materialized (
    select
        found.id,
        x.assigned_device_id,
        m.device_id
    from found
    inner join sequence_contacts as x
        on found.contact_phone = x.contact_phone and found.sequence_id = x.sequence_id
    left join broadcast_messages as m
        on x.contact_phone = m.recipient_phone and m.id = md5('seqdev message ' || x.id)::uuid
    where x.assigned_device_id is not null or m.device_id is not null
)

select
    'sequence_contacts' as table_name,
    found.id as row_id,
    found.user_id,
    found.contact_phone::text as phone,
    found.name::text as sequence,
    null::uuid as from_device,
    null::text as from_name,
    d.id as to_device,
    coalesce(d.device_name, left(d.id::text, 0))::text as to_name,
    'lead_device' as why,
    case
        when lead.id is null then 'no_lead'
        when lead.devices = 0 then 'no_device'
        when lead.devices > 1 then 'several_devices_fit'
        when d.id is null then 'device_missing'
        when not coalesce(d.user_id = found.user_id, false) then 'device_of_other_user'
        when g.is_gone then 'device_gone'
        when
            exists (
                select 1
                from named
                inner join user_devices as other on other.id in (named.assigned_device_id, named.device_id)
                where named.id = found.id and other.user_id = found.user_id and other.id <> lead.device_id
            )
            then 'several_devices_fit'
    end as refused,
    jsonb_build_object('status', found.status, 'assigned_device_id', null) as expected,
    jsonb_build_object('assigned_device_id', lead.device_id) as becomes
from found
left join lead on found.id = lead.id
left join user_devices as d on lead.device_id = d.id
left join unnest(:'devices'::uuid [], :'is_gone'::boolean []) as g (id, is_gone) on lead.device_id = g.id
where nullif(:'device', '')::uuid is null or lead.device_id = nullif(:'device', '')::uuid
order by found.user_id, found.contact_phone, found.id;
