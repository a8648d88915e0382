-- The sequences an enrolment is about, and whether anybody can enter them
--
-- Parameters:
--   sequences  uuid[]  these; empty: every active one
--   user       uuid    only sequences of this user
--   active     text[]  values of sequences.status that count as active
-- Row:
--   id             uuid     the sequence
--   name           text     its name
--   is_active      boolean  whether it is active
--   entry_steps    integer  steps that people enter by
-- Locks: none
\if :{?sequences} \else \set sequences '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?active} \else \set active '{active}' \endif
select
    s.id,
    s.name::text as name,
    coalesce(s.is_active and s.status = any(:'active'::text []), false) as is_active,
    (
        select count(*)
        from sequence_steps as st
        where st.sequence_id = s.id and st.is_entry_point and st.trigger ~ '\S'
    )::integer as entry_steps
from sequences as s
where
    (nullif(:'user', '')::uuid is null or s.user_id = nullif(:'user', '')::uuid)
    and case
        when :'sequences'::uuid [] = '{}' then s.is_active and s.status = any(:'active'::text [])
        else s.id = any(:'sequences'::uuid [])
    end
order by s.name, s.id;
