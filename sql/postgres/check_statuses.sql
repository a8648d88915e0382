-- Values of the status columns that no rule names, and what follows from that
--
-- Runs only where every column is there. Each value of a status column means what the rules say, compared exactly
-- as written. A device of a platform is left out: it counts as online whatever its status.
-- Reads the four tables as a whole, once.
--
-- Parameters:
--   online    text[]  values of user_devices.status: online
--   away      text[]  values of user_devices.status: may come back
--   gone      text[]  values of user_devices.status: does not come back
--   active    text[]  values of sequences.status: active
--   inactive  text[]  values of sequences.status: inactive
--   sent      text[]  values of broadcast_messages.status: was sent
--   failed    text[]  values of broadcast_messages.status: will never be sent
--   waiting   text[]  values of sequence_contacts.status: a later step's row, made beforehand
--   done      text[]  values of sequence_contacts.status: the step is done
--   stopped   text[]  values of sequence_contacts.status: left alone
-- Row:
--   item    text  the column; and the value, where no rule names it
--   status  text  ok, or advised: a person should look at it
--   why     text  how many rows have it, and what follows
--   remedy  text  null: a person has to decide
--   mode    text  null
-- Locks: none
\if :{?online} \else \set online '{online}' \endif
\if :{?away} \else \set away '{offline,disconnected}' \endif
\if :{?gone} \else \set gone '{banned,deleted,blocked}' \endif
\if :{?active} \else \set active '{active}' \endif
\if :{?inactive} \else \set inactive '{inactive,draft,paused,completed}' \endif
\if :{?sent} \else \set sent '{sent,delivered,read}' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?done} \else \set done '{completed,sent,failed}' \endif
\if :{?stopped} \else \set stopped '{paused,stopped,replied,set_aside}' \endif
with meaning (position, table_name, used, named, settings) as (
    -- used: the values without which nothing is sent; named: all that mean something.
    values
        (
            1, 'user_devices', :'online'::text [], :'online'::text [] || :'away'::text [] || :'gone'::text [],
            'online_statuses, away_statuses or gone_statuses'
        ),
        (
            2, 'sequences', :'active'::text [], :'active'::text [] || :'inactive'::text [],
            'active_statuses or inactive_statuses'
        ),
        (
            3, 'sequence_contacts', '{}',
            array['active'] || :'waiting'::text [] || :'done'::text [] || :'stopped'::text [],
            'waiting_statuses, done_statuses or stopped_statuses'
        ),
        (
            4, 'broadcast_messages', '{}',
            array['pending', 'queued', 'processing'] || :'sent'::text [] || :'failed'::text [],
            'sent_statuses or failed_statuses'
        )
),

counted (table_name, value, rows_found) as materialized (
    select
        'user_devices',
        d.status::text,
        count(*)
    from user_devices as d
    where not coalesce(d.platform ~ '\S', false)
    group by d.status
    union all
    select
        'sequences',
        s.status::text,
        count(*)
    from sequences as s
    group by s.status
    union all
    select
        'sequence_contacts',
        sc.status::text,
        count(*)
    from sequence_contacts as sc
    group by sc.status
    union all
    select
        'broadcast_messages',
        m.status::text,
        count(*)
    from broadcast_messages as m
    group by m.status
),

nothing_usable as (
    select
        m.table_name,
        case m.table_name
            when 'user_devices'
                then not exists (select 1 from user_devices as d where coalesce(d.platform ~ '\S', false))
            else true
        end
        and not exists (
            select 1 from counted as c where c.table_name = m.table_name and c.value = any(m.used)
        ) as holds
    from meaning as m
),

unnamed as (
    select
        m.*,
        c.value,
        c.rows_found,
        n.holds as nothing_usable,
        row_number() over (partition by m.table_name order by c.rows_found desc, c.value) as place,
        count(*) over (partition by m.table_name) as value_count
    from meaning as m
    inner join nothing_usable as n on m.table_name = n.table_name
    inner join counted as c on m.table_name = c.table_name and (c.value = any(m.named)) is not true
)

select
    (m.table_name || '.status' || coalesce(' ' || u.label, ''))::text as item,
    (case when u.label is null then 'ok' else 'advised' end)::text as status,
    coalesce(u.why, 'every value is named by a rule')::text as why,
    null::text as remedy,
    null::text as mode
from meaning as m
left join (
    select
        one.position,
        -- A host may have a status of its own for every row.
        coalesce(quote_literal(left(one.value, 40)), 'null') as label,
        format(
            '%s %s%s; no rule names it: %s%s',
            one.rows_found,
            case when one.rows_found = 1 then 'row' else 'rows' end,
            case
                when one.place = 20 and one.value_count = 21 then ', and there is 1 value more'
                when one.place = 20 and one.value_count > 21
                    then format(', and there are %s values more', one.value_count - 20)
            end,
            case one.table_name
                when 'user_devices'
                    then case
                        when one.nothing_usable
                            then 'no device counts as online: strict, fallback and reassign send nothing'
                        else 'these devices do not count as online: strict, fallback and reassign'
                            ' send nothing from them'
                    end
                when 'sequences'
                    then case
                        when one.nothing_usable
                            then 'no sequence counts as active: nobody is enrolled, and nothing is sent'
                        else 'these sequences do not count as active: nobody enters them, and nothing is sent'
                    end
                when 'sequence_contacts'
                    then 'these contacts are left alone: nothing is sent to them, and no step of theirs begins'
                else 'these messages count neither as sent nor as failed: no step shows that they failed,'
                    ' and with a sent_at they count against the limits of their device'
            end,
            case
                when one.value is null then '; a person has to set it'
                else format('; what does it mean? Put it into %s: seqdev rules set', one.settings)
            end
        ) as why,
        one.place
    from unnamed as one
    where one.place <= 20
) as u on m.position = u.position
order by m.position, u.place;
