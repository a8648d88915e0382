-- What seqdev promises, counted in the rows themselves
--
-- Row:
--   messages      integer  messages of sequences
--   twice         integer  of these: a second one for the same person and step
--   wrong_device  integer  of these: from another device than the person's own
--   other_user    integer  of these: from a device of another user
-- Locks: none
select
    count(*)::integer as messages,
    (count(*) - count(distinct m.sequence_stepid || ' ' || m.recipient_phone))::integer as twice,
    count(*) filter (where m.device_id is distinct from l.device_id)::integer as wrong_device,
    count(*) filter (where m.user_id is distinct from d.user_id)::integer as other_user
from broadcast_messages as m
inner join user_devices as d on m.device_id = d.id
left join leads as l on m.user_id = l.user_id and m.recipient_phone = l.phone
where m.sequence_id is not null;
