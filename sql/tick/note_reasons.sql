-- Write on due contacts that can never be sent what is wrong with them
--
-- They stay active, and go on as soon as the data is put right; last_error says what to put right.
--
-- Parameters:
--   now     timestamptz  the instant of the transaction
--   active  text[]       values of sequences.status that count as active
--   most    integer      contacts, at most
-- Locks: the contacts it changes; those somebody else has locked are left for the next run
\if :{?now} \else \set now 'now' \endif
\if :{?active} \else \set active '{active}' \endif
\if :{?most} \else \set most '10000' \endif
update sequence_contacts as sc
set last_error = wrong.reason
from (
    select
        c.id,
        why.reason
    from sequence_contacts as c
    inner join sequences as s on c.sequence_id = s.id
    cross join lateral (
        select
            case
                when c.contact_phone is null or c.contact_phone !~ '\S'
                    then 'waits: bad_phone: contact_phone is empty'
                when ((c.sequence_id, c.sequence_stepid) in (
                    select
                        st.sequence_id,
                        st.id
                    from sequence_steps as st
                )) is not true
                    then 'waits: step_missing: sequence_stepid names no step of the sequence'
                when c.sequence_stepid in (
                    select st.id
                    from sequence_steps as st
                    where not (coalesce(st.content ~ '\S', false) or coalesce(st.media_url ~ '\S', false))
                )
                    then 'waits: no_content: the step has neither content nor media_url'
            end as reason
    ) as why
    where
        c.status = 'active'
        and c.next_trigger_time <= :'now'::timestamptz
        and s.is_active
        and s.status = any(:'active'::text [])
        and c.last_error is distinct from why.reason
        and why.reason is not null
    limit :'most'::integer
    for update of c skip locked
) as wrong
-- By key alone: that it is active was judged under the lock.
where sc.id = wrong.id;
