-- Where everybody stands: people by sequence and step
--
-- Row:
--   sequence   text     its name
--   day        integer  day of the step
--   waiting    integer  people whose step is still to come
--   completed  integer  people whose message is in the queue or sent
--   failed     integer  people whose message the broadcast worker could not send
-- Locks: none
select
    s.name::text as sequence,
    st.day_number as day,
    count(*) filter (where sc.status = 'active')::integer as waiting,
    count(*) filter (where sc.status = 'completed')::integer as completed,
    count(*) filter (where sc.status = 'failed')::integer as failed
from sequences as s
inner join sequence_steps as st on s.id = st.sequence_id
left join sequence_contacts as sc on st.id = sc.sequence_stepid
group by s.name, s.id, st.day_number
order by s.name desc, s.id, st.day_number;
