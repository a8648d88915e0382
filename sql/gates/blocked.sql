-- The phones that are never written to
--
-- The row goes on to statements that judge people: the n-th elements belong together. Empty, where nobody is blocked.
--
-- Row:
--   blocked_digits  text  text[]: the digits by which persons are compared
--   blocked_users   text  uuid[]: whose person it is; null: of every user
-- Locks: none
select
    coalesce(array_agg(b.digits order by b.digits, b.user_id), '{}')::text as blocked_digits,
    coalesce(array_agg(b.user_id order by b.digits, b.user_id), '{}')::text as blocked_users
from seqdev.blocked as b
where b.since is not null
\gset
