-- Write on due contacts that can never be sent what is wrong with them
--
-- They stay active, and go on as soon as the data is put right; last_error says what to put right.
--
-- Parameters:
--   now           timestamptz  the instant of the transaction
--   most          integer      contacts, at most
--   without_lead  boolean      people without a lead of the sequence's user are due, too
-- Gates: gates/steps.sql
-- Locks: the contacts it changes; those somebody else has locked are left for the next run
\if :{?now} \else \set now 'now' \endif
\if :{?most} \else \set most '10000' \endif
\if :{?without_lead} \else \set without_lead 'false' \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
with step as materialized (
    select s.*
    from unnest(:'step_users'::uuid [], :'step_sequences'::uuid [], :'steps'::uuid [], :'step_reasons'::text [])
        as s (user_id, sequence_id, id, reason)
)

update sequence_contacts as sc
set last_error = wrong.reason
from (
    select
        c.id,
        why.reason
    from sequence_contacts as c
    inner join step as s on c.sequence_id = s.sequence_id and s.id is null
    left join step on c.sequence_id = step.sequence_id and c.sequence_stepid = step.id
    cross join lateral (
        select
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
    ) as why
    where
        c.status = 'active'
        and c.next_trigger_time <= :'now'::timestamptz
        and s.reason is distinct from 'sequence_inactive'
        and c.last_error is distinct from why.reason
        and why.reason is not null
    limit :'most'::integer
    for update of c skip locked
) as wrong
-- By key alone: that it is active was judged under the lock.
where sc.id = wrong.id;
