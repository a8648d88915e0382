-- Leads by user and trigger list
--
-- Row:
--   user_id  uuid     whose they are
--   trigger  text     their trigger list
--   leads    integer  how many carry it
-- Locks: none
select
    l.user_id,
    l.trigger::text as trigger,
    count(*)::integer as leads
from leads as l
group by l.user_id, l.trigger
order by l.user_id, l.trigger;
