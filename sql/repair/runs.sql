-- Runs that have changed rows, newest first
--
-- Parameters:
--   runs      uuid[]   only these; empty: all
--   undoable  boolean  only runs in effect, wholly or in part, that an undo takes back: no tick, and no undo
--   most      integer  runs to return; empty: all
-- Row:
--   run_id     uuid         the run
--   command    text         what was run
--   started    timestamptz  when it began
--   finished   boolean      false: it was cut off, or is still at work
--   changes    integer      values it has changed
--   undone     integer      of these, how many an undo has brought back
--   state      text         undone, partly undone, or in effect
--   undone_by  uuid         the last undo of it that is in effect; null: none is
--   undone_at  timestamptz  when that began
--   who        text         who ran it, and where
--   why        text         what for, as the person said with --why
--   total      integer      such runs in all, listed or not
-- Locks: none
\if :{?runs} \else \set runs '{}' \endif
\if :{?undoable} \else \set undoable 'false' \endif
\if :{?most} \else \set most '20' \endif
with recursive undoing as materialized (
    select
        r.id,
        r.started_at,
        substring(r.command from 13)::uuid as undoes,
        c.changes
    from seqdev.run as r
    cross join lateral (
        select count(*) as changes
        from seqdev.change as ch
        where ch.run_id = r.id
    ) as c
    -- The first is what its index is about.
    where r.command like 'repair undo %' and r.command ~ '^repair undo [-0-9a-f]{36}$' and c.changes > 0
),

-- An undo of an undo takes back what that one has brought back, and so on.
ancestry (run_id, ancestor_id, brought_back) as (
    select
        u.id as run_id,
        u.undoes as ancestor_id,
        u.changes as brought_back
    from undoing as u
    union all
    select
        a.run_id,
        u.undoes as ancestor_id,
        -a.brought_back as brought_back
    from ancestry as a
    inner join undoing as u on a.ancestor_id = u.id
),

back as materialized (
    select
        a.ancestor_id,
        sum(a.brought_back) as undone
    from ancestry as a
    group by a.ancestor_id
),

-- Undone as a whole.
taken_back as materialized (
    select back.ancestor_id
    from back
    where
        back.undone > 0
        and back.undone >= (
            select count(*)
            from seqdev.change as ch
            where ch.run_id = back.ancestor_id
        )
),

-- Asked for twice, for those to return and for their number: the first ends after few. A year has millions of runs, and
-- more changes: these are counted only of what is returned, or was undone.
chosen as not materialized (
    select r.*
    from seqdev.run as r
    where
        exists (
            select 1
            from seqdev.change as ch
            where ch.run_id = r.id
        )
        and (:'runs'::uuid [] = '{}' or r.id = any(:'runs'::uuid []))
        and (
            not :'undoable'::boolean
            or r.command <> 'tick'
            and r.command !~ '^repair undo '
            and r.id not in (select t.ancestor_id from taken_back as t)
        )
),

-- Each run that has changed anything once, by hopping from one to the next in the index.
changing (run_id) as (
    (
        select ch.run_id
        from seqdev.change as ch
        order by ch.run_id
        limit 1
    )
    union all
    select (
        select ch.run_id
        from seqdev.change as ch
        where ch.run_id > c.run_id
        order by ch.run_id
        limit 1
    )
    from changing as c
    where c.run_id is not null
),

listed as materialized (
    select c.*
    from chosen as c
    order by c.started_at desc, c.id
    limit nullif(:'most', '')::integer
)

select
    r.id as run_id,
    r.command,
    r.started_at as started,
    r.finished_at is not null as finished,
    c.changes::integer as changes,
    coalesce(back.undone, 0)::integer as undone,
    case
        when coalesce(back.undone, 0) = 0 then 'in effect'
        when back.undone >= c.changes then 'undone'
        else 'partly undone'
    end as state,
    undo.id as undone_by,
    undo.started_at as undone_at,
    r.os_user || '@' || r.host as who,
    coalesce(r.why, r.counts ->> 'why') as why,
    counted.total
from listed as r
cross join lateral (
    select count(*) as changes
    from seqdev.change as ch
    where ch.run_id = r.id
) as c
cross join (
    select
        case
            when :'undoable'::boolean or :'runs'::uuid [] <> '{}' then (select count(*) from chosen)
            else (select count(changing.run_id) from changing)
        end::integer as total
) as counted
left join back on r.id = back.ancestor_id
left join lateral (
    select
        u.id,
        u.started_at
    from undoing as u
    left join back as its on u.id = its.ancestor_id
    where u.undoes = r.id and coalesce(its.undone, 0) < u.changes
    order by u.started_at desc, u.id
    limit 1
) as undo on true
order by r.started_at desc, r.id;
