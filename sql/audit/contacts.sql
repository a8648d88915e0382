-- Rows of people that break a promise, stand still, or are overdue
--
-- Finds:
--   done_no_message     done, but no message of that person and step exists, nor one that says no step
--   message_not_done    seqdev's message exists, but the row is not done
--   written_by_other    active, but another processor's message of that person and step exists
--   next_step_missing   done, and the lead still has the sequence's trigger, but the row of the next step does not exist
--   several_active      a person has several active rows in one sequence
--   stranded            waits to be activated, but the step before is done, and nothing of the person is active
--   sequence_gone       active, but the sequence does not exist
--   step_gone           active, or waits to be activated, but the sequence has no such step
--   no_lead             active, or waits to be activated, but no lead of the user has the phone
--   no_device           active, but neither the row nor the lead has a device
--   device_missing      active, but the assigned device does not exist
--   other_users_device  active, but the assigned device belongs to another user
--   never_due           active, but next_trigger_time is empty, or infinity
--   quarantined         the database refused it, and a tick quarantined it (status set_aside): last_error says why
--   stuck               claimed by a processor that never finished, or did not say when
--   delay_changed       due by another delay than its step has now
--   overdue_15m, overdue_1h, overdue_1d, overdue_7d
--                       active and due for longer than that: the numbers are a histogram
--   paused              the same, but it waits since its sequence, user or device is paused: it is not overdue
--
-- Of what was done before seqdev's first tick, and of a row whose last_error says in seqdev's own words that it has
-- ended, nothing is missing: whoever made it active, or added a step's row, would write to people who are done.
--
-- The window bounds what is done and what was written. What is not done is looked at whatever its age, and is
-- most of the table's pages: therefore it reads the table from end to end, and that is no slower.
--
-- Master of stranded and rescheduled, which repairs repeat.
--
-- Parameters:
--   now           timestamptz  the instant of the transaction
--   since         interval     age of the messages, and of the rows that are done, that are looked at
--   until         timestamptz  only such messages made, and rows done, before; empty: all
--   user          uuid         only sequences of this user
--   sequence      uuid         only this sequence
--   device        uuid         only what is assigned to this device
--   stale         timestamptz  a claim that another processor made later than that is respected
--   without_lead  boolean      people without a lead of the sequence's user are written to, too
--   waiting       text[]       values of sequence_contacts.status: a later step's row, made beforehand
--   done          text[]       values of sequence_contacts.status: the step is done
--   limit         integer      rows to return; empty: all
-- Gates: gates/steps.sql, gates/devices.sql under strict of all devices, no messages counted
-- Row:
--   finding             text         what is wrong
--   phone               text         whose row it is
--   sequence            text         name of the sequence
--   sequence_id         uuid         the sequence
--   step                integer      day of the step
--   step_id             uuid         the step
--   state               text         open, or irreparable: no command can mend it, or none has to
--   status              text         of the row
--   reason              text         of what is quarantined: why
--   assigned_device     text         name of the assigned device
--   assigned_device_id  uuid         the assigned device
--   at                  timestamptz  when it was done or claimed; of what is active, when it is due
--   contact_id          uuid         the row
--   repair              text         what to do about it
--   total               integer      rows in all, listed or not
--   found               jsonb        rows in all by finding: number, severity, repair
--   summary             jsonb        when, where, and what became of it, in the first row: docs/json-fields.md has it
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '1 day' \endif
\if :{?until} \else \set until '' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?stale} \else \set stale 'yesterday' \endif
\if :{?without_lead} \else \set without_lead 'false' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?done} \else \set done '{completed,sent,failed}' \endif
\if :{?limit} \else \set limit '20' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
\if :{?policy} \else \set policy 'strict' \endif
\if :{?counted} \else \set counted 'no' \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
with kind (kind, severity, repair) as (
    values
        (
            'done_no_message', 2,
            'leave the row as it is: its message may have been sent, and deleted since; see seqdev explain PHONE'
        ),
        ('message_not_done', 2, 'nothing: once it is active and due, a tick completes it without a second message'),
        ('written_by_other', 1, 'stop the other processor (seqdev audit writers), then seqdev repair written-by-other'),
        ('next_step_missing', 2, 'find out who deleted it, or added the step: seqdev explain PHONE'),
        ('several_active', 2, 'see what was meant: seqdev explain PHONE'),
        ('stranded', 1, 'seqdev repair stranded'),
        ('sequence_gone', 2, 'delete the row'),
        ('step_gone', 1, 'seqdev repair step-gone'),
        ('no_lead', 2, 'seqdev repair no-lead'),
        ('no_device', 1, 'seqdev leads assign --distribute'),
        ('device_missing', 1, 'seqdev repair device DEVICE --spread'),
        ('other_users_device', 1, 'seqdev repair device DEVICE --spread --user USER'),
        (
            'never_due', 2,
            'see that its step was not sent: seqdev explain PHONE; then give it a next_trigger_time in the application'
        ),
        ('quarantined', 1, 'see why: seqdev explain PHONE; once it is corrected: seqdev repair quarantined'),
        ('stuck', 2, 'seqdev repair stuck'),
        ('delay_changed', 3, 'seqdev repair delay-changed, unless they are to stay as they are'),
        ('overdue_15m', 3, 'see why: seqdev tick --dry-run'),
        ('overdue_1h', 2, 'see why: seqdev tick --dry-run'),
        ('overdue_1d', 2, 'see why: seqdev tick --dry-run'),
        ('overdue_7d', 1, 'see why: seqdev tick --dry-run'),
        ('paused', 3, 'nothing, if it is meant; to go on: seqdev resume --sequence, --user or --device')
),

