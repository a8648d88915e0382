-- Sequences that cannot run as they are written
--
-- Finds, in active sequences:
--   no_entry_step         no step that people can enter by: an entry point with a trigger
--   looping_trigger       the steps go in a circle: the second time round ends the person there
--   dangling_trigger      next_trigger names no step of the sequence, nor a sequence of the user
--   unreachable_step      no way from an entry step leads there
--   no_content            a step with neither content nor media_url: people wait there
--   day_gap               days between two steps that no step has
--   no_delay              trigger_delay_hours is empty, zero or negative: people wait for default_delay, a day
-- And in all:
--   paused                seqdev pause --sequence or --user: people wait
--   inactive_with_people  not active, but people have a step to come
--   status_disagrees      is_active and status say different things; such a sequence is not active
--
-- Counts the people of the sequences that are not active, or paused; the rest reads small tables only.
--
-- Parameters:
--   user      uuid     only sequences of this user
--   sequence  uuid     only this sequence
--   active    text[]   values of sequences.status that count as active
--   limit     integer  rows to return; empty: all
-- Gates: gates/steps.sql
-- Row:
--   finding      text     what is wrong
--   sequence     text     its name
--   sequence_id  uuid     the sequence
--   step         integer  day of the step that it is about
--   step_id      uuid     the step
--   detail       text     the trigger, the days or the values that are wrong
--   people       integer  people with a step to come, of a sequence that is not active, or paused
--   user_id      uuid     whose it is
--   repair       text     what to do about it
--   total        integer  rows in all, listed or not
--   found        jsonb    rows in all by finding: number, severity, repair
-- Locks: none
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?active} \else \set active '{active}' \endif
\if :{?limit} \else \set limit '20' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
with kind (kind, severity, repair) as (
    values
        ('no_entry_step', 1, 'flag the first step as is_entry_point, and give it a trigger'),
        ('looping_trigger', 2, 'let next_trigger of this step name another step, or nothing'),
        ('dangling_trigger', 2, 'let next_trigger of this step name a step, or nothing'),
        ('unreachable_step', 2, 'let next_trigger of another step name its trigger'),
        ('no_content', 1, 'give the step content or media_url'),
        ('day_gap', 3, 'see whether a step was lost'),
        ('no_delay', 3, 'set trigger_delay_hours to the hours that are meant'),
        ('inactive_with_people', 2, 'activate it, or end their rows: nobody gets anything'),
        ('paused', 3, 'nothing, if it is meant; to go on: seqdev resume --sequence or --user'),
        ('status_disagrees', 2, 'set is_active and status to the same')
),

sequence as materialized (
    select
        s.*,
        s.id = any(:'active_sequences'::uuid []) as runs,
        coalesce(s.is_active, false) as flagged,
        coalesce(s.status = any(:'active'::text []), false) as named
    from sequences as s
    where
        (nullif(:'user', '')::uuid is null or s.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'sequence', '')::uuid is null or s.id = nullif(:'sequence', '')::uuid)
),

gate as materialized (
    select s.*
    from unnest(
        :'steps'::uuid [], :'step_sequences'::uuid [], :'step_users'::uuid [], :'step_reasons'::text [],
        :'entry_triggers'::text [], :'next_triggers'::text [], :'next_steps'::uuid [], :'step_faults'::text [],
        :'step_pauses'::text []
    ) as s (id, sequence_id, user_id, reason, entry_trigger, next_trigger, next_id, fault, pause)
),

step as materialized (
    select
        g.*,
        st.day_number,
        st.trigger,
        st.trigger_delay_hours,
        g.entry_trigger is not null as is_entry
    from gate as g
    inner join sequence as s on g.sequence_id = s.id
    inner join sequence_steps as st on g.id = st.id
    where s.runs
),

-- The way that a person goes, from each entry step to the end, or to a step that they had before.
way as materialized (
    with recursive gone (step_id, next_id, before) as (
        select
            step.id,
            step.next_id,
            array[step.id]
        from step
        where step.is_entry
        union all
        select
            step.id,
            step.next_id,
            gone.before || step.id
        from gone
        inner join step on gone.next_id = step.id
        where step.id <> all(gone.before)
    )

    select gone.*
    from gone
),

