-- Enter in the journal what a run did
--
-- Parameters:
--   id      uuid         the run
--   counts  jsonb        what it did
--   now     timestamptz  the instant of the transaction
-- Locks: the row of the run
\if :{?id} \else \set id '00000000-0000-0000-0000-000000000000' \endif
\if :{?counts} \else \set counts '{}' \endif
\if :{?now} \else \set now 'now' \endif
update seqdev.run
set finished_at = :'now'::timestamptz, counts = :'counts'::jsonb
where id = :'id'::uuid;
