-- The sequences an enrolment is about, and whether anybody can enter them
--
-- Parameters:
--   sequences  uuid[]  these; empty: every active one
--   user       uuid    only sequences of this user
-- Gates: gates/steps.sql
-- Row:
--   id             uuid     the sequence
--   name           text     its name
--   is_active      boolean  whether it is active
--   entry_steps    integer  steps that people enter by
-- Locks: none
\if :{?sequences} \else \set sequences '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
select
    s.id,
    s.name::text as name,
    s.id = any(:'active_sequences'::uuid []) as is_active,
    coalesce(entry.steps, 0)::integer as entry_steps
from sequences as s
left join (
    select
        e.sequence_id,
        count(e.trigger) as steps
    from unnest(:'step_sequences'::uuid [], :'entry_triggers'::text []) as e (sequence_id, trigger)
    group by e.sequence_id
) as entry on s.id = entry.sequence_id
where
    (nullif(:'user', '')::uuid is null or s.user_id = nullif(:'user', '')::uuid)
    and case
        when :'sequences'::uuid [] = '{}' then s.id = any(:'active_sequences'::uuid [])
        else s.id = any(:'sequences'::uuid [])
    end
order by s.name, s.id;
