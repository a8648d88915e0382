-- Whom an enrolment would take, and whom it would refuse, where the tables are distributed
--
-- Answers as sql/enroll/plan.sql does. The leads of a batch are matched, and what they have in each sequence is looked
-- up, on the shards that they are on.
--
-- Parameters:
--   after      uuid     the last lead of the batch before
--   batch      integer  leads to look at
--   sequences  uuid[]   only these sequences; empty: every active one
--   user       uuid     only leads of this user
--   device     uuid     only leads that this device owns
--   leads      uuid[]   only these leads; empty: all
--   most       integer  people to enrol, at most
--   listed     integer  refused people to name, at most, for each sequence and reason
--   waiting    text[]   values of sequence_contacts.status: a step's row that was made beforehand, and waits
--   national   text     regular expression of what begins a national number
--   country    text     what stands for it in an international one
-- Gates: gates/steps.sql, enroll/persons.sql, enroll/again.sql, gates/blocked.sql
-- Row:
--   last         uuid     the last lead of this batch; null when there are no more
--   looked_at    integer  leads of this batch
--   sequence_id  uuid     a sequence; null in the one row where nobody matches
--   verdict      text     enrolled, already_in, over_limit, or the reason to refuse
--   people       integer  leads with this verdict
--   leads        uuid[]   the refused among them, in the order of their ids
--   phones       text[]   their phones
-- Locks: none
\if :{?after} \else \set after '00000000-0000-0000-0000-000000000000' \endif
\if :{?batch} \else \set batch '10000' \endif
\if :{?sequences} \else \set sequences '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?device} \else \set device '' \endif
\if :{?leads} \else \set leads '{}' \endif
\if :{?most} \else \set most '10000' \endif
\if :{?listed} \else \set listed '20' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
\if :{?blocked_digits} \else \ir ../gates/blocked.sql \endif
\if :{?same_leads} \else \ir ../enroll/persons.sql \endif
\if :{?again_leads} \else \ir ../enroll/again.sql \endif
with batch as materialized (
    select
        (array_agg(chunk.id order by chunk.id desc))[1] as last,
        count(*)::integer as looked_at
    from (
        select l.id
        from leads as l
        where
            l.id > :'after'::uuid
            and (nullif(:'user', '')::uuid is null or l.user_id = nullif(:'user', '')::uuid)
            and (nullif(:'device', '')::uuid is null or l.device_id = nullif(:'device', '')::uuid)
            and (:'leads'::uuid [] = '{}' or l.id = any(:'leads'::uuid []))
        order by l.id
        limit :'batch'::integer
    ) as chunk
),

entry as materialized (
    select
        e.sequence_id,
        e.user_id,
        btrim(e.trigger) as trigger,
        first_value(st.id) over lowest_day as step_id,
        first_value(st.day_number) over lowest_day as day_number,
        first_value(st.trigger) over lowest_day as step_trigger
    from unnest(
        :'steps'::uuid [], :'step_sequences'::uuid [], :'step_users'::uuid [], :'entry_triggers'::text []
    ) as e (id, sequence_id, user_id, trigger)
    inner join sequence_steps as st on e.id = st.id
    where
        e.sequence_id = any(:'active_sequences'::uuid [])
        and (:'sequences'::uuid [] = '{}' or e.sequence_id = any(:'sequences'::uuid []))
        and e.trigger is not null
    window lowest_day as (partition by e.sequence_id order by st.day_number, st.id)
),

-- Looked at where the leads are: with what each has in the sequence already.
matched as materialized (
    select
        l.id,
        l.device_id,
        l.phone,
        l.name,
        e.sequence_id,
        e.user_id,
        e.step_id,
        e.day_number,
        e.step_trigger,
        bool_or(coalesce(sc.status <> all(:'waiting'::text []), true)) filter (where sc.sequence_id = e.sequence_id)
            as is_in,
        -- The host made the rows of all steps, and none of them active yet: the first of them begins.
        (
            array_agg(sc.id order by st.day_number, sc.current_step, sc.next_trigger_time, sc.id)
            filter (where sc.sequence_id = e.sequence_id)
        )[1] as waits_at
    from leads as l
    cross join lateral unnest(string_to_array(l.trigger, ',')) as m (member)
    inner join entry as e on l.user_id = e.user_id and btrim(m.member) = e.trigger
    -- By the phone alone: a planner that knows too little of its shards would begin with all people of the sequence.
    left join sequence_contacts as sc on l.phone = sc.contact_phone
    left join sequence_steps as st on sc.sequence_stepid = st.id
    where
        l.id > :'after'::uuid
        and l.id <= (select batch.last from batch)
        and (nullif(:'user', '')::uuid is null or l.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'device', '')::uuid is null or l.device_id = nullif(:'device', '')::uuid)
        and (:'leads'::uuid [] = '{}' or l.id = any(:'leads'::uuid []))
    group by
        l.phone, l.id, l.device_id, l.name, e.sequence_id, e.user_id, e.step_id, e.day_number, e.step_trigger
),

