-- The rules that hold for all, and which policies users have of their own
--
-- What else is set for a user or a device alone is not among them: the gates read it.
--
-- Row:
--   rules     jsonb   the value of each rule that is set for all, by name
--   policies  text[]  policies that are set for a user, each of them once
--   narrower  text[]  names of rules that are set for a user, a sequence or a device
-- Locks: none
select
    coalesce(jsonb_object_agg(r.name, r.value) filter (where r.scope = 'all'), '{}') as rules,
    coalesce(
        array_agg(distinct r.value) filter (where r.scope = 'user' and r.name = 'policy'), '{}'
    ) as policies,
    coalesce(array_agg(distinct r.name) filter (where r.scope <> 'all'), '{}') as narrower
from seqdev.rule as r
where r.value is not null;
