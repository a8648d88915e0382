-- Lock the next devices that have due contacts, oldest first
--
-- A device's contacts are claimed under its lock, and its capacity counted in a later statement, which
-- sees what the holder before has committed. Devices that another tick holds are passed over. Of more than
-- 25 devices no more than a quarter is taken at once, to leave some to the ticks that run beside.
--
-- Parameters:
--   due_by    timestamptz  contacts are due that are due by then: the instant the run began
--   oldest    timestamptz  contacts that were due before are too late, and left out
--   policy    text         device policy; strict asks available devices only
--   active    text[]       values of sequences.status that count as active
--   online    text[]       values of user_devices.status that count as online
--   claimed   interval     how long the claim of another processor is respected
--   done      uuid[]       devices to leave out: this run has nothing more for them
--   most      integer      devices to lock, at most
-- Row:
--   device_id  uuid         a device that is now locked; null in the one row where none is
--   waiting    integer      devices with due contacts, locked or not
--   locked_at  timestamptz  the clock when the lock was taken: what the holder before wrote is older
-- Locks: a transaction-level advisory lock for each device, and a shared one for its user; no row of the host
\if :{?due_by} \else \set due_by 'now' \endif
\if :{?oldest} \else \set oldest '-infinity' \endif
\if :{?policy} \else \set policy 'queue' \endif
\if :{?active} \else \set active '{active}' \endif
\if :{?online} \else \set online '{online}' \endif
\if :{?claimed} \else \set claimed '5 minutes' \endif
\if :{?done} \else \set done '{}' \endif
\if :{?most} \else \set most '100' \endif
with step as materialized (
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

ready as materialized (
    select
        d.id,
        d.user_id
    from user_devices as d
    where
        d.id <> all(:'done'::uuid [])
        and (
            :'policy'::text = 'queue'
            or (
                d.status = any(:'online'::text [])
                and not exists (
                    select 1
                    from device_load_balance as b
                    where b.device_id = d.id and not b.is_available
                )
            )
        )
),

candidate as materialized (
    select
        due.device_id,
        owner.user_id,
        min(due.oldest) as oldest
    from (
        select
            ready.id as device_id,
            own.oldest
        from ready
        cross join lateral (
            select sc.next_trigger_time as oldest
            from sequence_contacts as sc
            where
                sc.assigned_device_id = ready.id
                and sc.status = 'active'
                and sc.next_trigger_time <= :'due_by'::timestamptz
                and (:'oldest'::timestamptz = '-infinity' or sc.next_trigger_time >= :'oldest'::timestamptz)
                and sc.contact_phone ~ '\S'
                and (
                    sc.processing_started_at is null
                    or sc.processing_started_at <= :'due_by'::timestamptz - :'claimed'::interval
                )
                -- "is true" keeps this a lookup in a hash, and the scan in the order of the index.
                and ((ready.user_id, sc.sequence_id, sc.sequence_stepid) in (
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
        -- Contacts without an assigned device are their lead's.
        select
            l.device_id,
            min(sc.next_trigger_time)
        from sequence_contacts as sc
        inner join sequences as s on sc.sequence_id = s.id
        -- One lookup by key for each, whatever the planner expects: user and phone are unique.
        cross join lateral (
            select leads.device_id
            from leads
            where leads.user_id = s.user_id and leads.phone = sc.contact_phone
            limit 1
        ) as l
        where
            sc.assigned_device_id is null
            and sc.status = 'active'
            and sc.next_trigger_time <= :'due_by'::timestamptz
            and (:'oldest'::timestamptz = '-infinity' or sc.next_trigger_time >= :'oldest'::timestamptz)
            and (s.user_id in (select ready.user_id from ready)) is true
            and (l.device_id in (select ready.id from ready)) is true
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
        group by l.device_id
    ) as due
    inner join ready as owner on due.device_id = owner.id
    group by due.device_id, owner.user_id
    order by min(due.oldest), due.device_id
)

select
    locked.device_id,
    waiting.devices as waiting,
    clock_timestamp() as locked_at
from (
    select count(*)::integer as devices
    from candidate
) as waiting
left join lateral (
    -- Straight from the materialized rows, in their order: out of a subquery, the planner would try the lock
    -- of every device before it sorts and stops.
    select c.device_id
    from candidate as c
    where
        -- Shared with other ticks that work by device; not with one that works for the user as a whole.
        case
            when pg_try_advisory_xact_lock_shared(hashtextextended('seqdev user ' || c.user_id, 0))
                then pg_try_advisory_xact_lock(hashtextextended('seqdev device ' || c.device_id, 0))
            else false
        end
    limit least(:'most'::integer, greatest(25, waiting.devices / 4))
) as locked on true;
