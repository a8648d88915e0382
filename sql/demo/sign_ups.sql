-- People who signed up on the host's web site, which names no device for them
--
-- Parameters:
--   user  uuid     whose leads they become
--   most  integer  how many
-- Locks: none that anybody waits for; new rows
\if :{?user} \else \set user 'a11ce000-0000-4000-8000-000000000001' \endif
\if :{?most} \else \set most '0' \endif
insert into leads (user_id, phone, name, niche, trigger)
select
    :'user'::uuid,
    '12025550' || 150 + n,
    'Visitor ' || n,
    'tea',
    'WARM'
from generate_series(1, :'most'::integer) as n;