waiting as materialized (
    select
        sc.sequence_id,
        count(distinct sc.contact_phone) as people
    from sequence_contacts as sc
    where
        sc.status = 'active'
        and sc.sequence_id in (
            select s.id
            from sequence as s
            left join gate as g on s.id = g.sequence_id and g.id is null
            where not s.runs or g.pause is not null
        )
    group by sc.sequence_id
),

finding (kind, sequence_id, step_id, detail, people) as (
    select
        'no_entry_step',
        s.id,
        null::uuid,
        null::text,
        null::bigint
    from sequence as s
    where
        s.runs
        and not exists (
            select 1
            from step
            where step.sequence_id = s.id and step.is_entry
        )
    union
    select
        'looping_trigger',
        step.sequence_id,
        step.id,
        step.next_trigger,
        null
    from way
    inner join step on way.step_id = step.id
    where way.next_id = any(way.before)
    union all
    select
        'dangling_trigger',
        step.sequence_id,
        step.id,
        step.next_trigger,
        null
    from step
    where
        step.next_trigger is not null
        and step.next_id is null
        and not exists (
            select 1
            from gate as entry
            where
                entry.user_id = step.user_id
                and entry.sequence_id <> step.sequence_id
                and entry.entry_trigger = step.next_trigger
        )
    union all
    select
        'unreachable_step',
        step.sequence_id,
        step.id,
        step.trigger::text,
        null
    from step
    where
        not step.is_entry
        and step.id not in (
            select way.step_id
            from way
        )
        and exists (
            select 1
            from step as entry
            where entry.sequence_id = step.sequence_id and entry.is_entry
        )
    union all
    select
        'no_content',
        step.sequence_id,
        step.id,
        null,
        null
    from step
    where step.fault = 'no_content'
    union all
    select
        'day_gap',
        pair.sequence_id,
        pair.id,
        'day ' || pair.day_before || ' to ' || pair.day_number,
        null
    from (
        select
            step.*,
            lag(step.day_number) over (partition by step.sequence_id order by step.day_number) as day_before
        from step
    ) as pair
    where pair.day_number > pair.day_before + 1
    union all
    select
        'no_delay',
        step.sequence_id,
        step.id,
        'trigger_delay_hours is ' || coalesce(step.trigger_delay_hours::text, 'empty'),
        null
    from step
    where
        coalesce(step.trigger_delay_hours, 0) <= 0
        -- Nobody waits for a step that people enter by, unless another step leads there.
        and step.id in (
            select before.next_id
            from step as before
            where before.next_id is not null
        )
    union all
    select
        'inactive_with_people',
        s.id,
        null,
        null,
        waiting.people
    from sequence as s
    inner join waiting on s.id = waiting.sequence_id
    where not s.runs
    union all
    select
        'paused',
        s.id,
        null,
        g.pause,
        coalesce(waiting.people, 0)
    from sequence as s
    inner join gate as g on s.id = g.sequence_id and g.id is null
    left join waiting on s.id = waiting.sequence_id
    where g.pause is not null
    union all
    select
        'status_disagrees',
        s.id,
        null,
        'is_active ' || s.flagged || ', status ' || coalesce(s.status, 'null'),
        null
    from sequence as s
    where s.flagged <> s.named
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
    coalesce(s.name, left(s.id::text, 0))::text as sequence,
    s.id as sequence_id,
    st.day_number::integer as step,
    st.id as step_id,
    f.detail,
    f.people::integer as people,
    s.user_id,
    kind.repair,
    tally.total,
    tally.found
from finding as f
cross join tally
inner join kind on f.kind = kind.kind
inner join sequence as s on f.sequence_id = s.id
left join sequence_steps as st on f.step_id = st.id
order by kind.severity, f.people desc nulls last, s.name, s.id, st.day_number, f.kind, st.id
limit nullif(:'limit', '')::integer;
