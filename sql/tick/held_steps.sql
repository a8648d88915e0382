-- The reasons of the steps' gate, with the steps closed that another session holds, or that would go unread
--
-- A row that is locked holds back all that depend on it: what is sent for a step names the step, its sequence and
-- its user. People who leave a sequence when they write back get nothing of it while nobody can read what they write.
--
-- Parameters:
--   held    uuid[]  users, sequences and steps that are held
--   unread  uuid[]  sequences that people leave when they write back, where that cannot be read
-- Gates: gates/steps.sql
-- Row:
--   step_reasons  text  text[]: as the gate has it, and replies_unread, locked_by_other
-- Locks: none
\if :{?held} \else \set held '{}' \endif
\if :{?unread} \else \set unread '{}' \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
select
    coalesce(array_agg(
        case
            when s.reason is not null or s.id is null then s.reason
            when s.sequence_id = any(:'unread'::uuid []) then 'replies_unread'
            when s.user_id = any(:'held'::uuid []) then 'locked_by_other'
            when s.sequence_id = any(:'held'::uuid []) then 'locked_by_other'
            when s.id = any(:'held'::uuid []) then 'locked_by_other'
        end
        order by s.place
    ), '{}')::text as step_reasons
from unnest(:'step_users'::uuid [], :'step_sequences'::uuid [], :'steps'::uuid [], :'step_reasons'::text [])
    with ordinality as s (user_id, sequence_id, id, reason, place);
