-- Write on due contacts that can never be sent what is wrong with them, on Citus
--
-- They stay active, and go on as soon as the data is put right; last_error says what to put right.
--
-- Parameters:
--   now           timestamptz  the instant of the transaction
--   most          integer      contacts, at most
--   without_lead  boolean      people without a lead of the sequence's user are due, too
-- Gates: gates/steps.sql
-- Locks: the contacts it changes; it waits for those somebody else has locked
\if :{?now} \else \set now 'now' \endif
\if :{?most} \else \set most '10000' \endif
\if :{?without_lead} \else \set without_lead 'false' \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
-- As in tick/lock_distributed.sql: else another tick that waits for one row keeps this one from all of them.
select set_config('citus.enable_deadlock_prevention', 'off', true) as deadlock_prevention;

with step as materialized (
    select s.*
    from unnest(:'step_users'::uuid [], :'step_sequences'::uuid [], :'steps'::uuid [], :'step_reasons'::text [])
        as s (user_id, sequence_id, id, reason)
),

sequence as materialized (
    select step.*
    from step
    where step.id is null and step.reason is distinct from 'sequence_inactive'
),

wrong as materialized (
    select judged.*
    from (
        select
            c.id,
            c.contact_phone,
            c.last_error,
            case
                when c.contact_phone is null or c.contact_phone !~ '\S'
                    then 'waits: bad_phone: contact_phone is empty'
                when step.id is null
                    then 'waits: step_missing: sequence_stepid names no step of the sequence'
                when step.reason = 'no_content'
                    then 'waits: no_content: the step has neither content nor media_url'
                when not :'without_lead'::boolean and (
                    select true
                    from leads as person
                    where (person.user_id, person.phone) = (s.user_id, c.contact_phone)
                    limit 1
                ) is null
                    then 'waits: no_lead: no lead of the user has this phone'
            end as reason
        from sequence_contacts as c
        inner join sequence as s on c.sequence_id = s.sequence_id
        left join step on c.sequence_id = step.sequence_id and c.sequence_stepid = step.id
        where
            c.status = 'active'
            and c.next_trigger_time <= :'now'::timestamptz
    ) as judged
    where judged.last_error is distinct from judged.reason and judged.reason is not null
    limit :'most'::integer
)

update sequence_contacts as sc
set last_error = wrong.reason
from wrong
where
    sc.contact_phone = wrong.contact_phone
    and sc.id = wrong.id
    and sc.status = 'active'
    and sc.last_error is not distinct from wrong.last_error;
