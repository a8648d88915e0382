-- Contacts at their last step whose lead another session has locked
--
-- At the end of a sequence the claim takes the sequence's trigger out of the lead's list. The locks that this statement takes are of no use: it is run
-- in a part of the transaction that is undone.
--
-- Parameters:
--   contacts  uuid[]  the contacts
-- Gates: gates/steps.sql
-- Row:
--   contact_id  uuid  a contact that would wait for its lead
-- Locks: the leads of the contacts; those somebody else has locked are the answer
\if :{?contacts} \else \set contacts '{}' \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
with last_step as materialized (
    select s.*
    from unnest(:'steps'::uuid [], :'next_steps'::uuid []) as s (id, next_id)
    where s.next_id is null
),

entry as materialized (
    select
        s.sequence_id,
        btrim(s.trigger) as trigger
    from unnest(:'step_sequences'::uuid [], :'entry_triggers'::text []) as s (sequence_id, trigger)
    where s.trigger is not null
),

needed as materialized (
    select
        sc.id as contact_id,
        l.id as lead_id
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    inner join leads as l on s.user_id = l.user_id and sc.contact_phone = l.phone
    where
        sc.id = any(:'contacts'::uuid [])
        and sc.sequence_stepid in (select last_step.id from last_step)
        and exists (
            select 1
            from unnest(string_to_array(l.trigger, ',')) as m (member)
            where (sc.sequence_id, btrim(m.member)) in (select entry.sequence_id, entry.trigger from entry)
        )
),

free as materialized (
    select l.id
    from leads as l
    where l.id in (select needed.lead_id from needed)
    for no key update of l skip locked
)

select needed.contact_id
from needed
where needed.lead_id not in (select free.id from free);
