-- Failed sends of the broadcast worker that the step's row does not show yet
--
-- Asked when the database has refused to have them shown: reflect_failed.sql is then run for a part of them at a
-- time, until the one that is refused stands alone.
--
-- Parameters:
--   now     timestamptz  the instant of the transaction
--   within  interval     age of the messages that are looked at
--   failed  text[]       values of broadcast_messages.status of a message that will never be sent
--   most    integer      messages, at most
-- Row:
--   message_id  uuid  a message
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?within} \else \set within '7 days' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?most} \else \set most '10000' \endif
select m.id as message_id
from broadcast_messages as m
cross join lateral (
    select true as is_there
    from sequence_contacts as x
    where
        x.sequence_id = m.sequence_id
        and x.contact_phone = m.recipient_phone
        and x.sequence_stepid = m.sequence_stepid
        and x.status = 'completed'
        and m.id = md5('seqdev message ' || x.id)::uuid
    limit 1
) as c
where
    m.status = any(:'failed'::text [])
    -- As the index has it.
    and m.status not in ('pending', 'queued', 'processing', 'sent', 'delivered', 'read')
    and m.sequence_stepid is not null
    and m.created_at > :'now'::timestamptz - :'within'::interval
limit :'most'::integer;
