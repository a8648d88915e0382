-- Which leads may enter again a sequence that they have finished
--
-- Under the rule reenrol_after, of a sequence or for all: all of their rows are done, one of them is that of the step by
-- which people enter, one ended the sequence, and the last was done that long ago. Whom it is about is narrowed as the
-- enrolment is. Empty, where no such rule is set.
--
-- Parameters:
--   now            timestamptz  the instant of the transaction
--   reenrol_after  interval     after how long, where no rule is set for the sequence; zero: never
--   after          uuid         the last lead of the batch before
--   batch          integer      leads to look at
--   sequences      uuid[]       only these sequences; empty: every active one
--   user           uuid         only leads of this user
--   device         uuid         only leads that this device owns
--   leads          uuid[]       only these leads; empty: all
--   waiting        text[]       values of sequence_contacts.status: a step's row that was made beforehand, and waits
--   done           text[]       values of sequence_contacts.status: the step is done
-- Gates: gates/steps.sql
-- Row:
--   again_leads      text  uuid[]: the lead
--   again_sequences  text  uuid[]: the sequence; the n-th elements belong together
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?reenrol_after} \else \set reenrol_after '0' \endif
\if :{?after} \else \set after '00000000-0000-0000-0000-000000000000' \endif
\if :{?batch} \else \set batch '10000' \endif
\if :{?sequences} \else \set sequences '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?device} \else \set device '' \endif
\if :{?leads} \else \set leads '{}' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?done} \else \set done '{completed,sent,failed}' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
with reopened as materialized (
    select
        s.id,
        s.user_id,
        ruled.after
    from sequences as s
    left join seqdev.rule as own on own.name = 'reenrol_after' and own.scope = 'sequence' and s.id = own.scope_id
    cross join lateral (
        select
            case
                when own.value is null then :'reenrol_after'::interval
                -- What is written otherwise: never.
                when own.value ~ '^[0-9]{1,6}(ms|[smhd])$' then own.value::interval
            end as after
    ) as ruled
    where
        s.id = any(:'active_sequences'::uuid [])
        and (:'sequences'::uuid [] = '{}' or s.id = any(:'sequences'::uuid []))
        and ruled.after > interval '0'
        -- The rows of later steps wait: there has to be a status that says so.
        and :'waiting'::text [] <> '{}'
),

step as materialized (
    select g.*
    from unnest(
        :'steps'::uuid [], :'step_sequences'::uuid [], :'entry_triggers'::text [], :'next_steps'::uuid []
    ) as g (id, sequence_id, entry_trigger, next_id)
    where g.id is not null
),

-- The step by which people enter, as in enroll/apply.sql.
entry as materialized (
    select distinct on (step.sequence_id) step.id
    from step
    inner join sequence_steps as st on step.id = st.id
    where step.entry_trigger is not null
    order by step.sequence_id, st.day_number, st.id
),

-- As in enroll/apply.sql.
chunk as materialized (
    select
        l.id,
        l.user_id,
        l.device_id,
        l.phone,
        l.name,
        l.trigger
    from leads as l
    where
        l.id > :'after'::uuid
        and (nullif(:'user', '')::uuid is null or l.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'device', '')::uuid is null or l.device_id = nullif(:'device', '')::uuid)
        and (:'leads'::uuid [] = '{}' or l.id = any(:'leads'::uuid []))
        -- Nothing is read where there is no such rule.
        and exists (select 1 from reopened)
    order by l.id
    limit :'batch'::integer
),

called as materialized (
    select
        l.id as lead_id,
        l.phone,
        r.id as sequence_id,
        r.after
    from reopened as r
    inner join chunk as l on r.user_id = l.user_id
    where
        exists (
            select 1
            from unnest(string_to_array(l.trigger, ',')) as m (member)
            inner join step on btrim(m.member) = btrim(step.entry_trigger)
            where step.sequence_id = r.id
        )
)

select
    coalesce(array_agg(found.lead_id), '{}')::text as again_leads,
    coalesce(array_agg(found.sequence_id), '{}')::text as again_sequences
from (
    select
        c.lead_id,
        c.sequence_id
    from called as c
    inner join sequence_contacts as sc on c.phone = sc.contact_phone and c.sequence_id = sc.sequence_id
    left join step on sc.sequence_id = step.sequence_id and sc.sequence_stepid = step.id
    group by c.lead_id, c.sequence_id, c.after
    having
        bool_and(coalesce(sc.status = any(:'done'::text []), false))
        and bool_or(step.id in (select entry.id from entry))
        and bool_or(step.id is not null and step.next_id is null or sc.last_error ~ '^ended')
        and max(sc.completed_at)::timestamptz <= :'now'::timestamptz - c.after
) as found
\gset