paused as materialized (
    select s.sequence_id as id
    from unnest(:'steps'::uuid [], :'step_sequences'::uuid [], :'step_pauses'::text []) as s (id, sequence_id, pause)
    where s.id is null and s.pause is not null
    union all
    select d.id
    from unnest(:'devices'::uuid [], :'device_pauses'::text []) as d (id, pause)
    where d.pause is not null
),

step as materialized (
    select s.*
    from unnest(
        :'steps'::uuid [], :'step_sequences'::uuid [], :'next_steps'::uuid [], :'next_step_hours'::numeric []
    ) as s (id, sequence_id, next_id, next_hours)
    where s.id is not null
),

entry as materialized (
    select
        e.sequence_id,
        btrim(e.trigger) as trigger
    from unnest(:'step_sequences'::uuid [], :'entry_triggers'::text []) as e (sequence_id, trigger)
    where e.trigger is not null
),

began as materialized (
    select min(r.started_at) as at
    from seqdev.run as r
    where r.command = 'tick'
),

-- Rows that are done, without what belongs to them: seqdev's own message, or the row of the next step.
done as materialized (
    select
        sc.id,
        sc.sequence_id,
        sc.contact_phone,
        s.user_id,
        own.is_there is null as is_unsent,
        step.next_id is not null and next_row.is_there is null as is_orphan,
        any_message.is_there as is_written
    from sequence_contacts as sc
    left join sequences as s on sc.sequence_id = s.id
    left join step on sc.sequence_stepid = step.id and sc.sequence_id = step.sequence_id
    left join lateral (
        select true as is_there
        from broadcast_messages as m
        where m.recipient_phone = sc.contact_phone and m.id = md5('seqdev message ' || sc.id)::uuid
        limit 1
    ) as own on true
    left join lateral (
        select true as is_there
        from sequence_contacts as n
        where
            n.sequence_id = sc.sequence_id
            and n.contact_phone = sc.contact_phone
            and n.sequence_stepid = step.next_id
        limit 1
    ) as next_row on true
    -- Few are looked at, unless another processor did the past.
    left join lateral (
        select true as is_there
        from broadcast_messages as m
        where
            own.is_there is null
            and m.recipient_phone = sc.contact_phone
            and m.sequence_id = sc.sequence_id
            and (m.sequence_stepid is null or m.sequence_stepid = sc.sequence_stepid)
        limit 1
    ) as any_message on true
    where
        sc.status = any(:'done'::text [])
        and sc.completed_at >= :'now'::timestamptz - :'since'::interval
        and (nullif(:'until', '')::timestamptz is null or sc.completed_at < nullif(:'until', '')::timestamptz)
        and sc.completed_at >= (select began.at from began)
        and coalesce(sc.last_error !~ '^ended', true)
        and (own.is_there is null or step.next_id is not null and next_row.is_there is null)
        and (
            nullif(:'user', '')::uuid is null
            or s.user_id = nullif(:'user', '')::uuid and coalesce(sc.user_id, s.user_id) = s.user_id
        )
        and (nullif(:'sequence', '')::uuid is null or sc.sequence_id = nullif(:'sequence', '')::uuid)
        and (nullif(:'device', '')::uuid is null or sc.assigned_device_id = nullif(:'device', '')::uuid)
),

