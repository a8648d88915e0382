-- The people assigned to a device who are due, the longest due first
--
-- Parameters:
--   now     timestamptz  the instant of the transaction
--   device  uuid         the device
--   limit   integer      rows to return
-- Row:
--   phone     text         the person's phone
--   sequence  text         name of the sequence
--   step      integer      day of the step
--   due       timestamptz  since when they are due
--   reason    text         why the last tick has left them, where it has noted that
--   user_id   uuid         whose the sequence is
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?device} \else \set device '00000000-0000-0000-0000-000000000000' \endif
\if :{?limit} \else \set limit '200' \endif
select
    sc.contact_phone::text as phone,
    coalesce(s.name, left(s.id::text, 0))::text as sequence,
    coalesce(st.day_number, sc.current_step)::integer as step,
    case when isfinite(sc.next_trigger_time) then sc.next_trigger_time::timestamptz end as due,
    sc.last_error::text as reason,
    s.user_id
from sequence_contacts as sc
inner join sequences as s on sc.sequence_id = s.id
left join sequence_steps as st on sc.sequence_stepid = st.id
where
    sc.status = 'active'
    and sc.assigned_device_id = :'device'::uuid
    and sc.next_trigger_time <= :'now'::timestamptz
order by sc.next_trigger_time, sc.id
limit :'limit'::integer;
