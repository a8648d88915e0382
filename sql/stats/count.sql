-- The numbers of the service: people in sequences by where they stand, and messages by what became of them
--
-- Each number is defined here and nowhere else; what audits, ticks and forecasts count besides is named with it.
--
-- People, once in each sequence however many rows they have. One row tells where a person stands: the first of
--   waiting        a row is active, or waits to be activated: a step is to come; of several, the one that is due first
--   stopped        a row has a status that somebody has set so that nothing is sent
--   ended          all that there is is done; of several rows, the one that was done last
--   other          a status that no rule names, or none
-- and of the same row are step, device (the assigned one) and status. enrolled is the sum of the four.
-- Rows, of which people may have several:
--   due            active in a running sequence, and due: audit all's backlog and those on pause, a tick's due
-- Messages of sequences; step, device and status are the message's own:
--   queued         pending, queued or processing
--   failed         will never be sent, as in audit failed
--   sent           was sent, by its status, or by its instant where no rule names that; replies, as in audit replies
--   other_messages  a status that no rule names, or none
--   replied        of those sent: the person has replied, as audit replies has counted
--
-- A window is about when messages were made, as in every audit, and of people about when the last of their steps was
-- done. When they were enrolled nobody writes down: with a window, what stands now is not counted.
--
-- Reads the contacts from end to end, and sorts them by person; without a window the messages, too. A window finds
-- them by their index on created_at.
--
-- Parameters:
--   now       timestamptz    the instant of the transaction
--   by        text[]         sequence, step, device, user, day, status: a row for each that there is; none: one row
--   since     interval       age of what is looked at; empty: any
--   until     timestamptz    only what was before; empty: all
--   days      timestamptz[]  when each day begins, in order, by the clock that people see
--   dates     text[]         what these days are called
--   user      uuid           only of this user
--   sequence  uuid           only of this sequence
--   device    uuid           only of this device
--   waiting   text[]         values of sequence_contacts.status: a later step's row, made beforehand
--   stopped   text[]         values of sequence_contacts.status: somebody has set it so that nothing is sent
--   done      text[]         values of sequence_contacts.status: the step is done
--   sent      text[]         values of broadcast_messages.status of a message that was sent
--   failed    text[]         values of broadcast_messages.status of a message that will never be sent
--   known     boolean        replies are known: they are given by
--   replied_sequences  uuid[]     sequence,
--   replied_steps      uuid[]     step,
--   replied_devices    uuid[]     device
--   replied_users      uuid[]     and user:
--   replied_messages   integer[]  messages that were replied to
--   limit     integer        rows to return; empty: all
-- Gates: gates/steps.sql
-- Row:
--   sequence        text     name of the sequence
--   sequence_id     uuid     the sequence
--   step            integer  day of the step
--   step_id         uuid     the step
--   device          text     name of the device
--   device_id       uuid     the device
--   user_id         uuid     the user
--   day             text     the day
--   status          text     as the host has it
--   enrolled        integer  people in a sequence
--   waiting         integer  of these: a step is to come
--   stopped         integer  of these: somebody has stopped them
--   ended           integer  of these: all is done
--   other           integer  of these: a status that no rule names
--   due             integer  rows that are due now
--   queued          integer  messages in the queue
--   sent            integer  messages that were sent
--   failed          integer  messages that will never be sent
--   other_messages  integer  messages of a status that no rule names
--   replied         integer  messages that were replied to; null: not known
--   total           integer  rows in all, listed or not
--   found           jsonb    each number in all
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?by} \else \set by '{sequence}' \endif
\if :{?since} \else \set since '' \endif
\if :{?until} \else \set until '' \endif
\if :{?days} \else \set days '{-infinity}' \endif
\if :{?dates} \else \set dates '{ever}' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?stopped} \else \set stopped '{paused,stopped,replied,set_aside}' \endif
\if :{?done} \else \set done '{completed,sent,failed}' \endif
\if :{?sent} \else \set sent '{sent,delivered,read}' \endif
\if :{?failed} \else \set failed '{failed,error,skipped,expired,cancelled}' \endif
\if :{?known} \else \set known 'false' \endif
\if :{?replied_sequences} \else \set replied_sequences '{}' \endif
\if :{?replied_steps} \else \set replied_steps '{}' \endif
\if :{?replied_devices} \else \set replied_devices '{}' \endif
\if :{?replied_users} \else \set replied_users '{}' \endif
\if :{?replied_messages} \else \set replied_messages '{}' \endif
\if :{?limit} \else \set limit '20' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
with looked_at as materialized (
    select
        :'now'::timestamptz - nullif(:'since', '')::interval as since,
        nullif(:'until', '')::timestamptz as until
),

