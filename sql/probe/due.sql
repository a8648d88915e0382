-- The rows of the people that a probe has made which a tick would claim next
--
-- Parameters:
--   leads  uuid[]  the leads that the probe has made
-- Gates: gates/steps.sql
-- Row:
--   contact_id     uuid     a contact
--   device_id      uuid     the device that claims it
--   sequence_id    uuid     its sequence
--   sequence_name  text     the name of that
--   step_id        uuid     its step
--   day            integer  the day of that
-- Locks: none
\if :{?leads} \else \set leads '{}' \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
select
    sc.id as contact_id,
    sc.assigned_device_id as device_id,
    sc.sequence_id,
    s.name::text as sequence_name,
    sc.sequence_stepid as step_id,
    st.day_number::integer as day
from leads as l
inner join sequences as s on l.user_id = s.user_id
inner join sequence_contacts as sc on s.id = sc.sequence_id and l.phone = sc.contact_phone
inner join sequence_steps as st on sc.sequence_stepid = st.id
where
    l.id = any(:'leads'::uuid [])
    and sc.status = 'active'
    and sc.assigned_device_id is not null
    and sc.sequence_stepid in (
        select step.id
        from unnest(:'steps'::uuid [], :'step_reasons'::text []) as step (id, reason)
        where step.reason is null
    )
order by sc.id;
