-- Contacts of sequences that are not active: they wait until somebody resumes the sequence
--
-- Parameters:
--   now    timestamptz  the instant from which hours are counted
--   hours  integer      how far to look
--   user   uuid         only sequences of this user; empty: of all
-- Gates: gates/steps.sql of the users of every policy
-- Row:
--   user_id      uuid     the sequence's user
--   device_id    uuid     the device that they are assigned to
--   device_name  text     its name
--   contacts     integer  how many of them would be due by then
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?hours} \else \set hours '336' \endif
\if :{?user} \else \set user '' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
with waiting as (
    select
        s.user_id,
        sc.assigned_device_id as device_id,
        count(*) as contacts
    from sequences as s
    inner join sequence_contacts as sc on s.id = sc.sequence_id
    where
        s.id <> all(:'active_sequences'::uuid [])
        and (nullif(:'user', '')::uuid is null or s.user_id = nullif(:'user', '')::uuid)
        and sc.status = 'active'
        and sc.next_trigger_time < :'now'::timestamptz + :'hours'::integer * interval '1 hour'
    group by s.user_id, sc.assigned_device_id
)

select
    waiting.user_id,
    waiting.device_id,
    coalesce(d.device_name, left(d.id::text, 0))::text as device_name,
    waiting.contacts::integer as contacts
from waiting
left join user_devices as d on waiting.device_id = d.id
order by waiting.contacts desc, waiting.device_id;
