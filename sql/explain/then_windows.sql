-- Whether steps were open by their hours at an instant, and when they opened next
--
-- Gates: gates/windows.sql, at that instant, ahead for the sequences
-- Row:
--   step_id   uuid         a step that has hours
--   open      boolean      whether it was open
--   opens_at  timestamptz  when it opened next, where it was shut; null: nobody knows
--   hours     text         its hours in words, and whose rules they are
-- Locks: none
\if :{?timed_steps} \else \ir ../gates/windows.sql \endif
select
    t.step_id,
    not t.step_id = any(:'shut_steps'::uuid []) as open,
    t.opens_at,
    t.hours
from unnest(:'timed_steps'::uuid [], :'timed_opens'::timestamptz [], :'timed_words'::text [])
    as t (step_id, opens_at, hours);
