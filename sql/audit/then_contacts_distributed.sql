-- Rows of people that broke a promise or were overdue, as they stood at an instant, on Citus
--
-- A row as it was then is the row of now, with the old value of each column's first change since; when it was made and
-- done, and when its messages were made, their own instants tell. What neither tells is no finding, but not_known.
--
-- Finds, as audit/contacts.sql does:
--   done_no_message     done, but no message of that person and step was there
--   message_not_done    seqdev's message was there, but the row was not done
--   written_by_other    active, but another processor's message of that person and step was there
--   several_active      a person had several active rows in one sequence
--   never_due           active, but next_trigger_time was empty, or infinity
--   quarantined         a tick had quarantined it
--   overdue_15m, overdue_1h, overdue_1d, overdue_7d
--                       active and due for longer than that, if its sequence ran: whether it did is not kept
--   paused              the same, but its sequence, user or device was paused by a rule
--   not_known           not done; whether it waited, since when, or on pause, nothing tells
--
-- Not kept is what the others are about: leads, devices, steps, sequences, and claims of another processor.
--
-- Reads every row once, and looks closer at the people of whom a row was not done, or was done in the window.
--
-- Master of row_was, made, known and stood, which tell of rows of people how they were; of undone with
-- explain/then_steps.sql.
--
-- Parameters:
--   now       timestamptz  the instant
--   since     interval     age of the messages, and of the rows that were done, that are looked at
--   user      uuid         only sequences of this user
--   sequence  uuid         only this sequence
--   device    uuid         only what was assigned to this device
--   done      text[]       values of sequence_contacts.status: the step is done
--   waiting   text[]       values of sequence_contacts.status: a later step's row, made beforehand
--   paused    uuid[]       sequences, users and devices that were paused by a rule
--   unsure    uuid[]       those of which it is not known
--   limit     integer      rows to return; empty: all
-- Row:
--   finding             text         what was wrong
--   phone               text         whose row it is
--   sequence            text         name of the sequence now
--   sequence_id         uuid         the sequence
--   step                integer      day of the step now
--   step_id             uuid         the step that the row was about
--   status              text         of then; null: not known, or done in a way that is not known
--   assigned_device     text         what the device that was assigned is called now
--   assigned_device_id  uuid         the device that was assigned; null: none, or not known
--   at                  timestamptz  when it was done; of what was active, when it was due; null: not known
--   contact_id          uuid         the id that the row had
--   total               integer      rows in all, listed or not
--   found               jsonb        rows in all by finding: number, severity, repair
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '1 day' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?done} \else \set done '{completed,sent,failed}' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?paused} \else \set paused '{}' \endif
\if :{?unsure} \else \set unsure '{}' \endif
\if :{?limit} \else \set limit '20' \endif
with kind (kind, severity, repair) as (
    select
        k.kind,
        k.severity,
        'see what is open now: seqdev audit contacts' as repair
    from (
        values
            ('done_no_message', 2),
            ('message_not_done', 2),
            ('written_by_other', 1),
            ('several_active', 2),
            ('never_due', 2),
            ('quarantined', 1),
            ('overdue_15m', 3),
            ('overdue_1h', 2),
            ('overdue_1d', 2),
            ('overdue_7d', 1),
            ('paused', 3),
            ('not_known', 3)
    ) as k (kind, severity)
),

-- Who may have a row that was not done, or done in the window; own_from: whether what was done before it had a message of
-- its own, nobody asks.
asked as materialized (
    select distinct
        sc.sequence_id,
        sc.contact_phone as phone,
        :'now'::timestamptz - :'since'::interval as own_from
    from sequence_contacts as sc
    left join sequences as s on sc.sequence_id = s.id
    where
        (
            (sc.status = any(:'done'::text []) and sc.completed_at <= :'now'::timestamptz) is not true
            or sc.completed_at >= :'now'::timestamptz - :'since'::interval
            -- Now it is done, and it may not have been.
            or sc.id in (
                select ch.row_id
                from seqdev.run as r
                inner join seqdev.change as ch on r.id = ch.run_id
                where
                    (r.finished_at <= :'now'::timestamptz) is not true
                    and ch.table_name = 'sequence_contacts'
                    and ch.changed_at > :'now'::timestamptz
            )
        )
        and (
            nullif(:'user', '')::uuid is null
            or s.user_id = nullif(:'user', '')::uuid and coalesce(sc.user_id, s.user_id) = s.user_id
        )
        and (nullif(:'sequence', '')::uuid is null or sc.sequence_id = nullif(:'sequence', '')::uuid)
),