person as (
    select distinct on (sc.sequence_id, sc.contact_phone)
        sc.sequence_id,
        sc.sequence_stepid,
        sc.assigned_device_id as device_id,
        coalesce(s.user_id, sc.user_id) as user_id,
        sc.completed_at::timestamptz as at,
        sc.status,
        stands.place
    from sequence_contacts as sc
    left join sequences as s on sc.sequence_id = s.id
    cross join lateral (
        select
            case
                when sc.status = 'active' or sc.status = any(:'waiting'::text []) then 1
                when sc.status = any(:'stopped'::text []) then 2
                when sc.status = any(:'done'::text []) then 3
                else 4
            end as place
    ) as stands
    where
        (nullif(:'sequence', '')::uuid is null or sc.sequence_id = nullif(:'sequence', '')::uuid)
        and (nullif(:'user', '')::uuid is null or coalesce(s.user_id, sc.user_id) = nullif(:'user', '')::uuid)
    order by
        sc.sequence_id,
        sc.contact_phone,
        stands.place,
        coalesce(sc.status = 'active', false) desc,
        case when stands.place = 1 then sc.next_trigger_time end,
        sc.completed_at desc nulls last,
        sc.id
),

counted (sequence_id, step_id, device_id, user_id, at, status, number, weight) as (
    select
        p.sequence_id,
        p.sequence_stepid,
        p.device_id,
        p.user_id,
        p.at,
        p.status::text,
        p.place,
        1
    from person as p
    cross join looked_at as l
    where
        l.since is null and l.until is null
        or p.place = 3
        and (l.since is null or p.at >= l.since)
        and (l.until is null or p.at < l.until)
    union all
    select
        sc.sequence_id,
        sc.sequence_stepid,
        sc.assigned_device_id,
        s.user_id,
        null,
        sc.status::text,
        5,
        1
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    cross join looked_at as l
    where
        l.since is null
        and l.until is null
        and sc.status = 'active'
        and sc.next_trigger_time <= :'now'::timestamptz
        and s.id = any(:'active_sequences'::uuid [])
        and (nullif(:'sequence', '')::uuid is null or s.id = nullif(:'sequence', '')::uuid)
        and (nullif(:'user', '')::uuid is null or s.user_id = nullif(:'user', '')::uuid)
    union all
    select
        m.sequence_id,
        m.sequence_stepid,
        m.device_id,
        m.user_id,
        m.created_at::timestamptz,
        m.status::text,
        case
            when m.status in ('pending', 'queued', 'processing') then 6
            when m.status = 'failed' or m.status = any(:'failed'::text []) then 8
            when m.status = any(:'sent'::text []) or m.status is not null and m.sent_at is not null then 7
            else 9
        end,
        1
    from broadcast_messages as m
    where
        m.sequence_id is not null
        and (
            nullif(:'since', '')::interval is null
            or m.created_at >= :'now'::timestamptz - nullif(:'since', '')::interval
        )
        and (nullif(:'until', '')::timestamptz is null or m.created_at < nullif(:'until', '')::timestamptz)
        and (nullif(:'sequence', '')::uuid is null or m.sequence_id = nullif(:'sequence', '')::uuid)
        and (nullif(:'user', '')::uuid is null or m.user_id = nullif(:'user', '')::uuid)
    union all
    select
        r.sequence_id,
        r.step_id,
        r.device_id,
        r.user_id,
        null,
        null,
        10,
        r.messages
    from unnest(
        :'replied_sequences'::uuid [], :'replied_steps'::uuid [], :'replied_devices'::uuid [],
        :'replied_users'::uuid [], :'replied_messages'::integer []
    ) as r (sequence_id, step_id, device_id, user_id, messages)
),

