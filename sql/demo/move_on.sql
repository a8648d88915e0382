-- Move time on, by moving everything that happened into the past
--
-- The clock of the database stays what it is: nothing else decides what is due.
--
-- Parameters:
--   by  interval  how far
-- Locks: every contact and message
\if :{?by} \else \set by '1 day' \endif
with moved as (
    update sequence_contacts
    set
        next_trigger_time = next_trigger_time - :'by'::interval,
        completed_at = completed_at - :'by'::interval
)

update broadcast_messages
set
    scheduled_at = scheduled_at - :'by'::interval,
    sent_at = sent_at - :'by'::interval,
    created_at = created_at - :'by'::interval;
