-- Chats that devices have opened in the last 24 hours, or are about to: where they may open only so many
--
-- Counted as gates/ramps.sql counts them. Instants are ticks from now: an instant counts from the next tick on.
--
-- Parameters:
--   now      timestamptz  the instant of the forecast
--   hours    integer      how far to look
--   every    interval     time from tick to tick
--   failed   text[]       values of broadcast_messages.status of a message that will never be sent
--   choosy   uuid[]       the devices
--   replied  uuid[]       messages to people who have written back: they are cancelled
-- Row:
--   device_id  uuid       a device that has some
--   firsts     integer[]  for each person, when the first of the messages was sent, or leaves
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?hours} \else \set hours '336' \endif
\if :{?every} \else \set every '1 minute' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?choosy} \else \set choosy '{}' \endif
\if :{?replied} \else \set replied '{}' \endif
select
    person.device_id,
    array_agg(
        ceil(extract(epoch from person.at - :'now'::timestamptz) / extract(epoch from :'every'::interval))::integer
    ) as firsts
from (
    select
        d.id as device_id,
        m.recipient_phone,
        min(m.at) as at
    from unnest(:'choosy'::uuid []) as d (id)
    cross join lateral (
        select
            m.recipient_phone,
            case
                when
                    m.scheduled_at is null
                    or m.scheduled_at <= :'now'::timestamptz
                    or m.scheduled_at <= m.created_at
                    then :'now'::timestamptz
                else m.scheduled_at::timestamptz
            end as at
        from broadcast_messages as m
        where
            m.device_id = d.id
            and m.status in ('pending', 'queued', 'processing')
            and (
                m.scheduled_at is null
                or m.scheduled_at < :'now'::timestamptz + (:'hours'::integer + 24) * interval '1 hour'
                or m.scheduled_at <= m.created_at
            )
            and m.id not in (select r.id from unnest(:'replied'::uuid []) as r (id))
        union all
        select
            m.recipient_phone,
            least(m.sent_at::timestamptz, :'now'::timestamptz) as at
        from broadcast_messages as m
        where
            m.device_id = d.id
            and m.sent_at > :'now'::timestamptz - interval '24 hours'
            and m.status not in ('pending', 'queued', 'processing', 'failed')
            and m.status <> all(:'failed'::text [])
    ) as m
    where not exists (
        select 1
        from broadcast_messages as before
        where
            before.recipient_phone = m.recipient_phone
            and before.device_id = d.id
            and before.sent_at <= :'now'::timestamptz - interval '24 hours'
            and before.status not in ('pending', 'queued', 'processing', 'failed')
            and before.status <> all(:'failed'::text [])
    )
    group by d.id, m.recipient_phone
) as person
group by person.device_id;
