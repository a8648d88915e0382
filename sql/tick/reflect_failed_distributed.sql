-- Show on the step's row that its message will never be sent, on Citus
--
-- Parameters:
--   now     timestamptz  the instant of the transaction
--   within  interval     age of the messages that are looked at
--   only    uuid[]       only the messages of these ids; empty: all
--   failed  text[]       values of broadcast_messages.status of a message that will never be sent
--   most    integer      contacts, at most
-- Locks: the contacts it changes; it waits for those somebody else has locked
\if :{?now} \else \set now 'now' \endif
\if :{?within} \else \set within '7 days' \endif
\if :{?only} \else \set only '{}' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?most} \else \set most '10000' \endif
-- As in tick/lock_distributed.sql: else another tick that waits for one row keeps this one from all of them.
select set_config('citus.enable_deadlock_prevention', 'off', true) as deadlock_prevention;

with failed as materialized (
    select
        x.id,
        x.contact_phone,
        coalesce(
            nullif(btrim(m.error_message), ''),
            'the broadcast worker gave no reason' || case when m.status <> 'failed' then ': ' || m.status else '' end
        ) as error
    from broadcast_messages as m
    inner join sequence_contacts as x on m.recipient_phone = x.contact_phone
    where
        x.sequence_id = m.sequence_id
        and x.sequence_stepid = m.sequence_stepid
        and x.status = 'completed'
        and m.id = md5('seqdev message ' || x.id)::uuid
        and m.status = any(:'failed'::text [])
        -- As the index has it.
        and m.status not in ('pending', 'queued', 'processing', 'sent', 'delivered', 'read')
        and m.sequence_stepid is not null
        and (:'only'::uuid [] = '{}' or m.id = any(:'only'::uuid []))
        and m.created_at > :'now'::timestamptz - :'within'::interval
    limit :'most'::integer
)

update sequence_contacts as sc
set
    status = 'failed',
    last_error = failed.error,
    retry_count = coalesce(sc.retry_count, 0) + 1
from failed
where sc.contact_phone = failed.contact_phone and sc.id = failed.id and sc.status = 'completed';