-- The journal is on the coordinator: what is distributed is read before.
row_now as materialized (
    select
        c.id,
        c.sequence_id,
        c.sequence_stepid,
        c.contact_phone,
        c.user_id,
        c.status,
        c.next_trigger_time,
        c.completed_at,
        c.assigned_device_id,
        c.last_error,
        a.own_from
    from sequence_contacts as c
    inner join asked as a on c.contact_phone = a.phone and c.sequence_id = a.sequence_id
),

-- The row of now, with the old value of each column's first change since. Of who has begun anew since, it was another.
row_was as materialized (
    select
        c.id,
        c.sequence_id,
        c.contact_phone as phone,
        c.own_from,
        j.became,
        j.was ? 'id' as is_anew,
        coalesce(j.was ->> 'id', c.id::text)::uuid as contact_id,
        case when j.was ? 'sequence_stepid' then j.was ->> 'sequence_stepid' else c.sequence_stepid::text end::uuid as then_step,
        case when j.was ? 'status' then j.was ->> 'status' when not j.was ? 'id' then c.status end as then_status,
        case when j.was ? 'next_trigger_time' then j.was ->> 'next_trigger_time' else c.next_trigger_time::text end::timestamptz
        as then_due,
        case when j.was ? 'completed_at' then j.was ->> 'completed_at' else c.completed_at::text end::timestamptz as then_done,
        case when j.was ? 'assigned_device_id' then j.was ->> 'assigned_device_id' else c.assigned_device_id::text end::uuid
        as then_device,
        case when j.was ? 'last_error' then j.was ->> 'last_error' else c.last_error end as then_error,
        case when j.first ? 'next_trigger_time' then j.first ->> 'next_trigger_time' else c.next_trigger_time::text end::timestamptz
        as first_due,
        case when j.first ? 'sequence_stepid' then j.first ->> 'sequence_stepid' else c.sequence_stepid::text end::uuid as next_id,
        least(c.completed_at::timestamptz, j.first_done) as first_done
    from row_now as c
    -- Row by row, since nobody can foretell how many of them have changed.
    left join lateral (
        select true as is_there
        from seqdev.change as ch
        where ch.row_id = c.id and ch.table_name = 'sequence_contacts'
        limit 1
    ) as changed on true
    cross join lateral (
        select
            -- Of several the last in order stays: the first change since, and the last before.
            coalesce(
                jsonb_object_agg(ch.column_name, ch.old_value order by ch.id desc) filter (where ch.changed_at > :'now'::timestamptz), '{}'
            ) as was,
            coalesce(
                jsonb_object_agg(ch.column_name, ch.new_value order by ch.id) filter (where ch.changed_at <= :'now'::timestamptz), '{}'
            ) as became,
            coalesce(jsonb_object_agg(ch.column_name, ch.old_value order by ch.id desc), '{}') as first,
            min(least(ch.old_value::timestamptz, ch.new_value::timestamptz))
            filter (where ch.column_name = 'completed_at') as first_done
        from seqdev.change as ch
        where changed.is_there and ch.row_id = c.id and ch.table_name = 'sequence_contacts'
    ) as j
),

-- When seqdev has made the row, active: with what was done of the step before, or by an enrolment that ran then.
made as materialized (
    select
        n.id,
        min(b.first_done) as at
    from row_was as n
    inner join row_was as b on n.sequence_id = b.sequence_id and n.phone = b.phone and n.id <> b.id
    where
        -- Of what was done, nobody asks when it was made.
        (n.then_status = any(:'done'::text []) and n.then_done <= :'now'::timestamptz) is not true
        and n.contact_id = md5('seqdev contact ' || b.contact_id || ' ' || n.next_id)::uuid
    group by n.id
    union all
    select
        line.id,
        line.at
    from (
        select
            one.id,
            one.at,
            max(one.ends) over (order by one.at, one.id is not null) as ends
        from (
            select
                w.id,
                w.first_due as at,
                null::timestamptz as ends
            from row_was as w
            where
                (w.then_status = any(:'done'::text []) and w.then_done <= :'now'::timestamptz) is not true
                and not w.is_anew
                and isfinite(w.first_due)
            union all
            select
                null as id,
                r.started_at as at,
                r.finished_at as ends
            from seqdev.run as r
            where r.command = 'enroll'
        ) as one
    ) as line
    where line.id is not null and line.at <= line.ends
),