-- Who can still enter the sequence of such a row.
entering as materialized (
    select distinct
        l.user_id,
        l.phone,
        entry.sequence_id
    from leads as l
    cross join lateral unnest(string_to_array(l.trigger, ',')) as m (member)
    inner join entry on btrim(m.member) = entry.trigger
    where l.phone in (
        select done.contact_phone
        from done
        where done.is_orphan
    )
),

-- Messages of the window whose row is not done.
written as materialized (
    select
        sc.id,
        sc.status,
        m.created_at,
        m.id = md5('seqdev message ' || sc.id)::uuid as is_own
    from broadcast_messages as m
    inner join sequences as s on m.sequence_id = s.id
    inner join sequence_contacts as sc
        on
            m.sequence_id = sc.sequence_id
            and m.recipient_phone = sc.contact_phone
            and m.sequence_stepid = sc.sequence_stepid
    where
        m.created_at >= :'now'::timestamptz - :'since'::interval
        and (nullif(:'until', '')::timestamptz is null or m.created_at < nullif(:'until', '')::timestamptz)
        and (sc.status = any(:'done'::text [])) is not true
        and (
            nullif(:'user', '')::uuid is null
            or s.user_id = nullif(:'user', '')::uuid and coalesce(sc.user_id, s.user_id) = s.user_id
        )
        and (nullif(:'sequence', '')::uuid is null or sc.sequence_id = nullif(:'sequence', '')::uuid)
        and (nullif(:'device', '')::uuid is null or sc.assigned_device_id = nullif(:'device', '')::uuid)
),

early as materialized (
    select
        w.id,
        bool_or(w.is_own) as is_own,
        bool_or(not w.is_own) and min(w.status) = 'active' as is_foreign
    from written as w
    where
        -- Of an earlier time round, before the person began anew.
        not exists (
            select 1
            from seqdev.change as ch
            where ch.row_id = w.id and ch.column_name = 'id' and ch.changed_at >= w.created_at
        )
    group by w.id
),

-- Rows that are not done, and give cause to look at them.
standing as materialized (
    select
        sc.id,
        sc.status,
        sc.next_trigger_time,
        -- Of a claim without an instant it is known only that the row was due.
        coalesce(
            sc.processing_started_at, case when sc.completed_at is null then sc.next_trigger_time end
        ) <= :'stale'::timestamptz and sc.processing_device_id is not null as is_stuck,
        s.id = any(:'active_sequences'::uuid []) as is_running,
        s.id in (select paused.id from paused) or coalesce(d.id in (select paused.id from paused), false) as is_paused,
        sc.status = any(:'waiting'::text []) as is_waiting,
        case
            when s.id is null then 'sequence_gone'
            when step.id is null then 'step_gone'
        end as place,
        case
            when s.id is not null and l.id is null and not :'without_lead'::boolean then 'no_lead'
        end as lead,
        case
            when s.id is null or step.id is null then null
            when l.id is null and sc.assigned_device_id is null and not :'without_lead'::boolean then null
            when coalesce(sc.assigned_device_id, l.device_id) is null then 'no_device'
            when d.id is null then 'device_missing'
            when d.user_id <> s.user_id then 'other_users_device'
        end as device
    from sequence_contacts as sc
    left join sequences as s on sc.sequence_id = s.id
    left join step on sc.sequence_stepid = step.id and sc.sequence_id = step.sequence_id
    left join leads as l on s.user_id = l.user_id and sc.contact_phone = l.phone
    left join user_devices as d on coalesce(sc.assigned_device_id, l.device_id) = d.id
    where
        (sc.status = any(:'done'::text [])) is not true
        and (
            step.id is null
            or sc.status = 'set_aside'
            or sc.status = 'active' and coalesce(sc.next_trigger_time = 'infinity', true)
            or l.id is null
            or d.user_id is distinct from s.user_id
            or coalesce(
                sc.processing_started_at, case when sc.completed_at is null then sc.next_trigger_time end
            ) <= :'stale'::timestamptz and sc.processing_device_id is not null
            or sc.next_trigger_time <= :'now'::timestamptz - interval '15 minutes'
        )
        and (
            nullif(:'user', '')::uuid is null
            or s.user_id = nullif(:'user', '')::uuid and coalesce(sc.user_id, s.user_id) = s.user_id
        )
        and (nullif(:'sequence', '')::uuid is null or sc.sequence_id = nullif(:'sequence', '')::uuid)
        and (nullif(:'device', '')::uuid is null or sc.assigned_device_id = nullif(:'device', '')::uuid)
),

