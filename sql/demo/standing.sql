-- Where everybody stands: people by sequence and step
--
-- Row:
--   sequence   text     its name
--   day        integer  day of the step
--   waiting    integer  people whose step is still to come
--   completed  integer  people whose message is in the queue or sent
--   failed     integer  people whose message the broadcast worker could not send
-- Locks: none
with stood as (
    select
        sc.sequence_stepid,
        sc.status,
        count(*) as people
    from sequence_contacts as sc
    group by sc.sequence_stepid, sc.status
)

select
    s.name::text as sequence,
    st.day_number as day,
    coalesce(sum(stood.people) filter (where stood.status = 'active'), 0)::integer as waiting,
    coalesce(sum(stood.people) filter (where stood.status = 'completed'), 0)::integer as completed,
    coalesce(sum(stood.people) filter (where stood.status = 'failed'), 0)::integer as failed
from sequences as s
inner join sequence_steps as st on s.id = st.sequence_id
left join stood on st.id = stood.sequence_stepid
group by s.name, s.id, st.day_number
order by s.name desc, s.id, st.day_number;
