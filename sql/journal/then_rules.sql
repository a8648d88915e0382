-- Which rules held at an instant for somebody's user, sequences and devices: by the journal of the rules, backwards
--
-- A rule as it was then has the old value of its first change since. Not known is what the journal never had, or what is
-- not what the last change before has left: somebody has set it by another way.
--
-- Parameters:
--   at   timestamptz  the instant
--   ids  uuid[]       of the users, sequences and devices, besides the rules for all; empty: of every one
-- Row:
--   name        text         the rule
--   scope       text         for whom: all, user, sequence, device
--   scope_id    uuid         which user, sequence or device; null for all
--   scope_name  text         what that sequence or device is called now
--   value       text         of then; null: it was not set, or is not known
--   is_known    boolean      whether the journal tells what was set
--   is_on       boolean      whether it was set; of paused: and not over by itself; null: not known
--   value_now   text         of now; null: it is not set
--   changed_at  timestamptz  its first change since; null: none
-- Locks: none
\if :{?at} \else \set at 'now' \endif
\if :{?ids} \else \set ids '' \endif
select
    r.name,
    r.scope,
    r.scope_id,
    coalesce(d.device_name, s.name, left(coalesce(d.id, s.id)::text, 0))::text as scope_name,
    held.value,
    held.is_known,
    case
        when held.is_known
            then held.value is not null and (
                r.name <> 'paused'
                or coalesce(kept.ends > to_char(:'at'::timestamptz at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), true)
            )
    end as is_on,
    r.value as value_now,
    later.changed_at
from seqdev.rule as r
left join lateral (
    select
        ch.old_value,
        ch.changed_at
    from seqdev.change as ch
    where ch.row_id = r.id and ch.table_name = 'rule' and ch.changed_at > :'at'::timestamptz
    order by ch.id
    limit 1
) as later on true
left join lateral (
    select
        ch.new_value,
        true as is_there
    from seqdev.change as ch
    where ch.row_id = r.id and ch.table_name = 'rule' and ch.changed_at <= :'at'::timestamptz
    order by ch.id desc
    limit 1
) as earlier on true
cross join lateral (
    select case when later.changed_at is null then r.value else later.old_value end as value
) as was
cross join lateral (
    select
        case
            when earlier.is_there then (earlier.new_value is not distinct from was.value)
            -- Made by its first change: before, it was not there.
            else later.changed_at is not null and was.value is null
        end as is_known
) as told
cross join lateral (
    select
        told.is_known,
        case when told.is_known then was.value end as value
) as held
cross join lateral (
    -- ends: as in gates/steps.sql
    select
        substring(
            held.value from
            '^until ([0-9]{4}-(?:0[1-9]|1[0-2])-(?:[0-2][0-9]|3[01])T(?:[01][0-9]|2[0-3])(?::[0-5][0-9]){2}Z)'
        ) as ends
) as kept
left join user_devices as d on r.scope = 'device' and r.scope_id = d.id
left join sequences as s on r.scope = 'sequence' and r.scope_id = s.id
where
    (r.scope = 'all' or nullif(:'ids', '') is null or r.scope_id = any(nullif(:'ids', '')::uuid []))
    and (held.value is not null or not held.is_known or r.value is not null)
order by r.name, array_position('{device,sequence,user,all}', r.scope), scope_name, r.scope_id;
