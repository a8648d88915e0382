-- Leads that nobody can write to rightly, and triggers that nobody listens to
--
-- Finds:
--   no_device           no device owns the lead: enrolment refuses it
--   device_missing      the device that owns it does not exist
--   other_users_device  the device that owns it belongs to another user
--   bad_phone           not 6 to 15 digits, nor anything else that WhatsApp sends to
--   same_person         the user has another lead with the same phone, written in another way or even in the same
--   shared_phone        another user has the phone too: whatever joins people by phone alone mixes them up
--   nobody_listens      a trigger in its list is no entry trigger of an active sequence of the user
--
-- Reads all leads (of the user): a lead carries no time that could bound it.
--
-- Parameters:
--   user      uuid     only leads of this user
--   sequence  uuid     only leads that are in this sequence
--   device    uuid     only leads that this device owns
--   limit     integer  rows to return; empty: all
--   national  text     regular expression of what begins a national number
--   country   text     what stands for it in an international one
-- Gates: gates/steps.sql
-- Row:
--   finding    text     what is wrong
--   phone      text     the lead's phone
--   name       text     the lead's name
--   detail     text     the trigger, how many other users have the phone, how many leads the person has
--   device     text     name of the device that owns it
--   device_id  uuid     the device
--   lead_id    uuid     the lead
--   user_id    uuid     whose it is
--   repair     text     what to do about it
--   total      integer  rows in all, listed or not
--   found      jsonb    rows in all by finding: number, severity, repair
-- Locks: none
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?limit} \else \set limit '20' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
\if :{?active_sequences} \else \ir ../gates/steps.sql \endif
with kind (kind, severity, repair) as (
    values
        ('no_device', 2, 'seqdev leads assign --distribute'),
        ('device_missing', 1, 'seqdev repair device DEVICE --spread'),
        ('other_users_device', 1, 'give the lead a device of its user'),
        ('bad_phone', 2, 'correct the phone, or delete the lead'),
        ('same_person', 2, 'seqdev leads merge'),
        ('shared_phone', 3, 'nothing, unless other programs join by phone alone'),
        ('nobody_listens', 3, 'activate the sequence, or correct the trigger')
),

lead as not materialized (
    select l.*
    from leads as l
    where
        -- Set aside by leads merge.
        coalesce(l.phone !~ '^merged [-0-9a-f]{36}$', true)
        and (nullif(:'user', '')::uuid is null or l.user_id = nullif(:'user', '')::uuid)
        and (nullif(:'device', '')::uuid is null or l.device_id = nullif(:'device', '')::uuid)
        and (
            nullif(:'sequence', '')::uuid is null
            or exists (
                select 1
                from sequences as s
                inner join sequence_contacts as sc on s.id = sc.sequence_id
                where s.id = nullif(:'sequence', '')::uuid and s.user_id = l.user_id and sc.contact_phone = l.phone
            )
        )
),

-- Written in another way than WhatsApp does, and what it would be there.
odd_lead as materialized (
    select
        l.id,
        person.digits
    from leads as l
    cross join lateral (
        -- digits: as in enroll/persons.sql
        select
            case
                when l.phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                else regexp_replace(bare.digits, :'national'::text, :'country'::text)
            end as digits
        from (
            select regexp_replace(
                l.phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
            ) as digits
        ) as bare
    ) as person
    where
        (l.phone ~ '^0|[^0-9]' or :'national'::text <> '(?!)' and l.phone ~ :'national'::text)
        and person.digits ~ '^[0-9]{6,15}$'
),

entry as materialized (
    select distinct
        s.user_id,
        btrim(s.trigger) as trigger
    from unnest(:'step_users'::uuid [], :'step_sequences'::uuid [], :'entry_triggers'::text [])
        as s (user_id, sequence_id, trigger)
    where s.sequence_id = any(:'active_sequences'::uuid []) and s.trigger is not null
),

finding (kind, id, detail) as materialized (
    select
        case
            when l.device_id is null then 'no_device'
            when d.id is null then 'device_missing'
            else 'other_users_device'
        end,
        l.id,
        null::text
    from lead as l
    left join user_devices as d on l.device_id = d.id
    where d.user_id is distinct from l.user_id
    union all
    select
        'bad_phone',
        l.id,
        null
    from lead as l
    -- The rule of enrolment.
    where
        l.phone !~ '^[0-9]{6,15}$'
        and regexp_replace(
            l.phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
        ) !~ '^([0-9]{6,15}|120363[0-9]{12}|[0-9]{6,31}@(lid|gus|newsletter|broadcast))$'
    union all
    select
        'same_person',
        l.id,
        'one of ' || several.leads || ' leads of a person'
    from (
        select
            every.user_id,
            coalesce(odd.digits, every.phone) as digits,
            count(*) as leads
        from leads as every
        left join odd_lead as odd on every.id = odd.id
        where every.phone ~ '\S'
        group by every.user_id, coalesce(odd.digits, every.phone)
        having count(*) > 1
    ) as several
    inner join (
        select
            lead.id,
            lead.user_id,
            coalesce(odd.digits, lead.phone) as digits
        from lead
        left join odd_lead as odd on lead.id = odd.id
    ) as l on several.user_id = l.user_id and several.digits = l.digits
    union all
    select
        'shared_phone',
        l.id,
        'with ' || shared.others || case when shared.others = 1 then ' other user' else ' other users' end
    from (
        -- A user has a phone once: that is a key.
        select
            every.phone,
            count(*) - 1 as others
        from leads as every
        group by every.phone
        having count(*) > 1
    ) as shared
    inner join lead as l on shared.phone = l.phone
    union all
    select
        'nobody_listens',
        l.id,
        btrim(m.member)
    from lead as l
    cross join lateral unnest(string_to_array(l.trigger, ',')) as m (member)
    left join entry on l.user_id = entry.user_id and btrim(m.member) = entry.trigger
    where entry.trigger is null and m.member ~ '\S'
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
    l.phone::text as phone,
    l.name::text as name,
    f.detail,
    coalesce(d.device_name, left(d.id::text, 0))::text as device,
    l.device_id,
    l.id as lead_id,
    l.user_id,
    replace(kind.repair, 'DEVICE', coalesce(l.device_id::text, 'DEVICE')) as repair,
    tally.total,
    tally.found
from finding as f
cross join tally
inner join kind on f.kind = kind.kind
inner join leads as l on f.id = l.id
left join user_devices as d on l.device_id = d.id
order by kind.severity, f.kind, l.phone, l.id
limit nullif(:'limit', '')::integer;
