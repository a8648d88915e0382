-- Messages that wait in the queue of a device: pending, or begun by its sender
--
-- A pending message no sender has begun. Of one that is queued or processing only the sender knows whether it was sent.
--
-- Parameters:
--   device  uuid  the device
--   user    uuid  only messages of this user
-- Gates: gates/devices.sql of all devices
-- Row:
--   pending    integer  messages that no sender has begun
--   begun      integer  messages queued or processing
--   is_online  boolean  whether the device is online: its sender may begin a message at any moment
-- Locks: none
\if :{?device} \else \set device '00000000-0000-0000-0000-000000000000' \endif
\if :{?user} \else \set user '' \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'no' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with waiting as (
    select
        (count(*) filter (where m.status = 'pending'))::integer as pending,
        (count(*) filter (where m.status <> 'pending'))::integer as begun
    from broadcast_messages as m
    where
        m.device_id = :'device'::uuid
        and m.status in ('pending', 'queued', 'processing')
        and (nullif(:'user', '')::uuid is null or m.user_id = nullif(:'user', '')::uuid)
)

select
    waiting.pending,
    waiting.begun,
    coalesce(
        (
            select d.is_online
            from unnest(:'devices'::uuid [], :'is_online'::boolean []) as d (id, is_online)
            where d.id = :'device'::uuid
        ), false
    ) as is_online
from waiting;
