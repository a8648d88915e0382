-- Which sequences people leave when they write back
--
-- Of the rule stop_on_reply the most specific holds: the sequence's, its user's, that for all.
--
-- Parameters:
--   stop_on_reply  boolean  whether they do, where no rule is set for a sequence or its user
-- Row:
--   sequences  uuid[]       sequences that people leave
--   looked_at  timestamptz  when the last tick that looked at it began; null: none has, or nobody leaves
-- Locks: none
\if :{?stop_on_reply} \else \set stop_on_reply 'false' \endif
with stops as materialized (
    select coalesce(array_agg(s.id order by s.id), '{}') as sequences
    from sequences as s
    left join seqdev.rule as own
        on own.name = 'stop_on_reply' and own.scope = 'sequence' and s.id = own.scope_id
    left join seqdev.rule as owner
        on owner.name = 'stop_on_reply' and owner.scope = 'user' and s.user_id = owner.scope_id
    where
        case
            when coalesce(own.value, owner.value) is null then :'stop_on_reply'::boolean
            else lower(coalesce(own.value, owner.value)) in ('true', '1', 'yes')
        end
)

select
    stops.sequences,
    ticked.looked_at
from stops
left join lateral (
    select r.started_at as looked_at
    from seqdev.run as r
    where stops.sequences <> '{}' and r.command = 'tick' and r.counts ->> 'replied' is not null
    order by r.started_at desc
    limit 1
) as ticked on true;
