-- Lock the next users who have due contacts and an available device, oldest first: fallback and reassign
--
-- Under these policies a contact may go to any available device of its user, so that the user is locked as a
-- whole: one lock a user, however many devices. Users that another tick works for are passed over.
--
-- Parameters:
--   due_by    timestamptz  contacts are due that are due by then: the instant the run began
--   oldest    timestamptz  contacts that were due before are too late, and left out
--   active    text[]       values of sequences.status that count as active
--   online    text[]       values of user_devices.status that count as online
--   claimed   interval     how long the claim of another processor is respected
--   done      uuid[]       devices of users to leave out: this run has nothing more for them
--   most      integer      users to lock, at most
-- Row:
--   device_id  uuid         an available device of a user that is now locked; null in the one row where none is
--   waiting    integer      users with due contacts, locked or not
--   locked_at  timestamptz  the clock when the lock was taken: what the holder before wrote is older
-- Locks: a transaction-level advisory lock for each user; no row of the host
\if :{?due_by} \else \set due_by 'now' \endif
\if :{?oldest} \else \set oldest '-infinity' \endif
\if :{?active} \else \set active '{active}' \endif
\if :{?online} \else \set online '{online}' \endif
\if :{?claimed} \else \set claimed '5 minutes' \endif
\if :{?done} \else \set done '{}' \endif
\if :{?most} \else \set most '20' \endif
with recursive step as materialized (
    select
        s.user_id,
        st.sequence_id,
        st.id
    from sequences as s
    inner join sequence_steps as st on s.id = st.sequence_id
    where
        s.is_active
        and s.status = any(:'active'::text [])
        and (st.content ~ '\S' or st.media_url ~ '\S')
),

available as materialized (
    select
        d.id,
        d.user_id
    from user_devices as d
    where
        d.status = any(:'online'::text [])
        and not exists (
            select 1
            from device_load_balance as b
            where b.device_id = d.id and not b.is_available
        )
        and d.user_id not in (
            select finished.user_id
            from user_devices as finished
            where finished.id = any(:'done'::uuid []) and finished.user_id is not null
        )
),

ready as materialized (
    select distinct available.user_id
    from available
),

-- Each assigned device once, by hopping from one to the next in the index.
assigned (device_id) as (
    (
        select sc.assigned_device_id
        from sequence_contacts as sc
        where sc.status = 'active' and sc.assigned_device_id is not null
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
        d.id as device_id,
        d.user_id
    from user_devices as d
    inner join ready on d.user_id = ready.user_id
    union all
    -- A device that is gone may have people of any user.
    select
        a.device_id,
        ready.user_id
    from assigned as a
    cross join ready
    where
        a.device_id is not null
        and not exists (
            select 1
            from user_devices as d
            where d.id = a.device_id
        )
),

candidate as materialized (
    select
        due.user_id,
        min(due.oldest) as oldest
    from (
        select
            source.user_id,
            own.oldest
        from source
        cross join lateral (
            select sc.next_trigger_time as oldest
            from sequence_contacts as sc
            where
                sc.assigned_device_id = source.device_id
                and sc.status = 'active'
                and sc.next_trigger_time <= :'due_by'::timestamptz
                and (:'oldest'::timestamptz = '-infinity' or sc.next_trigger_time >= :'oldest'::timestamptz)
                and sc.contact_phone ~ '\S'
                and (
                    sc.processing_started_at is null
                    or sc.processing_started_at <= :'due_by'::timestamptz - :'claimed'::interval
                )
                -- "is true" keeps this a lookup in a hash, and the scan in the order of the index.
                and ((source.user_id, sc.sequence_id, sc.sequence_stepid) in (
                    select
                        step.user_id,
                        step.sequence_id,
                        step.id
                    from step
                )) is true
            order by sc.next_trigger_time
            limit 1
        ) as own
        union all
        select
            s.user_id,
            min(sc.next_trigger_time)
        from sequence_contacts as sc
        inner join sequences as s on sc.sequence_id = s.id
        where
            sc.assigned_device_id is null
            and sc.status = 'active'
            and sc.next_trigger_time <= :'due_by'::timestamptz
            and (:'oldest'::timestamptz = '-infinity' or sc.next_trigger_time >= :'oldest'::timestamptz)
            and (s.user_id in (select ready.user_id from ready)) is true
            and ((s.user_id, sc.sequence_id, sc.sequence_stepid) in (
                select
                    step.user_id,
                    step.sequence_id,
                    step.id
                from step
            )) is true
            and sc.contact_phone ~ '\S'
            and (
                sc.processing_started_at is null
                or sc.processing_started_at <= :'due_by'::timestamptz - :'claimed'::interval
            )
        group by s.user_id
    ) as due
    group by due.user_id
    order by oldest, user_id
),

-- Straight from the materialized rows, in their order: out of a subquery, the planner would try the lock of
-- every user before it sorts and stops.
locked as materialized (
    select c.user_id
    from candidate as c
    where pg_try_advisory_xact_lock(hashtextextended('seqdev user ' || c.user_id, 0))
    limit greatest(1, least(:'most'::integer, ((select count(*) from candidate) + 3) / 4))
)

select
    free.id as device_id,
    waiting.users as waiting,
    clock_timestamp() as locked_at
from (
    select count(*)::integer as users
    from candidate
) as waiting
left join (
    select available.id
    from locked
    inner join available on locked.user_id = available.user_id
) as free on true;
