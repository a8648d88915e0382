-- Messages of each device that take its room: sent in the last 24 hours, or in its queue
--
-- Counted as gates/devices.sql counts them. Instants are ticks from now: an instant counts from the next tick on.
--
-- Parameters:
--   users    uuid[]       only devices of these users; empty: of all
--   now      timestamptz  the instant of the forecast
--   hours    integer      how far to look
--   every    interval     time from tick to tick
--   failed   text[]       values of broadcast_messages.status of a message that will never be sent
--   replied  uuid[]       messages to people who have written back: they are cancelled
-- Row:
--   device_id  uuid       a device that has some
--   sents      integer[]  when those were sent that are
--   queueds    integer[]  when the others are to leave; 0: now
-- Locks: none
\if :{?users} \else \set users '{}' \endif
\if :{?now} \else \set now 'now' \endif
\if :{?hours} \else \set hours '336' \endif
\if :{?every} \else \set every '1 minute' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?replied} \else \set replied '{}' \endif
select
    m.device_id,
    coalesce(
        array_agg(ceil(extract(epoch from m.at - :'now'::timestamptz) / extract(epoch from :'every'::interval))::integer)
        filter (where not m.is_queued), '{}'
    ) as sents,
    coalesce(
        array_agg(ceil(extract(epoch from m.at - :'now'::timestamptz) / extract(epoch from :'every'::interval))::integer)
        filter (where m.is_queued), '{}'
    ) as queueds
from (
    select
        m.recipient_phone,
        m.device_id,
        case
            when
                m.scheduled_at is null
                or m.scheduled_at <= :'now'::timestamptz
                or m.scheduled_at <= m.created_at
                then :'now'::timestamptz
            else m.scheduled_at::timestamptz
        end as at,
        true as is_queued
    from user_devices as d
    inner join broadcast_messages as m on d.id = m.device_id
    where
        (:'users'::uuid [] = '{}' or d.user_id = any(:'users'::uuid []))
        and m.status in ('pending', 'queued', 'processing')
        and (
            m.scheduled_at is null
            or m.scheduled_at < :'now'::timestamptz + :'hours'::integer * interval '1 hour'
            or m.scheduled_at <= m.created_at
        )
        and m.id not in (select r.id from unnest(:'replied'::uuid []) as r (id))
    union all
    select
        m.recipient_phone,
        m.device_id,
        least(m.sent_at::timestamptz, :'now'::timestamptz) as at,
        false as is_queued
    from user_devices as d
    inner join broadcast_messages as m on d.id = m.device_id
    where
        (:'users'::uuid [] = '{}' or d.user_id = any(:'users'::uuid []))
        and m.sent_at > :'now'::timestamptz - interval '24 hours'
        and m.status not in ('pending', 'queued', 'processing', 'failed')
        and m.status <> all(:'failed'::text [])
) as m
group by m.device_id;
