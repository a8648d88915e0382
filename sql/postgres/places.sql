-- Where contacts without a step stand: what their trigger, their day and their step number name
--
-- Hosts that keep one row a person move it from step to step, and not all of them move the same column:
-- current_trigger is the trigger of a step, current_day (which few hosts have) and current_step are days. A trigger that
-- is empty says nothing, nor does a 0 that is no step's day. The first that says something decides, and the others can
-- only agree. Where they do not agree, nobody is placed unless place_by says which comes first.
--
-- Who has finished needs no step: the row is done, has no trigger, and is the person's only one in the sequence.
-- It runs before the upgrade too: a column that the table does not have yet is found in "missing" instead.
--
-- Parameters:
--   place_by  text     trigger, day or step: what comes first where they disagree; empty: nobody is placed there
--   done      text[]   statuses of rows that are done
--   why       text[]   only contacts for whom this is the case; empty: all
--   after     uuid     only contacts of a greater id
--   batch     integer  contacts to look at, in the order of their ids; empty: all
--   limit     integer  rows to return; empty: all
-- Row:
--   phone        text     whose row it is
--   sequence     text     name of the sequence
--   sequence_id  uuid     the sequence
--   status       text     of the row
--   by_trigger   integer  day of the step that current_trigger names
--   by_day       integer  day of the step that current_day names
--   by_step      integer  day of the step that current_step names
--   step         integer  day of the step that the upgrade gives to the row; null: none
--   step_id      uuid     that step
--   why          text     agree, disagree, no_step (nothing names a step), several_steps (all that is there names more
--                         than one), step_taken (another row of the person has that step, or would get it), finished
--   contact_id   uuid     the row
--   total        integer  rows in all, listed or not
--   found        jsonb    contacts in all by why, and below "placed" how many of them get a step
-- Locks: none
\if :{?place_by} \else \set place_by '' \endif
\if :{?done} \else \set done '{completed,failed}' \endif
\if :{?why} \else \set why '{disagree,no_step,several_steps,step_taken}' \endif
\if :{?after} \else \set after '00000000-0000-0000-0000-000000000000' \endif
\if :{?batch} \else \set batch '' \endif
\if :{?limit} \else \set limit '20' \endif
with stepless as materialized (
    select found.*
    from (
        values (null::uuid, null::text, null::integer, null::integer)
    ) as missing (sequence_stepid, current_trigger, current_day, current_step)
    cross join lateral (
        select
            id,
            sequence_id,
            contact_phone::text as phone,
            status::text as status,
            nullif(current_trigger::text, '') as trigger,
            current_day::text as day,
            current_step::text as step
        from sequence_contacts
        where sequence_stepid is null and id > :'after'::uuid
        order by id
        limit nullif(:'batch', '')::integer
    ) as found
),

-- Every other row of these people in the same sequence.
other as materialized (
    select
        c.id as contact_id,
        o.*
    from (
        values (null::uuid, null::text, null::integer, null::integer)
    ) as missing (sequence_stepid, current_trigger, current_day, current_step)
    cross join stepless as c
    inner join lateral (
        select
            id,
            sequence_id,
            contact_phone::text as phone,
            status::text as status,
            nullif(current_trigger::text, '') as trigger,
            current_day::text as day,
            current_step::text as step,
            sequence_stepid as step_id
        from sequence_contacts
    ) as o on c.sequence_id = o.sequence_id and c.phone = o.phone and c.id <> o.id
),

contact as materialized (
    select * from stepless
    union
    select o.id, o.sequence_id, o.phone, o.status, o.trigger, o.day, o.step
    from other as o
    where o.step_id is null
),

weight as (
    -- Powers of two: what comes first outweighs all that come after it.
    select
        case :'place_by'::text when 'trigger' then 8 else 4 end as of_trigger,
        case :'place_by'::text when 'day' then 8 else 2 end as of_day,
        case :'place_by'::text when 'step' then 8 else 1 end as of_step
),

