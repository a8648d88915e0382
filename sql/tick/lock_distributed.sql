-- Lock the next devices, or users, that have due contacts, oldest first, on Citus: one tick at a time has them all
--
-- There, statements that update rows of several shards wait for one another until the commit, whichever rows they are, to
-- prevent deadlocks. Repairs and enrolments do; a batch would wait for all of theirs, with less patience than they have,
-- and come to nothing. So it does without: it gives way to whoever holds its rows, as everywhere. What another tick holds
-- is passed over, and that is all there is.
--
-- Parameters:
--   due_by        timestamptz  contacts are due that are due by then: the instant the run began
--   oldest        timestamptz  contacts that were due before are too late, and left out
--   stale         timestamptz  a claim that another processor made later than that is respected
--   without_lead  boolean      people without a lead of the sequence's user are due, too
--   national      text         a regular expression that tells a number without a country code
--   country       text         what stands for its match
--   by_user       boolean      lock users, not devices: fallback and reassign
--   done          uuid[]       devices to leave out, or all of their users: this run has nothing more for them
--   few           integer      so many are locked even where they are more than a quarter
--   most          integer      devices or users to lock, at most
--   crowd         integer      where more devices than that have something due, users are locked; devices to hold, at most
-- Gates: gates/windows.sql, gates/steps.sql, gates/devices.sql of all devices
-- Row:
--   device_id  uuid         a device that is now locked, itself or with its user; null in the one row where none is
--   waiting    integer      devices, or users, with due contacts, as far as each has a lock of its own
--   locked_at  timestamptz  the clock when the lock was taken: what the holder before wrote is older
--   oldest     text         timestamptz: when the first of all that are due was due, of whatever device; null: none is
--   unassigned boolean      whether any of those has no assigned device
-- Locks: a transaction-level advisory lock on the coordinator. No row of the host
\if :{?due_by} \else \set due_by 'now' \endif
\if :{?oldest} \else \set oldest '-infinity' \endif
\if :{?stale} \else \set stale '-infinity' \endif
\if :{?without_lead} \else \set without_lead 'false' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
\if :{?by_user} \else \set by_user 'false' \endif
\if :{?done} \else \set done '{}' \endif
\if :{?few} \else \set few '25' \endif
\if :{?most} \else \set most '100' \endif
\if :{?crowd} \else \set crowd '1000' \endif
\if :{?recipient_hours} \else \ir ../gates/windows.sql \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
select set_config('citus.enable_deadlock_prevention', 'off', true) as deadlock_prevention;

-- In a statement without a table, which runs on the coordinator and before the others: what is counted after it has all
-- that the holder before has written.
select
    set_config(
        'seqdev.locked_at',
        case when pg_try_advisory_xact_lock(hashtextextended('seqdev tick', 0)) then clock_timestamp()::text else '' end,
        true
    ) as locked_at;

with lock as materialized (
    select nullif(current_setting('seqdev.locked_at'), '')::timestamptz as taken_at
),

step as materialized (
    select
        s.user_id,
        s.sequence_id,
        s.id
    from unnest(
        :'step_users'::uuid [], :'step_sequences'::uuid [], :'steps'::uuid [], :'step_reasons'::text []
    ) as s (user_id, sequence_id, id, reason)
    where coalesce(s.reason is null, false)
),

device as materialized (
    select
        d.id,
        d.user_id,
        d.reason
    from unnest(:'devices'::uuid [], :'device_users'::uuid [], :'device_reasons'::text []) as d (id, user_id, reason)
),

ready as materialized (
    select
        device.id as device_id,
        device.user_id
    from device
    where
        not :'by_user'::boolean
        and device.reason is null
        and device.id <> all(:'done'::uuid [])
    union all
    select distinct
        null::uuid,
        device.user_id
    from device
    where
        :'by_user'::boolean
        and device.reason is null
        and device.user_id not in (
            select finished.user_id
            from device as finished
            where finished.id = any(:'done'::uuid []) and finished.user_id is not null
        )
),

own as materialized (
    select
        source.device_id,
        source.user_id,
        min(sc.next_trigger_time) as oldest
    from sequence_contacts as sc
    inner join ready as source on sc.assigned_device_id = source.device_id
    where
        not :'by_user'::boolean
        -- due: as in tick/claim.sql
        and sc.status = 'active'
        and sc.next_trigger_time between :'oldest'::timestamptz and :'due_by'::timestamptz
        and coalesce(
            sc.processing_started_at <= :'stale'::timestamptz,
            sc.processing_device_id is null or sc.completed_at is not null
        )
        and sc.contact_phone ~ '\S'
        and (:'without_lead'::boolean or (
            select true from leads as person
            where (person.user_id, person.phone) = (source.user_id, sc.contact_phone) limit 1
        ))
        and (:'recipient_hours'::jsonb = '{}' or (
            -- The longest prefix of the phone that there is tells: gates/windows.sql.
            select (:'recipient_hours'::jsonb ->> of.key)::boolean
            from (
                -- digits: as in enroll/persons.sql
                select
                    case when sc.contact_phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                        else regexp_replace(bare.digits, :'national'::text, :'country'::text) end as digits
                from (
                    select regexp_replace(
                        sc.contact_phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
                    ) as digits
                ) as bare
            ) as person
            cross join generate_series(9, 0, -1) as prefix (size)
            cross join lateral (
                select (:'recipient_hours'::jsonb ->> sc.sequence_stepid::text) || ' ' || left(person.digits, prefix.size) as key
            ) as of
            where :'recipient_hours'::jsonb ? of.key
            limit 1
        ) is not false)
        and ((source.user_id, sc.sequence_id, sc.sequence_stepid)
            in (select step.user_id, step.sequence_id, step.id from step)) is true
    group by source.device_id, source.user_id
),

