-- Show failed sends of the broadcast worker on the step's row
--
-- Parameters:
--   now     timestamptz  the instant of the transaction
--   within  interval     age of the messages that are looked at
--   most    integer      contacts, at most
-- Locks: the contacts it changes; those somebody else has locked are left for the next run
\if :{?now} \else \set now 'now' \endif
\if :{?within} \else \set within '7 days' \endif
\if :{?most} \else \set most '10000' \endif
update sequence_contacts as sc
set
    status = 'failed',
    last_error = coalesce(nullif(btrim(failed.error_message), ''), 'the broadcast worker gave no reason'),
    retry_count = coalesce(sc.retry_count, 0) + 1
from (
    select
        c.id,
        m.error_message
    from broadcast_messages as m
    inner join sequence_contacts as c
        on
            m.sequence_id = c.sequence_id
            and m.recipient_phone = c.contact_phone
            and m.sequence_stepid = c.sequence_stepid
    where
        m.status = 'failed'
        and m.sequence_stepid is not null
        and m.created_at > :'now'::timestamptz - :'within'::interval
        and c.status = 'completed'
        and m.id = md5('seqdev message ' || c.id)::uuid
    limit :'most'::integer
    for update of c skip locked
) as failed
where sc.id = failed.id and sc.status = 'completed';