judged as materialized (
    select
        m.*,
        case
            when m.phone ~ '\S' and m.is_in and not (
                :'again_leads'::uuid [] <> '{}' and (m.id, m.sequence_id) in (
                    select
                        again.lead_id,
                        again.sequence_id
                    from unnest(:'again_leads'::uuid [], :'again_sequences'::uuid []) as again (lead_id, sequence_id)
                )
            ) then 'already_in'
            -- Lookups in a hash, whatever the planner expects.
            when (m.id, m.sequence_id) in (
                select
                    same.lead_id,
                    same.sequence_id
                from unnest(:'same_leads'::uuid [], :'same_sequences'::uuid [], :'same_are_in'::boolean [])
                    as same (lead_id, sequence_id, is_in)
                where same.is_in
            ) then 'already_in'
            when :'blocked_digits'::text [] <> '{}' and person.digits in (
                select b.digits
                from unnest(:'blocked_digits'::text [], :'blocked_users'::uuid []) as b (digits, user_id)
                where b.user_id is null
            ) then 'blocked'
            when :'blocked_digits'::text [] <> '{}' and (m.user_id, person.digits) in (
                select
                    b.user_id,
                    b.digits
                from unnest(:'blocked_digits'::text [], :'blocked_users'::uuid []) as b (digits, user_id)
                where b.user_id is not null
            ) then 'blocked'
            when (m.id, m.sequence_id) in (
                select
                    same.lead_id,
                    same.sequence_id
                from unnest(:'same_leads'::uuid [], :'same_sequences'::uuid []) as same (lead_id, sequence_id)
            ) then 'same_person'
            -- 6 to 15 digits (E.164), with the signs that people put between them, or what else WhatsApp sends to.
            when regexp_replace(
                coalesce(m.phone, ''), '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
            ) !~ '^([0-9]{6,15}|120363[0-9]{12}|[0-9]{6,31}@(lid|gus|newsletter|broadcast))$' then 'bad_phone'
            when m.device_id is null then 'no_device'
            when d.id is null then 'device_missing'
            when not coalesce(d.user_id = m.user_id, false) then 'device_of_other_user'
        end as refusal
    from matched as m
    left join user_devices as d on m.device_id = d.id
    -- Nowhere computed but where it is asked for.
    cross join lateral (
        -- digits: as in enroll/persons.sql
        select
            case
                when m.phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                else regexp_replace(bare.digits, :'national'::text, :'country'::text)
            end as digits
        from (
            select regexp_replace(
                m.phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
            ) as digits
        ) as bare
    ) as person
),

fit as materialized (
    select
        j.*,
        row_number() over (order by j.id, j.sequence_id) <= :'most'::integer as within_limit
    from judged as j
    where j.refusal is null
),

verdict as (
    select
        j.sequence_id,
        j.refusal as verdict,
        j.id,
        j.phone,
        j.refusal <> 'already_in'
        and row_number() over (partition by j.sequence_id, j.refusal order by j.id) <= :'listed'::integer
            as is_listed
    from judged as j
    where j.refusal is not null
    union all
    select
        f.sequence_id,
        case when f.within_limit then 'enrolled' else 'over_limit' end as verdict,
        f.id,
        f.phone,
        false as is_listed
    from fit as f
)

select
    batch.last,
    batch.looked_at,
    v.sequence_id,
    v.verdict,
    coalesce(v.people, 0) as people,
    v.leads,
    v.phones
from batch
left join (
    select
        verdict.sequence_id,
        verdict.verdict,
        count(*)::integer as people,
        array_agg(verdict.id order by verdict.id) filter (where verdict.is_listed) as leads,
        array_agg(verdict.phone::text order by verdict.id) filter (where verdict.is_listed) as phones
    from verdict
    group by verdict.sequence_id, verdict.verdict
) as v on true;