stranded as materialized (
    select distinct on (sc.sequence_id, sc.contact_phone)
        sc.id,
        sc.contact_phone,
        before.completed_at,
        coalesce(
            last.next_hours,
            (
                select max(step.next_hours)
                from step
                where step.next_id = sc.sequence_stepid
            ),
            0
        ) as next_hours
    from sequence_contacts as sc
    inner join step as own on sc.sequence_stepid = own.id and sc.sequence_id = own.sequence_id
    inner join sequence_contacts as before
        on sc.sequence_id = before.sequence_id and sc.contact_phone = before.contact_phone
    left join step as last on before.sequence_stepid = last.id and before.sequence_id = last.sequence_id
    where
        sc.status = any(:'waiting'::text [])
        and before.status = any(:'done'::text [])
        -- Where the step that was done is deleted since, the days tell the order.
        and (last.next_id = sc.sequence_stepid or last.id is null and sc.current_step > before.current_step)
        and not exists (
            select 1
            from sequence_contacts as x
            where x.sequence_id = sc.sequence_id and x.contact_phone = sc.contact_phone and x.status = 'active'
        )
    order by
        sc.sequence_id, sc.contact_phone, last.id is null, sc.current_step, before.completed_at desc nulls last, sc.id
),

rescheduled as materialized (
    select
        paired.id,
        paired.contact_phone,
        paired.due_at
    from (
        select
            sc.id,
            sc.contact_phone,
            sc.next_trigger_time,
            case
                when isfinite(before.completed_at) and isfinite(sc.next_trigger_time)
                    -- A hundred years are more than any calendar here needs.
                    then before.completed_at::timestamptz + least(step.next_hours, 876000) * interval '1 hour'
            end as due_at
        from sequence_contacts as sc
        inner join step on sc.sequence_id = step.sequence_id and sc.sequence_stepid = step.next_id
        inner join sequence_contacts as before
            on
                sc.sequence_id = before.sequence_id
                and sc.contact_phone = before.contact_phone
                and step.id = before.sequence_stepid
        where
            sc.status = 'active'
            and before.status = any(:'done'::text [])
            -- Only what seqdev has made: it was due exactly then.
            and sc.id = md5('seqdev contact ' || before.id || ' ' || step.next_id)::uuid
    ) as paired
    where
        (paired.due_at > :'now'::timestamptz or paired.next_trigger_time > :'now'::timestamptz)
        and abs(
            extract(epoch from paired.due_at) - extract(epoch from paired.next_trigger_time::timestamptz)
        ) > 60
),

finding (kind, id) as materialized (
    select
        'done_no_message',
        done.id
    from done
    where done.is_unsent and done.is_written is null
    union all
    select
        'message_not_done',
        early.id
    from early
    where early.is_own
    union all
    select
        'written_by_other',
        early.id
    from early
    where early.is_foreign
    union all
    select
        'next_step_missing',
        done.id
    from done
    -- When a sequence is over its trigger leaves the lead: a step that was added later is not missing.
    inner join entering
        on
            done.user_id = entering.user_id
            and done.contact_phone = entering.phone
            and done.sequence_id = entering.sequence_id
    where done.is_orphan
    union all
    select
        one.kind,
        one.id
    from (
        select
            'stranded' as kind,
            stranded.id
        from stranded
        union all
        select
            'delay_changed' as kind,
            rescheduled.id
        from rescheduled
    ) as one
    inner join sequence_contacts as sc on one.id = sc.id
    left join sequences as s on sc.sequence_id = s.id
    where
        (
            nullif(:'user', '')::uuid is null
            or s.user_id = nullif(:'user', '')::uuid and coalesce(sc.user_id, s.user_id) = s.user_id
        )
        and (nullif(:'sequence', '')::uuid is null or sc.sequence_id = nullif(:'sequence', '')::uuid)
        and (nullif(:'device', '')::uuid is null or sc.assigned_device_id = nullif(:'device', '')::uuid)
    union all
    select
        'several_active',
        pick.id
    from (
        select
            sc.sequence_id,
            sc.contact_phone
        from sequence_contacts as sc
        left join sequences as s on sc.sequence_id = s.id
        where
            sc.status = 'active'
            and (
                nullif(:'user', '')::uuid is null
                or s.user_id = nullif(:'user', '')::uuid and coalesce(sc.user_id, s.user_id) = s.user_id
            )
            and (nullif(:'sequence', '')::uuid is null or sc.sequence_id = nullif(:'sequence', '')::uuid)
            and (nullif(:'device', '')::uuid is null or sc.assigned_device_id = nullif(:'device', '')::uuid)
        group by sc.sequence_id, sc.contact_phone
        having count(*) > 1
    ) as person
    cross join lateral (
        select c.id
        from sequence_contacts as c
        where
            c.sequence_id = person.sequence_id and c.contact_phone = person.contact_phone and c.status = 'active'
        order by c.next_trigger_time, c.id
        limit 1
    ) as pick
    union all
    select
        wrong.kind,
        c.id
    from standing as c
    cross join lateral (
        values
            (case when c.status = 'active' or c.is_waiting then c.place end),
            (case when c.status = 'active' or c.is_waiting then c.lead end),
            (case when c.status = 'active' then c.device end),
            (case when c.status = 'active' and coalesce(c.next_trigger_time = 'infinity', true) then 'never_due' end),
            (case when c.status = 'set_aside' then 'quarantined' end),
            (case when c.status = 'active' and c.is_stuck then 'stuck' end),
            (
                case
                    when c.status is distinct from 'active' or not coalesce(c.is_running, false) then null
                    when c.is_paused and c.next_trigger_time <= :'now'::timestamptz - interval '15 minutes' then 'paused'
                    when c.next_trigger_time <= :'now'::timestamptz - interval '7 days' then 'overdue_7d'
                    when c.next_trigger_time <= :'now'::timestamptz - interval '1 day' then 'overdue_1d'
                    when c.next_trigger_time <= :'now'::timestamptz - interval '1 hour' then 'overdue_1h'
                    when c.next_trigger_time <= :'now'::timestamptz - interval '15 minutes' then 'overdue_15m'
                end
            )
    ) as wrong (kind)
    where wrong.kind is not null
),

