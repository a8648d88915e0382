-- The rules that are set: for all, a user, a sequence or a device
--
-- Of a rule's rows the most specific stands first: the one that decides for whom is asked about.
--
-- Parameters:
--   name      text  only this rule; empty: all
--   narrowed  boolean  only those for all, and for these three; else for everybody
--   device    uuid  a device
--   user      uuid  a user
--   sequence  uuid  a sequence
-- Row:
--   name        text  the rule
--   scope       text  for whom it is set: all, user, sequence, device
--   scope_id    uuid  which user, sequence or device; null for all
--   scope_name  text  the name of that sequence or device
--   value       text  what is set
-- Locks: none
\if :{?name} \else \set name '' \endif
\if :{?narrowed} \else \set narrowed 'false' \endif
\if :{?device} \else \set device '' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
select
    r.name,
    r.scope,
    r.scope_id,
    coalesce(d.device_name, s.name, left(coalesce(d.id, s.id)::text, 0))::text as scope_name,
    r.value
from seqdev.rule as r
left join user_devices as d on r.scope = 'device' and r.scope_id = d.id
left join sequences as s on r.scope = 'sequence' and r.scope_id = s.id
where
    r.value is not null
    and (:'name'::text = '' or r.name = :'name'::text)
    and (
        not :'narrowed'::boolean
        or r.scope = 'all'
        or r.scope = 'device' and r.scope_id = nullif(:'device', '')::uuid
        or r.scope = 'sequence' and r.scope_id = nullif(:'sequence', '')::uuid
        or r.scope = 'user' and r.scope_id = nullif(:'user', '')::uuid
    )
order by r.name, array_position('{device,sequence,user,all}', r.scope), scope_name, r.scope_id;
