-- Give contacts their step: sequence_stepid from current_step, where it is empty
--
-- For rows from the time when a person had one row a sequence. The step is the one whose day is
-- current_step (of several, the one named by current_trigger), else the one that current_trigger names.
-- Contacts for which there is none stay as they are.
--
-- Parameters:
--   batch  integer  contacts a run; run it until it touches none
-- Locks: the rows it changes
\if :{?batch} \else \set batch '10000' \endif
update sequence_contacts as sc
set sequence_stepid = found.step_id
from (
    select
        c.id,
        s.step_id
    from sequence_contacts as c
    cross join lateral (
        select st.id as step_id
        from sequence_steps as st
        where
            st.sequence_id = c.sequence_id
            and (st.day_number = c.current_step or st.trigger = c.current_trigger)
        order by
            st.day_number = c.current_step desc nulls last,
            st.trigger = c.current_trigger desc nulls last,
            st.id
        limit 1
    ) as s
    where c.sequence_stepid is null
    limit :'batch'::integer
) as found
where sc.id = found.id and sc.sequence_stepid is null;