own_message as materialized (
    select distinct w.id as row_id
    from broadcast_messages as m
    inner join row_was as w on m.recipient_phone = w.phone
    where
        (w.then_status = any(:'done'::text []) and w.then_done < w.own_from) is not true
        and m.id = md5('seqdev message ' || w.contact_id)::uuid
        and m.created_at <= :'now'::timestamptz
),

known as materialized (
    select
        w.*,
        own.row_id is not null as is_own,
        first.at as made_at
    from row_was as w
    left join (
        select
            made.id,
            min(made.at) as at
        from made
        group by made.id
    ) as first on w.id = first.id
    left join own_message as own on w.id = own.row_id
),

stood as materialized (
    select
        k.*,
        case
            when k.became <> '{}' or k.made_at <= :'now'::timestamptz or k.then_done <= :'now'::timestamptz or k.is_own then true
            when k.made_at > :'now'::timestamptz then false
        end as is_there,
        coalesce(k.then_status = any(:'done'::text []) and k.then_done <= :'now'::timestamptz, false) as is_done,
        coalesce(
            (k.then_status = 'active' and k.then_done is null)
            or (k.then_status = any(:'done'::text []) and k.then_done > :'now'::timestamptz), false
        ) as was_active
    from known as k
),

-- The status of what was not done.
undone as materialized (
    select
        s.*,
        case
            when s.is_there is not true or s.is_done then null
            when s.was_active and s.became ? 'status' then case when s.became ->> 'status' = 'active' then 'active' end
            when s.was_active then case when s.made_at <= :'now'::timestamptz then 'active' end
            when s.became ->> 'status' = s.then_status then s.then_status
        end as undone_status
    from stood as s
),

began as materialized (
    select min(r.started_at) as at
    from seqdev.run as r
    where r.command = 'tick'
),

message as materialized (
    select
        m.id,
        m.created_at,
        u.id as row_id
    from broadcast_messages as m
    inner join undone as u
        on m.recipient_phone = u.phone and m.sequence_id = u.sequence_id and m.sequence_stepid = u.then_step
    where
        m.created_at >= :'now'::timestamptz - :'since'::interval
        and m.created_at <= :'now'::timestamptz
        and not u.is_done
),

-- Messages of the window, by the row that they belonged to.
written as materialized (
    select
        u.id,
        bool_or(m.id = md5('seqdev message ' || u.contact_id)::uuid) as is_own,
        bool_or(
            m.id <> md5('seqdev message ' || u.contact_id)::uuid
            -- Of an earlier time round, before the person began anew.
            and not exists (
                select 1
                from seqdev.change as ch
                where
                    ch.row_id = u.contact_id
                    and ch.column_name = 'id'
                    and ch.changed_at >= m.created_at
                    and ch.changed_at <= :'now'::timestamptz
            )
        ) as is_foreign
    from message as m
    inner join undone as u on m.row_id = u.id
    group by u.id
),

looked as materialized (
    select
        u.*,
        coalesce(w.is_own, false) as is_written,
        coalesce(w.is_foreign, false) as is_foreign,
        -- No other hand has changed it since the last change before; what waited is due anew when it is made active.
        not u.is_anew
        and (not u.became ? 'next_trigger_time' or (u.became ->> 'next_trigger_time')::timestamptz is not distinct from u.then_due)
        and not exists (
            select 1
            from seqdev.change as ch
            where
                ch.row_id = u.id
                and ch.table_name = 'sequence_contacts'
                and ch.column_name = 'status'
                and ch.changed_at > :'now'::timestamptz
                and ch.new_value = any(:'waiting'::text [])
        ) as is_due_known,
        u.is_there
        and not u.is_anew
        and (
            not u.became ? 'assigned_device_id'
            or (u.became ->> 'assigned_device_id')::uuid is not distinct from u.then_device
        ) as is_device_known,
        pause.is_on,
        pause.is_unsure
    from undone as u
    left join written as w on u.id = w.id
    left join sequences as s on u.sequence_id = s.id
    cross join lateral (
        select
            coalesce(
                u.sequence_id = any(:'paused'::uuid [])
                or s.user_id = any(:'paused'::uuid [])
                or u.then_device = any(:'paused'::uuid []), false
            ) as is_on,
            coalesce(
                u.sequence_id = any(:'unsure'::uuid [])
                or s.user_id = any(:'unsure'::uuid [])
                or u.then_device = any(:'unsure'::uuid []), false
            ) as is_unsure
    ) as pause
    where not u.is_done or u.then_done >= :'now'::timestamptz - :'since'::interval
),

