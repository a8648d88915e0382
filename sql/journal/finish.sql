-- Enter in the journal what a run did, and how it ended
--
-- Parameters:
--   id         uuid         the run
--   counts     jsonb        what it did
--   exit_code  integer      of the process
--   reason     text         why it ended before its work was done; empty: it did not
--   now        timestamptz  the instant of the transaction
-- Locks: the row of the run
\if :{?id} \else \set id '00000000-0000-0000-0000-000000000000' \endif
\if :{?counts} \else \set counts '{}' \endif
\if :{?exit_code} \else \set exit_code '0' \endif
\if :{?reason} \else \set reason '' \endif
\if :{?now} \else \set now 'now' \endif
update seqdev.run
set
    finished_at = :'now'::timestamptz,
    counts = :'counts'::jsonb,
    exit_code = :'exit_code'::integer,
    reason = nullif(:'reason'::text, '')
where id = :'id'::uuid;
