-- Messages to a phone that no row of sequence_contacts has made: campaigns, other processors
--
-- Parameters:
--   phones  text[]   the phone, in every writing that is tried
--   user    uuid     only messages of this user
--   listed  integer  messages to list for each user, the latest
-- Row:
--   user_id        uuid         whose message it is
--   message_id     uuid         the message
--   phone          text         as it is written there
--   written_by     text         campaign, other_processor (it names a sequence), or unknown
--   sequence_id    uuid         the sequence it names
--   sequence_name  text         its name; null for a sequence of another user
--   day            integer      the day of the step it names
--   device_id      uuid         the device it was given to
--   device_name    text         its name; null for a device of another user
--   status         text         what the broadcast worker says of it
--   at             timestamptz  when it was sent; of one not sent: when it was to be
--   error          text         why it could not be sent
--   preview        text         its first 40 characters
--   total          integer      such messages of this user in all
-- Locks: none
\if :{?phones} \else \set phones '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?listed} \else \set listed '10' \endif
with other as materialized (
    select
        m.id,
        m.user_id,
        coalesce(m.sent_at, m.scheduled_at, m.created_at)::timestamptz as at,
        row_number() over (
            partition by m.user_id
            order by coalesce(m.sent_at, m.scheduled_at, m.created_at) desc nulls last, m.id
        ) as place,
        count(*) over (partition by m.user_id) as total
    from broadcast_messages as m
    where
        m.recipient_phone = any(:'phones'::text [])
        and (nullif(:'user', '')::uuid is null or m.user_id = nullif(:'user', '')::uuid)
        and not exists (
            select 1
            from sequence_contacts as sc
            where sc.contact_phone = m.recipient_phone and md5('seqdev message ' || sc.id)::uuid = m.id
        )
)

select
    o.user_id,
    o.id as message_id,
    m.recipient_phone::text as phone,
    (
        case
            when to_jsonb(m) ->> 'campaign_id' is not null then 'campaign'
            when m.sequence_id is not null then 'other_processor'
            else 'unknown'
        end
    )::text as written_by,
    m.sequence_id,
    case when s.user_id = o.user_id then coalesce(s.name, left(s.id::text, 0)) end::text as sequence_name,
    st.day_number::integer as day,
    m.device_id,
    case when d.user_id = o.user_id then coalesce(d.device_name, left(d.id::text, 0)) end::text as device_name,
    m.status::text as status,
    o.at,
    m.error_message as error,
    left(regexp_replace(left(m.content, 400), '\s+', ' ', 'g'), 40) as preview,
    o.total::integer as total
from other as o
inner join broadcast_messages as m on o.id = m.id
left join sequences as s on m.sequence_id = s.id
left join sequence_steps as st on m.sequence_stepid = st.id and m.sequence_id = st.sequence_id
left join user_devices as d on m.device_id = d.id
where o.place <= :'listed'::integer
order by o.user_id, o.place;
