-- Enter a run in the journal
--
-- Parameters:
--   id       uuid         the run
--   command  text         what was run
--   version  text         of seqdev
--   now      timestamptz  the instant of the transaction
-- Locks: none
\if :{?id} \else \set id '00000000-0000-0000-0000-000000000000' \endif
\if :{?command} \else \set command 'psql' \endif
\if :{?version} \else \set version '' \endif
\if :{?now} \else \set now 'now' \endif
insert into seqdev.run (id, command, started_at, version)
values (:'id'::uuid, :'command'::text, :'now'::timestamptz, :'version'::text)
-- Entered by the try before, whose answer to the commit was lost.
on conflict (id) do nothing;
