-- The last 60 minutes, one by one: ticks, and what was sent and failed
--
-- A minute is 60 seconds back from now, not one of the clock. Nobody writes when a message failed: it counts in the
-- minute in which it was to be sent.
--
-- Parameters:
--   now     timestamptz  the instant of the transaction
--   user    uuid         only messages of this user; ticks are everybody's
--   failed  text[]       values of broadcast_messages.status of a message that will never be sent
-- Row:
--   ago     integer  minutes back from now, 0 to 59; the longest ago first
--   ticks   integer  ticks that ended in it with their work done
--   broken  integer  ticks begun in it that did not: paused, stopped, failed, cut off
--   sent    integer  messages sent
--   failed  integer  messages that failed
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?user} \else \set user '' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
with sent as materialized (
    select
        floor(extract(epoch from :'now'::timestamptz - m.sent_at::timestamptz) / 60)::integer as ago,
        count(*)::integer as number
    from user_devices as d
    cross join lateral (
        select own.sent_at
        from broadcast_messages as own
        where
            own.device_id = d.id
            and own.sent_at > :'now'::timestamptz - interval '60 minutes'
            and own.sent_at <= :'now'::timestamptz
            and own.status not in ('pending', 'queued', 'processing', 'failed')
            and own.status <> all(:'failed'::text [])
    ) as m
    where nullif(:'user', '')::uuid is null or d.user_id = nullif(:'user', '')::uuid
    group by ago
),

failed as materialized (
    select
        floor(extract(epoch from :'now'::timestamptz - m.at) / 60)::integer as ago,
        count(*)::integer as number
    from (
        select greatest(own.created_at, own.scheduled_at, own.sent_at)::timestamptz as at
        from broadcast_messages as own
        where
            own.created_at > :'now'::timestamptz - interval '25 hours'
            and own.sequence_stepid is not null
            and own.status not in ('pending', 'queued', 'processing', 'sent', 'delivered', 'read')
            and own.status = any(:'failed'::text [])
            and (nullif(:'user', '')::uuid is null or own.user_id = nullif(:'user', '')::uuid)
    ) as m
    where m.at > :'now'::timestamptz - interval '60 minutes' and m.at <= :'now'::timestamptz
    group by ago
),

run as materialized (
    select
        -- As in sql/journal/list.sql.
        r.finished_at is not null and (r.exit_code is null or r.exit_code in (0, 3, 141)) as is_done,
        floor(extract(epoch from :'now'::timestamptz - coalesce(r.finished_at, r.started_at)) / 60)::integer as ago
    from seqdev.run as r
    where
        r.command = 'tick'
        and r.started_at > :'now'::timestamptz - interval '25 hours'
        and coalesce(r.finished_at, r.started_at) > :'now'::timestamptz - interval '60 minutes'
        -- What has begun just now may be under way.
        and (r.finished_at is not null or r.started_at < :'now'::timestamptz - interval '10 minutes')
),

ticked as materialized (
    select
        r.ago,
        (count(*) filter (where r.is_done))::integer as ticks,
        (count(*) filter (where not r.is_done))::integer as broken
    from run as r
    group by r.ago
)

select
    minute.ago,
    coalesce(ticked.ticks, 0) as ticks,
    coalesce(ticked.broken, 0) as broken,
    coalesce(sent.number, 0) as sent,
    coalesce(failed.number, 0) as failed
from generate_series(0, 59) as minute (ago)
left join ticked on minute.ago = ticked.ago
left join sent on minute.ago = sent.ago
left join failed on minute.ago = failed.ago
order by minute.ago desc;