-- Looked for by user only: a device that is gone may have people of any user.
of_user as materialized (
    select
        source.user_id,
        min(sc.next_trigger_time) as oldest
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    inner join ready as source on s.user_id = source.user_id
    left join device on sc.assigned_device_id = device.id
    where
        :'by_user'::boolean
        and sc.assigned_device_id is not null
        and (device.id is null or device.user_id = source.user_id)
        -- due: as in tick/claim.sql
        and sc.status = 'active'
        and sc.next_trigger_time between :'oldest'::timestamptz and :'due_by'::timestamptz
        and coalesce(
            sc.processing_started_at <= :'stale'::timestamptz,
            sc.processing_device_id is null or sc.completed_at is not null
        )
        and sc.contact_phone ~ '\S'
        and (:'without_lead'::boolean or (
            select true from leads as person
            where (person.user_id, person.phone) = (source.user_id, sc.contact_phone) limit 1
        ))
        and (:'recipient_hours'::jsonb = '{}' or (
            -- The longest prefix of the phone that there is tells: gates/windows.sql.
            select (:'recipient_hours'::jsonb ->> of.key)::boolean
            from (
                -- digits: as in enroll/persons.sql
                select
                    case when sc.contact_phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                        else regexp_replace(bare.digits, :'national'::text, :'country'::text) end as digits
                from (
                    select regexp_replace(
                        sc.contact_phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
                    ) as digits
                ) as bare
            ) as person
            cross join generate_series(9, 0, -1) as prefix (size)
            cross join lateral (
                select (:'recipient_hours'::jsonb ->> sc.sequence_stepid::text) || ' ' || left(person.digits, prefix.size) as key
            ) as of
            where :'recipient_hours'::jsonb ? of.key
            limit 1
        ) is not false)
        and ((source.user_id, sc.sequence_id, sc.sequence_stepid)
            in (select step.user_id, step.sequence_id, step.id from step)) is true
    group by source.user_id
),

-- Contacts without an assigned device are their lead's.
unassigned as materialized (
    select
        case when not :'by_user'::boolean then l.device_id end as device_id,
        s.user_id,
        min(sc.next_trigger_time) as oldest
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    left join leads as l on sc.contact_phone = l.phone and s.user_id = l.user_id
    where
        sc.assigned_device_id is null
        -- due: as in tick/claim.sql
        and sc.status = 'active'
        and sc.next_trigger_time between :'oldest'::timestamptz and :'due_by'::timestamptz
        and coalesce(
            sc.processing_started_at <= :'stale'::timestamptz,
            sc.processing_device_id is null or sc.completed_at is not null
        )
        and sc.contact_phone ~ '\S'
        and (:'without_lead'::boolean or (
            select true from leads as person
            where (person.user_id, person.phone) = (s.user_id, sc.contact_phone) limit 1
        ))
        and (:'recipient_hours'::jsonb = '{}' or (
            -- The longest prefix of the phone that there is tells: gates/windows.sql.
            select (:'recipient_hours'::jsonb ->> of.key)::boolean
            from (
                -- digits: as in enroll/persons.sql
                select
                    case when sc.contact_phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                        else regexp_replace(bare.digits, :'national'::text, :'country'::text) end as digits
                from (
                    select regexp_replace(
                        sc.contact_phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
                    ) as digits
                ) as bare
            ) as person
            cross join generate_series(9, 0, -1) as prefix (size)
            cross join lateral (
                select (:'recipient_hours'::jsonb ->> sc.sequence_stepid::text) || ' ' || left(person.digits, prefix.size) as key
            ) as of
            where :'recipient_hours'::jsonb ? of.key
            limit 1
        ) is not false)
        and ((s.user_id, sc.sequence_id, sc.sequence_stepid)
            in (select step.user_id, step.sequence_id, step.id from step)) is true
        and case
            when :'by_user'::boolean then (s.user_id in (select ready.user_id from ready)) is true
            else ((l.device_id, s.user_id) in (select ready.device_id, ready.user_id from ready)) is true
        end
    group by 1, 2
),

candidate as materialized (
    select
        due.device_id,
        due.user_id,
        min(due.oldest) as oldest,
        bool_or(due.is_unassigned) as is_unassigned
    from (
        select
            own.*,
            false as is_unassigned
        from own
        union all
        select
            null,
            of_user.*,
            false
        from of_user
        union all
        select
            unassigned.*,
            true
        from unassigned
    ) as due
    group by due.device_id, due.user_id
),

locked as materialized (
    select
        c.device_id,
        c.user_id
    from candidate as c
    where (select lock.taken_at is not null from lock)
    order by c.oldest, c.device_id, c.user_id
    -- There is one lock, however many devices are held.
    limit case
        when (select count(*) from candidate) > :'crowd'::integer then :'crowd'::integer else :'most'::integer
    end
)

select
    held.device_id,
    -- The others are for nobody's connection meanwhile, nor for another one of this run.
    case when held.device_id is null then waiting.number else 1 end as waiting,
    coalesce(lock.taken_at, now()) as locked_at,
    waiting.oldest,
    waiting.unassigned
from (
    select
        count(*)::integer as number,
        min(candidate.oldest)::timestamptz::text as oldest,
        coalesce(bool_or(candidate.is_unassigned), false) as unassigned
    from candidate
) as waiting
cross join lock
left join (
    select coalesce(locked.device_id, device.id) as device_id
    from locked
    left join device on :'by_user'::boolean and locked.user_id = device.user_id
) as held on true;
