-- People who are taken to be enrolled now: at which step, on which device
--
-- They are spread over the devices by the leads of each; of a user without leads, evenly.
--
-- Parameters:
--   enroll_sequences  uuid[]     sequences that people are enrolled in
--   enroll_people     integer[]  how many, in each of them
-- Gates: gates/steps.sql
-- Row:
--   user_id    uuid     the user
--   device_id  uuid     the device
--   place      integer  the place of the step in the arrays of gates/steps.sql
--   contacts   integer  how many people
-- Locks: none
\if :{?enroll_sequences} \else \set enroll_sequences '{}' \endif
\if :{?enroll_people} \else \set enroll_people '{}' \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
with entered as materialized (
    select distinct on (asked.place)
        asked.place as number,
        asked.people,
        s.user_id,
        s.place::integer as place
    from unnest(:'enroll_sequences'::uuid [], :'enroll_people'::integer []) with ordinality
        as asked (sequence_id, people, place)
    inner join unnest(:'step_users'::uuid [], :'step_sequences'::uuid [], :'steps'::uuid [], :'entry_triggers'::text [])
        with ordinality as s (user_id, sequence_id, id, entry_trigger, place)
        on asked.sequence_id = s.sequence_id
    inner join sequence_steps as st on s.id = st.id
    where s.entry_trigger is not null
    order by asked.place, st.day_number, st.id
),

share as materialized (
    select
        e.number,
        candidate.device_id,
        sum(candidate.weight) over (partition by e.number order by candidate.device_id) as up_to,
        candidate.weight,
        sum(candidate.weight) over (partition by e.number) as total
    from entered as e
    cross join lateral (
        select
            d.id as device_id,
            1 + 1000000 * count(l.device_id) as weight
        from user_devices as d
        left join leads as l on d.id = l.device_id and d.user_id = l.user_id
        where d.user_id = e.user_id
        group by d.id
    ) as candidate
)

select
    e.user_id,
    share.device_id,
    e.place,
    (
        round(e.people * share.up_to / share.total) - round(e.people * (share.up_to - share.weight) / share.total)
    )::integer as contacts
from entered as e
inner join share on e.number = share.number;
