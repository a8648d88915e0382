-- The leads of a batch of an enrolment
--
-- Asked when the database has refused the batch: apply.sql is then run for a part of them at a time, until the
-- lead that is refused stands alone.
--
-- Parameters:
--   after      uuid     the last lead of the batch before
--   batch      integer  leads to look at
--   user       uuid     only leads of this user
--   device     uuid     only leads that this device owns
--   leads      uuid[]   only these leads; empty: all
-- Row:
--   lead_id  uuid  a lead
-- Locks: none
\if :{?after} \else \set after '00000000-0000-0000-0000-000000000000' \endif
\if :{?batch} \else \set batch '10000' \endif
\if :{?user} \else \set user '' \endif
\if :{?device} \else \set device '' \endif
\if :{?leads} \else \set leads '{}' \endif
select l.id as lead_id
from leads as l
where
    l.id > :'after'::uuid
    and (nullif(:'user', '')::uuid is null or l.user_id = nullif(:'user', '')::uuid)
    and (nullif(:'device', '')::uuid is null or l.device_id = nullif(:'device', '')::uuid)
    and (:'leads'::uuid [] = '{}' or l.id = any(:'leads'::uuid []))
order by l.id
limit :'batch'::integer;