placed as materialized (
    select
        f.kind,
        sc.id,
        sc.contact_phone,
        sc.sequence_id,
        sc.current_step,
        sc.sequence_stepid,
        sc.status,
        sc.last_error,
        sc.assigned_device_id,
        case
            when f.kind in ('done_no_message', 'message_not_done', 'next_step_missing', 'sequence_gone') then 'irreparable'
            else 'open'
        end as state,
        case
            when f.kind = 'stuck' then sc.processing_started_at
            when sc.status = any(:'done'::text []) then sc.completed_at
            else sc.next_trigger_time
        end::timestamptz as at
    from finding as f
    inner join sequence_contacts as sc on f.id = sc.id
),

-- Rows that a repair has dealt with are no findings any more. The device is the business of audit mismatches too.
repaired as materialized (
    select distinct ch.row_id as id
    from seqdev.run as r
    inner join seqdev.change as ch on r.id = ch.run_id
    where
        r.started_at >= :'now'::timestamptz - :'since'::interval
        and (nullif(:'until', '')::timestamptz is null or r.started_at < nullif(:'until', '')::timestamptz)
        and r.command ~ '^repair (?!undo|assigned|failed|queued|home)'
        and ch.table_name = 'sequence_contacts'
        -- What is in effect: the last change of the row.
        and not exists (
            select 1
            from seqdev.change as later
            where later.row_id = ch.row_id and later.column_name = ch.column_name and later.id > ch.id
        )
),

happened as materialized (
    select
        case when isfinite(p.at) then p.at end as at,
        null::timestamptz as first_at,
        p.assigned_device_id as device_id,
        p.sequence_id,
        p.state
    from placed as p
    union all
    select
        null as at,
        null as first_at,
        sc.assigned_device_id as device_id,
        sc.sequence_id,
        'repaired' as state
    from repaired
    inner join sequence_contacts as sc on repaired.id = sc.id
    left join sequences as s on sc.sequence_id = s.id
    where
        sc.id not in (select p.id from placed as p)
        and (
            nullif(:'user', '')::uuid is null
            or s.user_id = nullif(:'user', '')::uuid and coalesce(sc.user_id, s.user_id) = s.user_id
        )
        and (nullif(:'sequence', '')::uuid is null or sc.sequence_id = nullif(:'sequence', '')::uuid)
        and (nullif(:'device', '')::uuid is null or sc.assigned_device_id = nullif(:'device', '')::uuid)
),

-- The master of the tally: it stands, the same, in every audit that lists what it finds.
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
),

