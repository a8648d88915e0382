-- Which sequences people leave when they write back, and where the host keeps what they write
--
-- Of the rule stop_on_reply the most specific holds: the sequence's, its user's, that for all. The table of what is
-- written is asked of the catalogues: hosts lack it, or parts of it, and count its instants in two ways.
--
-- Parameters:
--   stop_on_reply  boolean  whether they do, where no rule is set for a sequence or its user
-- Row:
--   sequences  uuid[]       sequences that people leave
--   kind       text         instant, or epoch: what whatsapp_messages.timestamp holds; null: there is no such table
--   readable   boolean      whether this role may read that table
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
),

stored as materialized (
    select
        case
            when count(*) filter (where a.attname in ('chat_jid', 'device_id')) = 2
                then max(
                    case
                        when a.attname <> 'timestamp' then null
                        when t.typname in ('timestamp', 'timestamptz') then 'instant'
                        when t.typname in ('int8', 'int4', 'numeric') then 'epoch'
                    end
                )
        end as kind,
        coalesce(bool_and(has_table_privilege(c.oid, 'select')), false) as is_readable
    from pg_class as c
    inner join pg_attribute as a on c.oid = a.attrelid and a.attnum > 0 and not a.attisdropped
    inner join pg_type as t on a.atttypid = t.oid
    where c.oid = to_regclass('whatsapp_messages') and c.relkind in ('r', 'p')
)

select
    stops.sequences,
    stored.kind,
    stored.is_readable as readable,
    ticked.looked_at
from stops
cross join stored
left join lateral (
    select r.started_at as looked_at
    from seqdev.run as r
    where stops.sequences <> '{}' and r.command = 'tick' and r.counts ->> 'replied' is not null
    order by r.started_at desc
    limit 1
) as ticked on true;
