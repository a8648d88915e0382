-- Rows that a run has in its journal
--
-- Asked when a chunk finds rows that are not what the plan expects: a commit whose answer was lost may have
-- been this very chunk's.
--
-- Parameters:
--   run   uuid    the run
--   rows  uuid[]  the rows in question
-- Row:
--   row_id  uuid  a row that the run has changed
-- Locks: none
\if :{?run} \else \set run '00000000-0000-0000-0000-000000000000' \endif
\if :{?rows} \else \set rows '{}' \endif
select distinct ch.row_id
from seqdev.change as ch
where ch.run_id = :'run'::uuid and ch.row_id = any(:'rows'::uuid []);