told as materialized (
    select
        l.*,
        l.is_there is not false
        and not l.is_done
        and (
            l.undone_status is null
            or l.undone_status = 'active' and not (l.is_due_known and (l.is_on or not l.is_unsure or l.then_due > :'now'::timestamptz))
        ) as is_unsure_of
    from looked as l
    where nullif(:'device', '')::uuid is null or l.is_device_known and l.then_device = nullif(:'device', '')::uuid
),

-- One row of each person with several, where none of the others could be one more.
several as (
    select (array_agg(t.id order by t.then_due, t.contact_id) filter (where t.undone_status = 'active'))[1] as id
    from told as t
    where not t.is_done
    group by t.sequence_id, t.phone
    having count(*) filter (where t.undone_status = 'active') > 1 and not bool_or(t.is_unsure_of)
),

any_message as materialized (
    select distinct t.id as row_id
    from broadcast_messages as m
    inner join told as t on m.recipient_phone = t.phone and m.sequence_id = t.sequence_id
    where
        t.is_done
        and t.then_done >= :'now'::timestamptz - :'since'::interval
        and (m.sequence_stepid is null or m.sequence_stepid = t.then_step)
        and m.created_at <= :'now'::timestamptz
),

finding as materialized (
    select
        wrong.kind,
        t.*
    from told as t
    cross join lateral (
        values
            (
                case
                    when
                        t.is_done
                        and t.then_done >= :'now'::timestamptz - :'since'::interval
                        and t.then_done >= (select began.at from began)
                        and coalesce(t.then_error !~ '^ended', true)
                        and not t.is_own
                        and t.id not in (select any_message.row_id from any_message)
                        then 'done_no_message'
                end
            ),
            (case when t.undone_status is not null and t.is_written then 'message_not_done' end),
            (case when t.undone_status = 'active' and t.is_foreign then 'written_by_other' end),
            (case when t.id in (select several.id from several) then 'several_active' end),
            (
                case
                    when t.undone_status = 'active' and t.is_due_known and coalesce(t.then_due = 'infinity', true) then 'never_due'
                end
            ),
            (case when t.undone_status = 'set_aside' then 'quarantined' end),
            (
                case
                    when
                        t.undone_status is distinct from 'active'
                        or t.is_unsure_of
                        or coalesce(t.then_due > :'now'::timestamptz - interval '15 minutes', true) then null
                    when t.is_on then 'paused'
                    when t.then_due <= :'now'::timestamptz - interval '7 days' then 'overdue_7d'
                    when t.then_due <= :'now'::timestamptz - interval '1 day' then 'overdue_1d'
                    when t.then_due <= :'now'::timestamptz - interval '1 hour' then 'overdue_1h'
                    else 'overdue_15m'
                end
            ),
            (case when t.is_unsure_of then 'not_known' end)
    ) as wrong (kind)
    where wrong.kind is not null
),

-- tally: as in audit/contacts.sql
tally as (
    select
        coalesce(sum(t.number), 0)::integer as total,
        coalesce(
            jsonb_object_agg(
                t.kind, jsonb_build_object('found', t.number, 'severity', kind.severity, 'repair', kind.repair)
            ) filter (where t.kind is not null),
            '{}'
        ) as found
    from (
        select
            finding.kind,
            count(*) as number
        from finding
        group by finding.kind
    ) as t
    left join kind on t.kind = kind.kind
)

select
    f.kind as finding,
    f.phone::text as phone,
    coalesce(s.name, left(s.id::text, 0))::text as sequence,
    f.sequence_id,
    st.day_number::integer as step,
    f.then_step as step_id,
    f.undone_status::text as status,
    case when f.is_device_known then coalesce(d.device_name, left(d.id::text, 0)) end::text as assigned_device,
    case when f.is_device_known then f.then_device end as assigned_device_id,
    case
        when f.is_done then f.then_done
        when f.undone_status is not null and f.is_due_known and isfinite(f.then_due) then f.then_due
    end as at,
    f.contact_id,
    tally.total,
    tally.found
from finding as f
cross join tally
inner join kind on f.kind = kind.kind
left join sequences as s on f.sequence_id = s.id
left join sequence_steps as st on f.then_step = st.id
left join user_devices as d on f.then_device = d.id
order by kind.severity, f.kind, at nulls first, f.contact_id
limit nullif(:'limit', '')::integer;
