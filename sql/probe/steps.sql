-- Steps of active sequences that no tick sends
--
-- Contacts may still come to them: those who wait there already are counted elsewhere.
--
-- Gates: gates/steps.sql
-- Row:
--   reason  text     why not
--   steps   integer  how many
-- Locks: none
\if :{?steps} \else \ir ../gates/steps.sql \endif
select
    step.reason,
    count(*)::integer as steps
from unnest(:'steps'::uuid [], :'step_reasons'::text []) as step (id, reason)
where step.id is not null and step.reason <> 'sequence_inactive'
group by step.reason
order by step.reason;
