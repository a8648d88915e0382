-- The rules that hold for all, and which policies users have of their own
--
-- What else is set for a user or a device alone is not among them: the gates read it.
--
-- Row:
--   rules     jsonb   the value of each rule that is set for all, by name
--   policies  text[]  policies that are set for a user, each of them once
--   returns   boolean  whether people of anybody go back to their own device: the rule return_home
-- Locks: none
select
    coalesce(jsonb_object_agg(r.name, r.value) filter (where r.scope = 'all'), '{}') as rules,
    coalesce(array_agg(distinct r.value) filter (where r.scope = 'user' and r.name = 'policy'), '{}') as policies,
    coalesce(bool_or(r.name = 'return_home' and r.value = 'true'), false) as returns
from seqdev.rule as r
where r.value is not null and (r.scope = 'all' or r.scope = 'user' and r.name in ('policy', 'return_home'));
