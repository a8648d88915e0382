-- The policies that users have by a rule of their own
--
-- Parameters:
--   users  uuid[]  these users
-- Row:
--   user_id  uuid  the user
--   policy   text  the policy
-- Locks: none
\if :{?users} \else \set users '{}' \endif
select
    r.scope_id as user_id,
    r.value as policy
from seqdev.rule as r
where r.name = 'policy' and r.scope = 'user' and r.value is not null and r.scope_id = any(:'users'::uuid []);
