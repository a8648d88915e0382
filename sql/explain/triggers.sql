-- What each trigger of a person's leads calls for, and what an enrolment would say to it
--
-- The rules are those of enroll/plan.sql, for one phone, and the triggers that call for nothing beside.
--
-- Parameters:
--   phones       text[]   the phone, in every writing that is tried
--   user         uuid     only leads of this user
--   blocked      boolean  whether the phone is blocked for everybody
--   blocked_for  uuid[]   the users for whom it is blocked
--   waiting      text[]   values of sequence_contacts.status: a step's row that was made beforehand, and waits
-- Gates: gates/steps.sql, enroll/persons.sql of these leads
-- Row:
--   user_id        uuid  whose lead it is
--   lead_id        uuid  the lead
--   trigger        text  a member of its list; null where the list is empty
--   sequence_id    uuid  a sequence of the same user that is entered by it
--   sequence_name  text  its name
--   verdict        text  ready (the next enrolment takes it), already_in, no_triggers, nobody_listens,
--                        sequence_inactive, or the reason of enroll to refuse
--   same_as        text  of same_person: the phone of the row, or else of the lead, that stands for the person
-- Locks: none
\if :{?phones} \else \set phones '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?blocked} \else \set blocked 'false' \endif
\if :{?blocked_for} \else \set blocked_for '{}' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
\if :{?same_leads} \else \ir ../enroll/persons.sql \endif
with same as materialized (
    select
        s.lead_id,
        s.sequence_id,
        s.is_in
    from unnest(:'same_leads'::uuid [], :'same_sequences'::uuid [], :'same_are_in'::boolean [])
        as s (lead_id, sequence_id, is_in)
),

lead as materialized (
    select l.*
    from leads as l
    where l.phone = any(:'phones'::text [])
),

contact as materialized (
    select
        sc.sequence_id,
        sc.contact_phone,
        coalesce(sc.status <> all(:'waiting'::text []), true) as is_in
    from sequence_contacts as sc
    where sc.contact_phone = any(:'phones'::text [])
)

select
    l.user_id,
    l.id as lead_id,
    called.trigger::text as trigger,
    e.sequence_id,
    e.name::text as sequence_name,
    (
        case
            when called.trigger is null then 'no_triggers'
            when e.sequence_id is null then 'nobody_listens'
            when l.phone ~ '\S' and exists (
                select 1
                from contact as sc
                where sc.sequence_id = e.sequence_id and sc.contact_phone = l.phone and sc.is_in
            ) or same.is_in then 'already_in'
            when not e.is_active then 'sequence_inactive'
            when :'blocked'::boolean or l.user_id = any(:'blocked_for'::uuid []) then 'blocked'
            when same.lead_id is not null then 'same_person'
            -- 6 to 15 digits (E.164), with the signs that people put between them, or what else WhatsApp sends to.
            when regexp_replace(
                coalesce(l.phone, ''), '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
            ) !~ '^([0-9]{6,15}|120363[0-9]{12}|[0-9]{6,31}@(lid|gus|newsletter|broadcast))$' then 'bad_phone'
            when l.device_id is null then 'no_device'
            when d.id is null then 'device_missing'
            when not coalesce(d.user_id = l.user_id, false) then 'device_of_other_user'
            else 'ready'
        end
    )::text as verdict,
    case when not same.is_in then coalesce(
        (
            select sc.contact_phone
            from contact as sc
            where sc.sequence_id = e.sequence_id and sc.contact_phone <> l.phone
            order by sc.is_in desc, sc.contact_phone
            limit 1
        ),
        (
            select x.phone
            from lead as x
            cross join lateral unnest(string_to_array(x.trigger, ',')) as m (member)
            where
                x.user_id = l.user_id
                and btrim(m.member) = called.trigger
                and (x.id, e.sequence_id) not in (select same.lead_id, same.sequence_id from same)
            order by x.phone
            limit 1
        )
    ) end::text as same_as
from lead as l
left join lateral (
    select
        btrim(m.member) as trigger,
        min(m.place) as place
    from unnest(string_to_array(l.trigger, ',')) with ordinality as m (member, place)
    where m.member ~ '\S'
    group by btrim(m.member)
) as called on true
left join lateral (
    select distinct
        s.id as sequence_id,
        coalesce(s.name, left(s.id::text, 0))::text as name,
        s.id = any(:'active_sequences'::uuid []) as is_active
    from unnest(:'step_users'::uuid [], :'step_sequences'::uuid [], :'entry_triggers'::text [])
        as entry (user_id, sequence_id, trigger)
    inner join sequences as s on entry.sequence_id = s.id
    where
        entry.user_id = l.user_id
        and btrim(entry.trigger) = called.trigger
) as e on true
left join user_devices as d on l.device_id = d.id
left join same on l.id = same.lead_id and e.sequence_id = same.sequence_id
where nullif(:'user', '')::uuid is null or l.user_id = nullif(:'user', '')::uuid
order by l.user_id, l.phone, called.place, e.name, e.sequence_id;
