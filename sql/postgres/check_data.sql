-- Signs in the data that seqdev would misread it, or pass it over
--
-- Runs only where every column is there. Rows of the past that lie in the future are the sign of a wrong
-- time zone: naive timestamps are read in the transaction's TimeZone.
--
-- Row:
--   item      text  what is looked at
--   status    text  ok, or advised: a person should look at it
--   why       text  what was found
--   remedy    text  none: a person has to decide
--   mode      text  none
-- Locks: none
with future (item, rows_found) as (
    select
        'broadcast_messages.created_at in the future',
        count(*)
    from broadcast_messages
    where created_at > now() + interval '5 minutes'
    union all
    select
        'broadcast_messages.sent_at in the future',
        count(*)
    from broadcast_messages
    where sent_at > now() + interval '5 minutes'
    union all
    select
        'sequence_contacts.completed_at in the future',
        count(*)
    from sequence_contacts
    where completed_at > now() + interval '5 minutes'
),

forgotten as (
    select
        count(*) filter (where sc.next_trigger_time is null) as undated,
        count(*) filter (where s.id is null) as without_sequence
    from sequence_contacts as sc
    left join sequences as s on sc.sequence_id = s.id
    where sc.status = 'active'
)

select
    item::text as item,
    (case when rows_found > 0 then 'advised' else 'ok' end)::text as status,
    (
        rows_found || case when rows_found = 1 then ' row' else ' rows' end
        || '; naive timestamps are read in ' || current_setting('TimeZone')
        || case when rows_found > 0 then ': is that the zone they were written in?' else '' end
    )::text as why,
    null::text as remedy,
    null::text as mode
from future
union all
select
    look.item,
    case when look.contacts > 0 then 'advised' else 'ok' end,
    look.contacts || case when look.contacts = 1 then ' active contact' else ' active contacts' end
    || case when look.contacts > 0 then look.follows else '' end,
    null,
    null
from forgotten as f
cross join lateral (
    values
        (
            'sequence_contacts.next_trigger_time missing', f.undated,
            ': they are never due; who they are: seqdev audit contacts'
        ),
        (
            'sequence_contacts.sequence_id of no sequence', f.without_sequence,
            ': no tick looks at them; who they are: seqdev audit contacts'
        )
) as look (item, contacts, follows)
union all
select
    'pause switch' as item,
    case when count(*) = 0 then 'ok' else 'advised' end as status,
    coalesce(
        max(format('paused since %s by %s@%s: %s', date_trunc('second', p.paused_at), p.os_user, p.host, p.why))
        || '; to go on: seqdev resume',
        'not set'
    ) as why,
    null as remedy,
    null as mode
from seqdev.pause as p
where p.resumed_at is null;
