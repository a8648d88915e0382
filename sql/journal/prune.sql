-- Take runs out of the journal, with all that they have changed
--
-- Which, journal/prunable.sql says, in the same transaction.
--
-- Parameters:
--   runs  uuid[]  the runs
-- Row:
--   runs     bigint  runs that are gone
--   changes  bigint  changes of theirs that are gone
-- Locks: the rows it takes out
\if :{?runs} \else \set runs '{}' \endif
with change as (
    delete from seqdev.change as ch
    where ch.run_id = any(:'runs'::uuid [])
    returning 1
),

run as (
    delete from seqdev.run as r
    where r.id = any(:'runs'::uuid [])
    returning 1
)

select
    (select count(*) from run) as runs,
    (select count(*) from change) as changes;
