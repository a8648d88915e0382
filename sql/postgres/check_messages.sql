-- What the host's own messages always have, and seqdev's would not
--
-- The host's worker may not be able to read a message that lacks it: it reads text into plain strings, and passes over
-- a row with a NULL for ever. Looks at the latest 10,000 messages that seqdev has not written. Of what waits in the queue
-- it counts the messages that the worker cannot read.
--
-- Row:
--   item    text  the column of broadcast_messages
--   status  text  ok, or advised
--   why     text  what is different
--   remedy  text  nothing: a person has to decide
--   mode    text  nothing
-- Locks: none
with latest as materialized (
    select
        m.id,
        m.sequence_id,
        m.sequence_stepid,
        m.recipient_phone,
        to_jsonb(m) as message
    from (
        select *
        from broadcast_messages
        order by created_at desc nulls last
        limit 10000
    ) as m
),

own as materialized (
    select l.id
    from latest as l
    inner join sequence_contacts as sc
        on l.sequence_id = sc.sequence_id
        and l.recipient_phone = sc.contact_phone
        and l.sequence_stepid = sc.sequence_stepid
    where l.id = md5('seqdev message ' || sc.id)::uuid
),

always as (
    select
        field.name,
        count(*) as messages
    from latest as l
    cross join lateral jsonb_each_text(l.message) as field (name, value)
    where not exists (select from own where own.id = l.id)
    group by field.name
    having bool_and(field.value is not null)
),

lacking as (
    select
        always.name,
        always.messages
    from always
    inner join pg_attribute as a
        on always.name = a.attname and a.attrelid = 'broadcast_messages'::regclass and not a.atthasdef
    where
        always.name not in (
            'id', 'user_id', 'device_id', 'sequence_id', 'sequence_stepid', 'recipient_phone', 'recipient_name',
            'message_type', 'content', 'media_url', 'status', 'scheduled_at', 'created_at',
            -- Filled when a message is sent, or could not be.
            'sent_at', 'error_message', 'updated_at'
        )
),

unreadable as (
    select count(*) as messages
    from broadcast_messages as m
    where
        m.status in ('pending', 'queued', 'processing')
        and (m.message_type is null or m.content is null or m.media_url is null or m.recipient_name is null)
)

select
    ('broadcast_messages.' || l.name)::text as item,
    'advised'::text as status,
    format(
        'none of the host''s latest %s messages is without it, and seqdev leaves it NULL: see that the worker reads'
        ' a message without it, or give the column a default', l.messages
    )::text as why,
    null::text as remedy,
    null::text as mode
from lacking as l
union all
select
    'messages as the host writes them',
    'ok',
    'seqdev fills every column that the host always fills',
    null,
    null
where not exists (select 1 from lacking)
union all
select
    'messages that a worker cannot read',
    case when u.messages > 0 then 'advised' else 'ok' end,
    u.messages || case when u.messages = 1 then ' waiting message is' else ' waiting messages are' end
    || ' NULL in message_type, content, media_url or recipient_name'
    || case
        when u.messages > 0
            then ': a worker that reads text into plain strings passes them over for ever. They are sent as soon as'
            ' these are filled: see first that they are not too late'
        else ''
    end,
    null,
    null
from unreadable as u
order by status, item;