named as (
    select
        c.id,
        st.id as step_id,
        st.day_number,
        coalesce(st.trigger = c.trigger, false) as by_trigger,
        coalesce(st.day_number::text = c.day, false) as by_day,
        coalesce(st.day_number::text = c.step, false) as by_step
    from contact as c
    inner join sequence_steps as st on c.sequence_id = st.sequence_id
    where st.trigger = c.trigger or st.day_number::text in (c.day, c.step)
),

vote as (
    select
        n.*,
        n.by_trigger::integer * w.of_trigger + n.by_day::integer * w.of_day + n.by_step::integer * w.of_step as votes
    from named as n
    cross join weight as w
),

favourite as (
    select
        v.id,
        max(v.votes) as votes,
        -- Of several with the same votes, none.
        case
            when count(*) filter (where v.votes = v.most) = 1
                then (array_agg(v.step_id order by v.votes desc))[1]
        end as step_id,
        min(v.day_number) filter (where v.by_trigger) as by_trigger,
        min(v.day_number) filter (where v.by_day) as by_day,
        min(v.day_number) filter (where v.by_step) as by_step
    from (
        select
            vote.*,
            max(vote.votes) over (partition by vote.id) as most
        from vote
    ) as v
    group by v.id
),

heard as (
    select
        c.*,
        f.votes,
        f.step_id,
        f.by_trigger,
        f.by_day,
        f.by_step,
        case when c.trigger is not null then w.of_trigger else 0 end as trigger_votes,
        case when c.day <> '0' or f.by_day is not null then w.of_day else 0 end as day_votes,
        case when c.step <> '0' or f.by_step is not null then w.of_step else 0 end as step_votes
    from contact as c
    cross join weight as w
    left join favourite as f on c.id = f.id
),

placed as (
    select
        h.*,
        case
            when h.votes = h.trigger_votes + h.day_votes + h.step_votes then h.step_id
            when :'place_by'::text <> '' and h.votes >= greatest(h.trigger_votes, h.day_votes, h.step_votes)
                then h.step_id
        end as place
    from heard as h
),

alone as (
    -- How many rows would get the same step.
    select
        p.*,
        count(*) over (partition by p.sequence_id, p.phone, p.place) as rows_there
    from placed as p
),

judged as materialized (
    select
        a.*,
        case
            when a.trigger is null and a.status = any(:'done'::text []) and o.others is null then 'finished'
            when a.votes is null then 'no_step'
            when a.votes < a.trigger_votes + a.day_votes + a.step_votes and a.place is null then 'disagree'
            when a.place is null then 'several_steps'
            when a.rows_there > 1 or a.place = any(o.steps) then 'step_taken'
            when a.votes < a.trigger_votes + a.day_votes + a.step_votes then 'disagree'
            else 'agree'
        end as why
    from alone as a
    left join (
        select
            other.contact_id,
            count(*) as others,
            array_agg(other.step_id) filter (where other.step_id is not null) as steps
        from other
        group by other.contact_id
    ) as o on a.id = o.contact_id
    where a.id in (select stepless.id from stepless)
),

verdict as materialized (
    select
        j.*,
        case when j.why in ('agree', 'disagree') then j.place end as given
    from judged as j
),

tally as (
    select
        coalesce(sum(t.number) filter (where :'why'::text [] = '{}' or t.why = any(:'why'::text [])), 0)::integer as total,
        jsonb_object_agg(t.why, t.number) || jsonb_build_object('placed', sum(t.placed)) as found
    from (
        select
            verdict.why,
            count(*) as number,
            count(verdict.given) as placed
        from verdict
        group by verdict.why
    ) as t
)

select
    v.phone,
    s.name::text as sequence,
    v.sequence_id,
    v.status,
    v.by_trigger::integer as by_trigger,
    v.by_day::integer as by_day,
    v.by_step::integer as by_step,
    st.day_number::integer as step,
    v.given as step_id,
    v.why,
    v.id as contact_id,
    tally.total,
    tally.found
from verdict as v
cross join tally
left join sequences as s on v.sequence_id = s.id
left join sequence_steps as st on v.given = st.id
where :'why'::text [] = '{}' or v.why = any(:'why'::text [])
order by v.id
limit nullif(:'limit', '')::integer;
