-- How many people of an import are blocked
--
-- They become leads all the same, and nobody enrols them.
--
-- Needs:
--   leads/stage.sql
--   leads/outcome.sql
-- Parameters:
--   user  uuid  whose leads they are
-- Gates: gates/blocked.sql
-- Row:
--   people  bigint  people
-- Locks: none
\if :{?user} \else \set user '00000000-0000-0000-0000-000000000000' \endif
\if :{?blocked_digits} \else \ir ../gates/blocked.sql \endif
select count(distinct s.phone) as people
from pg_temp.lead_outcome as o
inner join pg_temp.lead_line as s on o.line = s.line
where
    not o.rejected
    and s.phone in (
        select b.digits
        from unnest(:'blocked_digits'::text [], :'blocked_users'::uuid []) as b (digits, user_id)
        where b.user_id is null or b.user_id = :'user'::uuid
    );
