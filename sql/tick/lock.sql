-- Lock the next devices, or users, that have due contacts, oldest first
--
-- What is due is claimed under these locks, and capacity counted in a later statement, which sees what the holder
-- before has committed. Under fallback and reassign a contact may go to any available device of its user, so that
-- the user is locked as a whole: one lock a user, however many devices. So it is where very many devices have something
-- due: a lock each would fill the server's table of locks, or make very many small batches. What another tick holds is
-- passed over. Of many no more than a quarter is taken at once, to leave some to the ticks that run beside.
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
-- Locks: transaction-level advisory locks: each device, and its user shared; or each user. No row of the host
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
with recursive step as materialized (
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
        -- Nobody of a user goes whose steps are all shut: their contacts need not be looked at.
        and (device.user_id in (select step.user_id from step)) is true
    union all
    select distinct
        null::uuid,
        device.user_id
    from device
    where
        :'by_user'::boolean
        and device.reason is null
        and (device.user_id in (select step.user_id from step)) is true
        and device.user_id not in (
            select finished.user_id
            from device as finished
            where finished.id = any(:'done'::uuid []) and finished.user_id is not null
        )
),

-- Each assigned device once, by hopping from one to the next in the index. Looked for by user only: a device
-- that is gone may have people of any user.
assigned (device_id) as (
    (
        select sc.assigned_device_id
        from sequence_contacts as sc
        where :'by_user'::boolean and sc.status = 'active' and sc.assigned_device_id is not null
        order by sc.assigned_device_id
        limit 1
    )
    union all
    select (
        select sc.assigned_device_id
        from sequence_contacts as sc
        where sc.status = 'active' and sc.assigned_device_id > a.device_id
        order by sc.assigned_device_id
        limit 1
    )
    from assigned as a
    where a.device_id is not null
),

source as materialized (
    select
        ready.device_id,
        ready.user_id
    from ready
    where not :'by_user'::boolean
    union all
    select
        device.id,
        device.user_id
    from device
    inner join ready on device.user_id = ready.user_id
    where :'by_user'::boolean
    union all
    select
        a.device_id,
        ready.user_id
    from assigned as a
    cross join ready
    where
        a.device_id is not null
        and a.device_id not in (select device.id from device)
),

candidate as materialized (
    select
        due.device_id,
        due.user_id,
        min(due.oldest) as oldest,
        bool_or(due.is_unassigned) as is_unassigned
    from (
        select
            case when not :'by_user'::boolean then source.device_id end as device_id,
            source.user_id,
            own.oldest,
            false as is_unassigned
        from source
        cross join lateral (
            select sc.next_trigger_time as oldest
            from sequence_contacts as sc
            where
                sc.assigned_device_id = source.device_id
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
            order by sc.next_trigger_time
            limit 1
        ) as own
        union all
        -- Contacts without an assigned device are their lead's.
        select
            case when not :'by_user'::boolean then l.device_id end as device_id,
            s.user_id,
            min(sc.next_trigger_time),
            true
        from sequence_contacts as sc
        inner join sequences as s on sc.sequence_id = s.id
        -- One lookup by key for each, whatever the planner expects: user and phone are unique.
        left join lateral (
            select leads.device_id
            from leads
            where leads.user_id = s.user_id and leads.phone = sc.contact_phone
            limit 1
        ) as l on true
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
    ) as due
    group by due.device_id, due.user_id
),

-- What has a lock of its own: a device, or with null the user as a whole.
unit as materialized (
    select
        case when not crowd.is_one then c.device_id end as device_id,
        c.user_id,
        min(c.oldest) as oldest
    from candidate as c
    cross join (select count(*) > :'crowd'::integer as is_one from candidate) as crowd
    group by 1, 2
    order by oldest, device_id, c.user_id
),

-- Straight from the materialized rows, in their order: out of a subquery, the planner would try the lock of
-- every one before it sorts and stops.
locked as materialized (
    select
        u.device_id,
        u.user_id
    from unit as u
    where
        case
            when u.device_id is null
                then pg_try_advisory_xact_lock(hashtextextended('seqdev user ' || u.user_id, 0))
            -- Shared with other ticks that work by device; not with one that works for the user as a whole.
            when pg_try_advisory_xact_lock_shared(hashtextextended('seqdev user ' || u.user_id, 0))
                then pg_try_advisory_xact_lock(hashtextextended('seqdev device ' || u.device_id, 0))
            else false
        end
    limit least(:'most'::integer, greatest(:'few'::integer, ((select count(*) from unit) + 3) / 4))
)

select
    held.device_id,
    waiting.number as waiting,
    clock_timestamp() as locked_at,
    waiting.oldest,
    waiting.unassigned
from (
    select
        count(*)::integer as number,
        min(candidate.oldest)::timestamptz::text as oldest,
        coalesce(bool_or(candidate.is_unassigned), false) as unassigned
    from candidate
) as waiting
left join (
    select locked.device_id
    from locked
    where locked.device_id is not null
    union all
    select device.id
    from locked
    inner join device on locked.user_id = device.user_id
    where :'by_user'::boolean
    union all
    (
        select c.device_id
        from locked
        inner join candidate as c on locked.user_id = c.user_id
        where not :'by_user'::boolean and locked.device_id is null
        order by c.oldest, c.device_id
        limit :'crowd'::integer
    )
) as held on true;
