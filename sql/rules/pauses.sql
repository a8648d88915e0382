-- Parts that are paused: which sequence, device or user, by whom, since when, until when, and why
--
-- Also those whose end has come, until somebody resumes or pauses them anew: is_over. Whether a pause is in force is
-- decided in gates/steps.sql.
--
-- Parameters:
--   now  timestamptz  the instant of the transaction
-- Row:
--   scope       text         what is paused: sequence, device, user
--   scope_id    uuid         which
--   scope_name  text         the name of that sequence or device
--   ends        text         when it ends by itself, in UTC; null: when somebody resumes it
--   is_over     boolean      whether that instant has come
--   why         text         what for
--   value       text         as it is kept: until when, and why
--   since       timestamptz  since when; null: the journal does not say
--   paused_by   text         by whom; null: the journal does not say
-- Locks: none
\if :{?now} \else \set now 'now' \endif
select
    r.scope,
    r.scope_id,
    coalesce(d.device_name, s.name, left(coalesce(d.id, s.id)::text, 0))::text as scope_name,
    kept.ends,
    coalesce(kept.ends <= to_char(:'now'::timestamptz at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), false) as is_over,
    regexp_replace(r.value, '^until [^ ]+: ', '') as why,
    r.value,
    done.changed_at as since,
    done.os_user || '@' || done.host as paused_by
from seqdev.rule as r
cross join lateral (
    -- ends: as in gates/steps.sql
    select
        substring(
            r.value from
            '^until ([0-9]{4}-(?:0[1-9]|1[0-2])-(?:[0-2][0-9]|3[01])T(?:[01][0-9]|2[0-3])(?::[0-5][0-9]){2}Z)'
        ) as ends
) as kept
left join user_devices as d on r.scope = 'device' and r.scope_id = d.id
left join sequences as s on r.scope = 'sequence' and r.scope_id = s.id
left join lateral (
    select
        ch.changed_at,
        run.os_user,
        run.host
    from seqdev.change as ch
    left join seqdev.run as run on ch.run_id = run.id
    where ch.row_id = r.id and ch.table_name = 'rule'
    order by ch.id desc
    limit 1
) as done on true
where r.name = 'paused' and r.value is not null and r.scope in ('sequence', 'device', 'user')
order by r.scope, scope_name, r.scope_id;
