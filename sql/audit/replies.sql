-- Who writes back: messages of sequences that were sent, and how many were replied to, by sequence, step and device
--
-- A reply is to the last message that the person got before, of any sequence or campaign of the user.
--
-- Parameters:
--   now       timestamptz    the instant of the transaction
--   since     interval       age of the messages that are looked at
--   until     timestamptz    only messages made before; empty: all
--   at        timestamptz    only what had been sent and written by then; empty: all
--   user      uuid           only messages of this user
--   sequence  uuid           only this sequence
--   device    uuid           only what this device has sent
--   failed    text[]         values of broadcast_messages.status of a message that will never be sent
--   digits    text[]         who has written: the digits of the phone
--   users     uuid[]         to a device of which user
--   ats       timestamptz[]  and when
--   national  text           regular expression of what begins a national number
--   country   text           what stands for it in an international one
--   limit     integer        rows to return; empty: all
-- Row:
--   sequence    text         name of the sequence
--   sequence_id uuid         the sequence
--   step        integer      day of the step
--   step_id     uuid         the step; null where the messages do not say it
--   device      text         name of the device that has sent them
--   device_id   uuid         the device
--   messages    integer      messages that were sent
--   replied     integer      of these: that the person has replied to
--   rate        float8       the same in per cent
--   last_reply  timestamptz  the last time that anybody has
--   user_id     uuid         whose messages these are
--   total       integer      rows in all, listed or not
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '7 days' \endif
\if :{?until} \else \set until '' \endif
\if :{?at} \else \set at '' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?digits} \else \set digits '{}' \endif
\if :{?users} \else \set users '{}' \endif
\if :{?ats} \else \set ats '{}' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
\if :{?limit} \else \set limit '20' \endif
with writer as materialized (
    select w.*
    from unnest(:'digits'::text [], :'users'::uuid [], :'ats'::timestamptz []) as w (digits, user_id, at)
),

sent as materialized (
    select
        m.id,
        m.user_id,
        m.sequence_id,
        m.sequence_stepid,
        m.device_id,
        person.digits,
        m.sent_at::timestamptz as sent_at,
        (
            lead(m.sent_at) over (partition by m.user_id, person.digits order by m.sent_at, m.id)
        )::timestamptz as next_at
    from broadcast_messages as m
    cross join lateral (
        -- digits: as in enroll/persons.sql
        select
            case
                when m.recipient_phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                else regexp_replace(bare.digits, :'national'::text, :'country'::text)
            end as digits
        from (
            select regexp_replace(
                m.recipient_phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
            ) as digits
        ) as bare
    ) as person
    where
        m.created_at >= :'now'::timestamptz - :'since'::interval
        and (nullif(:'until', '')::timestamptz is null or m.created_at < nullif(:'until', '')::timestamptz)
        and m.sent_at is not null
        and (nullif(:'at', '')::timestamptz is null or m.sent_at <= nullif(:'at', '')::timestamptz)
        and m.status not in ('pending', 'queued', 'processing')
        and m.status <> all(:'failed'::text [])
        and (nullif(:'user', '')::uuid is null or m.user_id = nullif(:'user', '')::uuid)
),

answer as materialized (
    select
        sent.id,
        max(writer.at) as at
    from sent
    inner join writer on sent.digits = writer.digits and sent.user_id = writer.user_id
    where
        (nullif(:'at', '')::timestamptz is null or writer.at <= nullif(:'at', '')::timestamptz)
        and writer.at > sent.sent_at
        and (sent.next_at is null or writer.at <= sent.next_at)
    group by sent.id
),

counted as (
    select
        sent.user_id,
        sent.sequence_id,
        sent.sequence_stepid,
        sent.device_id,
        count(*) as messages,
        count(answer.id) as replied,
        max(answer.at) as last_reply
    from sent
    left join answer on sent.id = answer.id
    where
        sent.sequence_id is not null
        and (nullif(:'sequence', '')::uuid is null or sent.sequence_id = nullif(:'sequence', '')::uuid)
        and (nullif(:'device', '')::uuid is null or sent.device_id = nullif(:'device', '')::uuid)
    group by sent.user_id, sent.sequence_id, sent.sequence_stepid, sent.device_id
)

select
    coalesce(s.name, left(s.id::text, 0))::text as sequence,
    c.sequence_id,
    st.day_number::integer as step,
    c.sequence_stepid as step_id,
    coalesce(d.device_name, left(d.id::text, 0))::text as device,
    c.device_id,
    c.messages::integer as messages,
    c.replied::integer as replied,
    round(100.0 * c.replied / c.messages, 1)::float8 as rate,
    c.last_reply,
    c.user_id,
    (count(*) over ())::integer as total
from counted as c
left join sequences as s on c.sequence_id = s.id
left join sequence_steps as st on c.sequence_stepid = st.id
left join user_devices as d on c.device_id = d.id
order by c.replied desc, c.messages desc, s.name, st.day_number, d.device_name, c.sequence_id, c.sequence_stepid, c.device_id
limit nullif(:'limit', '')::integer;
