-- Who has written to devices, by the second: the last time each person did, or each time
--
-- Of the host's inbound messages; its instants are seconds since 1970, or milliseconds. A chat with one person names it by the digits of the phone.
-- Groups, broadcasts, and chats that hide the number (@lid) are left out. Where the host does not say whether a message
-- is its own, or says of all that they are not, the sender tells: in a person's chat the person. Reads the messages of
-- that time: by an index on timestamp, where the host has one; else the whole table.
--
-- Parameters:
--   since  timestamptz  messages from then on
--   until  timestamptz  and up to then
--   each   boolean      each time
-- Row:
--   digits   text         the person: the digits of the phone
--   user_id  uuid         the user of the device
--   at       timestamptz  when the person wrote
-- Locks: none
\if :{?since} \else \set since '1970-01-01' \endif
\if :{?until} \else \set until 'now' \endif
\if :{?each} \else \set each 'false' \endif
select
    substring(m.chat_jid from '^[0-9]+') as digits,
    d.user_id,
    max(to_timestamp(case when m.timestamp > 100000000000 then m.timestamp / 1000.0 else m.timestamp end)) as at
from whatsapp_messages as m
inner join user_devices as d on m.device_id::text = d.id::text
cross join lateral (
    -- By way of JSON, because installations lack one or the other of these columns.
    select
        lower(to_jsonb(m) ->> 'is_from_me') as is_from_me,
        lower(to_jsonb(m) ->> 'is_sent') as is_sent,
        nullif(to_jsonb(m) ->> 'sender_jid', '') as sender
) as own
where
    (
        m.timestamp between extract(epoch from :'since'::timestamptz)::bigint
        and extract(epoch from :'until'::timestamptz)::bigint
        or m.timestamp between (extract(epoch from :'since'::timestamptz) * 1000)::bigint
        and (extract(epoch from :'until'::timestamptz) * 1000)::bigint
    )
    and m.chat_jid ~ '^[1-9][0-9]{5,14}(@(s[.]whatsapp[.]net|c[.]us))?$'
    and coalesce(own.is_from_me not in ('true', '1'), true)
    and coalesce(own.is_sent not in ('true', '1'), true)
    and (
        own.sender is null
        or substring(own.sender from '^[0-9]+') = substring(m.chat_jid from '^[0-9]+')
        or own.is_from_me is not null and own.sender ~ '@lid$'
    )
group by 1, 2, case when :'each'::boolean then m.timestamp end;