-- The master of worst, bucket and summary: they stand, the same, in every audit that begins with one.
worst as (
    select
        coalesce(d.device_name, left(d.id::text, 0))::text as device,
        w.device_id,
        coalesce(s.name, left(s.id::text, 0))::text as sequence,
        w.sequence_id,
        w.number
    from (
        select
            h.device_id,
            h.sequence_id,
            count(*) as number
        from happened as h
        where h.state not in ('repaired', 'settled')
        group by h.device_id, h.sequence_id
        order by number desc, h.device_id, h.sequence_id
        limit 5
    ) as w
    left join user_devices as d on w.device_id = d.id
    left join sequences as s on w.sequence_id = s.id
),

bucket as (
    select
        n.place,
        coalesce(b.number, 0) as number
    from generate_series(1, 30) as n (place)
    left join (
        select
            least(
                width_bucket(
                    extract(epoch from h.at),
                    extract(epoch from :'now'::timestamptz - :'since'::interval),
                    extract(epoch from least(nullif(:'until', '')::timestamptz, :'now'::timestamptz)),
                    30
                ), 30
            ) as place,
            count(*) as number
        from happened as h
        where h.at <= :'now'::timestamptz
        group by 1
    ) as b on n.place = b.place
),

summary as (
    select
        jsonb_build_object(
            'seconds', extract(
                epoch from least(nullif(:'until', '')::timestamptz, :'now'::timestamptz) - (:'now'::timestamptz - :'since'::interval)
            ),
            'until', nullif(least(nullif(:'until', '')::timestamptz, :'now'::timestamptz), :'now'::timestamptz),
            'first_at', min(coalesce(h.first_at, h.at)),
            'last_at', max(h.at) filter (where h.at <= :'now'::timestamptz),
            'per_minute', round(recent.number / 5.0, 1),
            'still_happens', recent.number > 0,
            'open', count(*) filter (where h.state = 'open'),
            'repaired', count(*) filter (where h.state = 'repaired'),
            'settled', count(*) filter (where h.state = 'settled'),
            'irreparable', count(*) filter (where h.state = 'irreparable'),
            'buckets', (
                select jsonb_agg(b.number order by b.place)
                from bucket as b
            ),
            'worst', (
                select coalesce(jsonb_agg(to_jsonb(w) order by w.number desc, w.device_id, w.sequence_id), '[]')
                from worst as w
            )
        ) as summary
    from (
        select count(*) as number
        from happened as r
        where
            r.at > least(nullif(:'until', '')::timestamptz, :'now'::timestamptz) - interval '5 minutes'
            and r.at <= least(nullif(:'until', '')::timestamptz, :'now'::timestamptz)
    ) as recent
    left join happened as h on true
    group by recent.number
),

listed as materialized (
    select
        p.*,
        row_number() over () as place
    from (
        select placed.*
        from placed
        inner join kind on placed.kind = kind.kind
        order by kind.severity, placed.kind, placed.at nulls first, placed.id
        limit nullif(:'limit', '')::integer
    ) as p
),

owner as materialized (
    select distinct on (l.user_id, l.phone)
        l.user_id,
        l.phone,
        l.device_id
    from leads as l
    where l.phone in (select listed.contact_phone from listed)
    order by l.user_id, l.phone
),

told as materialized (
    select
        listed.*,
        coalesce(s.name, left(s.id::text, 0))::text as sequence_name,
        s.user_id,
        owner.device_id as lead_device_id
    from listed
    left join sequences as s on listed.sequence_id = s.id
    left join owner on s.user_id = owner.user_id and listed.contact_phone = owner.phone
)

select
    f.kind as finding,
    f.contact_phone::text as phone,
    f.sequence_name::text as sequence,
    f.sequence_id,
    coalesce(st.day_number, f.current_step)::integer as step,
    f.sequence_stepid as step_id,
    f.state,
    f.status::text as status,
    case f.kind when 'quarantined' then f.last_error end::text as reason,
    coalesce(d.device_name, left(d.id::text, 0))::text as assigned_device,
    f.assigned_device_id,
    case when isfinite(f.at) then f.at end as at,
    f.id as contact_id,
    replace(
        replace(kind.repair, 'DEVICE', coalesce(f.assigned_device_id::text, f.lead_device_id::text, 'DEVICE')),
        'USER', coalesce(f.user_id::text, 'USER')
    ) as repair,
    tally.total,
    tally.found,
    case when coalesce(f.place, 1) = 1 then summary.summary end as summary
from summary
cross join tally
-- A row at least: where all is repaired, nothing is listed.
left join told as f on true
left join kind on f.kind = kind.kind
left join sequence_steps as st on f.sequence_stepid = st.id
left join user_devices as d on f.assigned_device_id = d.id
order by f.place;
