-- Show on the step's row that its message, which had failed, was queued again and sent
--
-- Parameters:
--   now     timestamptz  the instant of the transaction
--   within  interval     age of the steps that are looked at
--   sent    text[]       values of broadcast_messages.status of a message that was sent
--   most    integer      contacts, at most
-- Locks: the contacts it changes; those somebody else has locked are left for the next run
\if :{?now} \else \set now 'now' \endif
\if :{?within} \else \set within '7 days' \endif
\if :{?sent} \else \set sent '{sent,delivered,read}' \endif
\if :{?most} \else \set most '10000' \endif
update sequence_contacts as sc
set
    status = 'completed',
    last_error = null
from (
    select c.id
    from sequence_contacts as c
    where
        c.status = 'failed'
        and c.completed_at > :'now'::timestamptz - :'within'::interval
        and (
            select m.status = any(:'sent'::text [])
            from broadcast_messages as m
            where m.id = md5('seqdev message ' || c.id)::uuid
        )
    limit :'most'::integer
    for update of c skip locked
) as again
-- By key alone: that it is failed was judged under the lock.
where sc.id = again.id;
