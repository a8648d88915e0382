-- The phones that are never written to, the latest first
--
-- Parameters:
--   user  uuid     only those blocked for this user, or for everybody
--   most  integer  phones to return; empty: all
-- Row:
--   phone       text         the digits by which persons are compared
--   user_id     uuid         whose person it is; null: everybody's
--   since       timestamptz  since when
--   why         text         why
--   blocked_by  text         who has blocked it
--   total       integer      phones in all, listed or not
-- Locks: none
\if :{?user} \else \set user '' \endif
\if :{?most} \else \set most '20' \endif
select
    b.digits as phone,
    b.user_id,
    b.since,
    b.why,
    b.blocked_by,
    (count(*) over ())::integer as total
from seqdev.blocked as b
where
    b.since is not null
    and (nullif(:'user', '')::uuid is null or b.user_id is null or b.user_id = nullif(:'user', '')::uuid)
order by b.since desc, b.digits, b.user_id
limit nullif(:'most', '')::integer;
