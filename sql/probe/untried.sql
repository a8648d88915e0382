-- Steps at which contacts stand and to which no person of a probe has come
--
-- No step leads to them from where their sequence is entered. Those that are not sent for another reason are not counted.
--
-- Parameters:
--   tried    uuid[]  the steps that were tried
--   without  uuid[]  sequences that are not asked about: the probe was refused there before it came to their steps
-- Gates: gates/steps.sql
-- Row:
--   steps     integer  such steps
--   contacts  integer  active contacts at them
-- Locks: none
\if :{?tried} \else \set tried '{}' \endif
\if :{?without} \else \set without '{}' \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
select
    count(distinct sc.sequence_stepid)::integer as steps,
    count(*)::integer as contacts
from sequence_contacts as sc
where
    sc.status = 'active'
    and sc.sequence_id <> all(:'without'::uuid [])
    and sc.sequence_stepid in (
        select step.id
        from unnest(:'steps'::uuid [], :'step_reasons'::text []) as step (id, reason)
        where step.reason is null and step.id <> all(:'tried'::uuid [])
    );