grouped as (
    select
        case when 'sequence' = any(:'by'::text []) then c.sequence_id end as sequence_id,
        case when 'step' = any(:'by'::text []) then c.step_id end as step_id,
        case when 'device' = any(:'by'::text []) then c.device_id end as device_id,
        case when 'user' = any(:'by'::text []) then c.user_id end as user_id,
        case
            when 'day' = any(:'by'::text [])
                then (:'dates'::text [])[width_bucket(c.at, :'days'::timestamptz [])]
        end as day,
        case when 'status' = any(:'by'::text []) then c.status end as status,
        c.number,
        sum(c.weight) as rows_found
    from counted as c
    where nullif(:'device', '')::uuid is null or c.device_id = nullif(:'device', '')::uuid
    group by 1, 2, 3, 4, 5, 6, 7
),

line as (
    select
        g.sequence_id,
        g.step_id,
        g.device_id,
        g.user_id,
        g.day,
        g.status,
        coalesce(sum(g.rows_found) filter (where g.number <= 4), 0) as enrolled,
        coalesce(sum(g.rows_found) filter (where g.number = 1), 0) as waiting,
        coalesce(sum(g.rows_found) filter (where g.number = 2), 0) as stopped,
        coalesce(sum(g.rows_found) filter (where g.number = 3), 0) as ended,
        coalesce(sum(g.rows_found) filter (where g.number = 4), 0) as other,
        coalesce(sum(g.rows_found) filter (where g.number = 5), 0) as due,
        coalesce(sum(g.rows_found) filter (where g.number = 6), 0) as queued,
        coalesce(sum(g.rows_found) filter (where g.number = 7), 0) as sent,
        coalesce(sum(g.rows_found) filter (where g.number = 8), 0) as failed,
        coalesce(sum(g.rows_found) filter (where g.number = 9), 0) as other_messages,
        coalesce(sum(g.rows_found) filter (where g.number = 10), 0) as replied
    from (
        select *
        from grouped
        union all
        -- One row there is, although there be nothing.
        select null, null, null, null, null, null, null, 0
        where :'by'::text [] = '{}'
    ) as g
    group by g.sequence_id, g.step_id, g.device_id, g.user_id, g.day, g.status
)

select
    coalesce(s.name, left(s.id::text, 0))::text as sequence,
    line.sequence_id,
    st.day_number::integer as step,
    line.step_id,
    coalesce(d.device_name, left(d.id::text, 0))::text as device,
    line.device_id,
    line.user_id,
    line.day,
    line.status,
    case when is_now.is_true then line.enrolled::integer end as enrolled,
    case when is_now.is_true then line.waiting::integer end as waiting,
    case when is_now.is_true then line.stopped::integer end as stopped,
    line.ended::integer,
    case when is_now.is_true then line.other::integer end as other,
    case when is_now.is_true then line.due::integer end as due,
    line.queued::integer,
    line.sent::integer,
    line.failed::integer,
    line.other_messages::integer,
    case when :'known'::boolean then line.replied::integer end as replied,
    (count(*) over ())::integer as total,
    jsonb_build_object(
        'enrolled', case when is_now.is_true then sum(line.enrolled) over () end,
        'waiting', case when is_now.is_true then sum(line.waiting) over () end,
        'stopped', case when is_now.is_true then sum(line.stopped) over () end,
        'ended', sum(line.ended) over (),
        'other', case when is_now.is_true then sum(line.other) over () end,
        'due', case when is_now.is_true then sum(line.due) over () end,
        'queued', sum(line.queued) over (),
        'sent', sum(line.sent) over (),
        'failed', sum(line.failed) over (),
        'other_messages', sum(line.other_messages) over (),
        'replied', case when :'known'::boolean then sum(line.replied) over () end
    ) as found
from line
cross join (select looked_at.since is null and looked_at.until is null as is_true from looked_at) as is_now
left join sequences as s on line.sequence_id = s.id
left join sequence_steps as st on line.step_id = st.id
left join user_devices as d on line.device_id = d.id
order by
    line.day,
    s.name nulls last,
    line.sequence_id,
    st.day_number nulls last,
    line.step_id,
    d.device_name nulls last,
    line.device_id,
    line.user_id,
    line.status
limit nullif(:'limit', '')::integer;
