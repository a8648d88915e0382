-- Runs of the journal that are old, and that nobody needs any more: a part of them, the oldest first
--
-- A run goes with all that it has changed, and with what has undone it, or not at all: of a run half of whose changes
-- were gone, an undo would bring back half. It is kept while one of its family is young, and while what one of them
-- has changed is still in effect: the row of a step that is not done (repair home, contacts resume and the ticks look
-- there), a message that is not sent, the device that a lead has of it, a rule, a phone that is blocked.
--
-- Parameters:
--   now           timestamptz  the instant of the transaction
--   keep          interval     what began in this time stays
--   in_effect     boolean      take also what is in effect
--   done          text[]       values of sequence_contacts.status: the step is done
--   after         timestamptz  look behind this run: its beginning
--   after_run     uuid         and its id
--   most          integer      runs to look at, at most
--   most_changes  integer      changes to take, about: a run is never taken in part
-- Row:
--   run_ids       uuid[]       runs that nobody needs
--   changes       bigint       changes that they have made
--   young         bigint       runs that are kept since what undid them is young
--   standing      bigint       runs that are kept since what they did is in effect
--   oldest        timestamptz  when the first of the runs in run_ids began; null: there is none
--   looked_until  timestamptz  the beginning of the last run that was looked at; null: there was none
--   looked_run    uuid         and its id
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?keep} \else \set keep '90 days' \endif
\if :{?in_effect} \else \set in_effect 'false' \endif
\if :{?done} \else \set done '{completed,sent,failed}' \endif
\if :{?after} \else \set after '-infinity' \endif
\if :{?after_run} \else \set after_run '00000000-0000-0000-0000-000000000000' \endif
\if :{?most} \else \set most '10000' \endif
\if :{?most_changes} \else \set most_changes '50000' \endif
-- The recursion is a statement of its own: Citus does not run it beside distributed tables.
with undo as materialized (
    with recursive undoing as materialized (
        select
            r.id,
            r.started_at,
            substring(r.command from 13)::uuid as undoes
        from seqdev.run as r
        -- The first is what its index is about.
        where r.command like 'repair undo %' and r.command ~ '^repair undo [-0-9a-f]{36}$'
    ),

    ancestry (run_id, started_at, ancestor_id, depth) as (
        select
            u.id,
            u.started_at,
            u.undoes,
            1
        from undoing as u
        union all
        select
            a.run_id,
            a.started_at,
            u.undoes,
            a.depth + 1
        from ancestry as a
        inner join undoing as u on a.ancestor_id = u.id
    )

    select distinct on (a.run_id)
        a.run_id,
        a.started_at,
        a.ancestor_id as root_id
    from ancestry as a
    order by a.run_id, a.depth desc
),

looked_at as materialized (
    select
        r.id,
        r.started_at
    from seqdev.run as r
    where
        r.started_at < :'now'::timestamptz - :'keep'::interval
        and r.started_at >= :'after'::timestamptz
        and (r.started_at, r.id) > (:'after'::timestamptz, :'after_run'::uuid)
    order by r.started_at, r.id
    limit :'most'::integer
),

-- With the first run comes its family.
family as materialized (
    select
        l.id,
        l.started_at,
        array_prepend(l.id, coalesce(array_agg(u.run_id) filter (where u.run_id is not null), '{}')) as run_ids,
        coalesce(max(u.started_at), l.started_at) >= :'now'::timestamptz - :'keep'::interval as is_young
    from looked_at as l
    left join undo as u on l.id = u.root_id
    where l.id not in (select undo.run_id from undo)
    group by l.id, l.started_at
),

counted as materialized (
    select
        f.*,
        n.changes,
        sum(n.changes) over (order by f.started_at, f.id) - n.changes as before
    from family as f
    cross join lateral (
        select count(*) as changes
        from seqdev.change as ch
        where ch.run_id = any(f.run_ids)
    ) as n
),

taken as materialized (
    select counted.*
    from counted
    where counted.before < :'most_changes'::integer
),

changed as materialized (
    select
        t.id as family_id,
        ch.table_name,
        ch.row_id,
        ch.column_name,
        ch.new_value
    from taken as t
    inner join seqdev.change as ch on ch.run_id = any(t.run_ids)
    where t.changes > 0 and not t.is_young and not :'in_effect'::boolean
),

-- Each kind of row on its own, by key.
standing as materialized (
    select c.family_id
    from changed as c
    where
        c.table_name = 'sequence_contacts'
        and c.row_id in (
            select sc.id
            from sequence_contacts as sc
            where
                sc.id in (select x.row_id from changed as x where x.table_name = 'sequence_contacts')
                and coalesce(sc.status <> all(:'done'::text []), true)
        )
    union
    select c.family_id
    from changed as c
    where
        c.table_name = 'broadcast_messages'
        and c.row_id in (
            select m.id
            from broadcast_messages as m
            where
                m.id in (select x.row_id from changed as x where x.table_name = 'broadcast_messages')
                and m.status in ('pending', 'queued', 'processing', 'failed')
        )
    union
    select c.family_id
    from changed as c
    where
        c.table_name = 'leads'
        and c.column_name = 'device_id'
        and (c.row_id, c.new_value) in (
            select
                l.id,
                l.device_id::text
            from leads as l
            where l.id in (select x.row_id from changed as x where x.table_name = 'leads')
        )
    union
    select c.family_id
    from changed as c
    inner join seqdev.rule as r on c.row_id = r.id and c.new_value = r.value
    where c.table_name = 'rule'
    union
    select c.family_id
    from changed as c
    inner join seqdev.blocked as b on c.row_id = b.id and b.since is not null
    where c.table_name = 'blocked'
),

last as materialized (
    -- Where changes set the end, the last that was taken; else the last of all.
    select
        l.started_at,
        l.id
    from looked_at as l
    where
        not exists (select 1 from counted as c where c.before >= :'most_changes'::integer)
        or l.id in (select t.id from taken as t)
    order by l.started_at desc, l.id desc
    limit 1
),

judged as materialized (
    select
        t.*,
        t.id in (select s.family_id from standing as s) as is_standing
    from taken as t
),

unneeded as (
    select array_agg(member.id) as run_ids
    from judged as n
    cross join unnest(n.run_ids) as member (id)
    where not n.is_young and not n.is_standing
)

select
    coalesce((select u.run_ids from unneeded as u), '{}') as run_ids,
    coalesce(sum(j.changes) filter (where not j.is_young and not j.is_standing), 0)::bigint as changes,
    coalesce(sum(cardinality(j.run_ids)) filter (where j.is_young), 0)::bigint as young,
    coalesce(sum(cardinality(j.run_ids)) filter (where j.is_standing), 0)::bigint as standing,
    min(j.started_at) filter (where not j.is_young and not j.is_standing) as oldest,
    (select l.started_at from last as l) as looked_until,
    (select l.id from last as l) as looked_run
from judged as j;
