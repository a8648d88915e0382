-- Show on the step's row that its message, which had failed, was queued again and sent, on Citus
--
-- Parameters:
--   now     timestamptz  the instant of the transaction
--   within  interval     age of the steps that are looked at
--   sent    text[]       values of broadcast_messages.status of a message that was sent
--   most    integer      contacts, at most
-- Locks: the contacts it changes; it waits for those somebody else has locked
\if :{?now} \else \set now 'now' \endif
\if :{?within} \else \set within '7 days' \endif
\if :{?sent} \else \set sent '{sent,delivered,read}' \endif
\if :{?most} \else \set most '10000' \endif
-- As in tick/lock_distributed.sql: else another tick that waits for one row keeps this one from all of them.
select set_config('citus.enable_deadlock_prevention', 'off', true) as deadlock_prevention;

with again as materialized (
    select
        c.id,
        c.contact_phone
    from sequence_contacts as c
    inner join broadcast_messages as m on c.contact_phone = m.recipient_phone
    where
        c.status = 'failed'
        and c.completed_at > :'now'::timestamptz - :'within'::interval
        and m.id = md5('seqdev message ' || c.id)::uuid
        and m.status = any(:'sent'::text [])
    limit :'most'::integer
)

update sequence_contacts as sc
set
    status = 'completed',
    last_error = null
from again
where sc.contact_phone = again.contact_phone and sc.id = again.id and sc.status = 'failed';
