-- Leads of one person become one: the others are set aside, and what is to come has its phone
--
-- A person is one user's, and has the digits that WhatsApp uses, however they are written; or the same text, where that
-- is no phone. It survives the lead whose person has rows to come, then whose has the most rows done, then which has a
-- device of its user, then which is written as WhatsApp does, then the oldest. It inherits a device, name and niche
-- where it has none, and the others' triggers, but for those of sequences that the person has behind them in another
-- spelling. The others keep their row under the phone "merged" and their id, without triggers and niche, and without a
-- device where the host allows that: nothing finds them, and undo brings them back.
--
-- In each sequence one spelling goes on: the one with the most rows done, else the survivor's. Rows to come of the
-- others end; past rows keep the phone that was written to. A person with one lead, and rows to come in another
-- spelling that no lead has, is brought together in the same way. All rows of a person change, or none.
--
-- Parameters:
--   user      uuid    only people of this user
--   waiting   text[]  values of sequence_contacts.status: a later step's row, made beforehand
--   done      text[]  values of sequence_contacts.status: the step is done
--   national  text    regular expression of what begins a national number
--   country   text    what stands for it in an international one
-- Gates: gates/steps.sql
-- Row:
--   table_name   text   the table of the row
--   row_id       uuid   the row
--   user_id      uuid   whose person it is
--   phone        text   the person: the phone of the lead that survives
--   sequence     text   name of the sequence; null for a lead
--   from_device  uuid   the device that owns the lead now
--   from_name    text   its name
--   to_device    uuid   the device that it gets
--   to_name      text   its name
--   why          text   of a lead: survives, set_aside; of a row: goes_on, ends
--   refused      text   no_phone, already_sent, step_taken, stranded, goes_round, too_long; null where the row changes
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values; nothing: it must only be what is expected
-- Locks: none
\if :{?user} \else \set user '' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?done} \else \set done '{completed,sent,failed}' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
with step as materialized (
    select s.*
    from unnest(
        :'steps'::uuid [], :'step_sequences'::uuid [], :'next_steps'::uuid [], :'entry_triggers'::text []
    ) as s (id, sequence_id, next_id, entry_trigger)
    where s.id is not null
),

-- Written in another way than WhatsApp does.
odd_lead as materialized (
    select
        l.id,
        l.user_id,
        l.phone,
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
        and (nullif(:'user', '')::uuid is null or l.user_id = nullif(:'user', '')::uuid)
),

odd_contact as materialized (
    select
        sc.id,
        sc.contact_phone,
        s.user_id,
        person.digits
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    cross join lateral (
        -- digits: as in enroll/persons.sql
        select
            case
                when sc.contact_phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                else regexp_replace(bare.digits, :'national'::text, :'country'::text)
            end as digits
        from (
            select regexp_replace(
                sc.contact_phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
            ) as digits
        ) as bare
    ) as person
    where
        (sc.contact_phone ~ '^0|[^0-9]' or :'national'::text <> '(?!)' and sc.contact_phone ~ :'national'::text)
        and person.digits ~ '^[0-9]{6,15}$'
        and (nullif(:'user', '')::uuid is null or s.user_id = nullif(:'user', '')::uuid)
),

suspect as materialized (
    select
        odd_lead.user_id,
        odd_lead.digits
    from odd_lead
    union
    select
        odd_contact.user_id,
        odd_contact.digits
    from odd_contact
    union
    -- On a host that has not made the key yet.
    select
        l.user_id,
        l.phone::text
    from leads as l
    where nullif(:'user', '')::uuid is null or l.user_id = nullif(:'user', '')::uuid
    group by l.user_id, l.phone
    having count(*) > 1
),

member as materialized (
    select
        own.user_id,
        own.digits,
        to_jsonb(l) ->> 'created_at' as created_at,
        l.id,
        l.device_id,
        l.phone::text as phone,
        l.name::text as name,
        l.niche::text as niche,
        l.trigger::text as trigger
    from (
        select
            odd_lead.user_id,
            odd_lead.digits,
            odd_lead.id,
            odd_lead.phone
        from odd_lead
        union all
        select
            suspect.user_id,
            suspect.digits,
            plain.id,
            plain.phone
        from suspect
        inner join leads as plain on suspect.user_id = plain.user_id and suspect.digits = plain.phone
        where plain.id not in (select odd_lead.id from odd_lead)
    ) as own
    inner join leads as l on own.phone = l.phone and own.id = l.id
),

-- All rows of those people, in whatever spelling.
standing as materialized (
    select
        own.user_id,
        own.digits,
        sc.id,
        sc.sequence_id,
        sc.sequence_stepid,
        sc.contact_phone::text as phone,
        sc.status::text as status,
        sc.last_error,
        coalesce(sc.status = any(:'done'::text []), false) as is_done,
        coalesce(sc.status = any(:'waiting'::text []), false) as is_waiting,
        coalesce(sc.status in ('active', 'set_aside') or sc.status = any(:'waiting'::text []), false) as is_to_come
    from (
        select
            odd_contact.user_id,
            odd_contact.digits,
            odd_contact.id,
            odd_contact.contact_phone
        from odd_contact
        union all
        select
            suspect.user_id,
            suspect.digits,
            plain.id,
            plain.contact_phone
        from suspect
        inner join sequences as s on suspect.user_id = s.user_id
        inner join sequence_contacts as plain on s.id = plain.sequence_id and suspect.digits = plain.contact_phone
        where plain.id not in (select odd_contact.id from odd_contact)
    ) as own
    inner join sequence_contacts as sc on own.contact_phone = sc.contact_phone and own.id = sc.id
),

spelling as materialized (
    select
        st.user_id,
        st.digits,
        st.sequence_id,
        st.phone,
        count(*) filter (where st.is_done) as done,
        coalesce(array_agg(st.sequence_stepid) filter (where st.is_done), '{}') as done_steps,
        bool_or(st.status = 'active') as is_active,
        bool_or(st.is_to_come) as is_to_come
    from standing as st
    group by st.user_id, st.digits, st.sequence_id, st.phone
),

ranked as materialized (
    select
        m.*,
        coalesce(d.user_id = m.user_id, false) as has_device,
        coalesce(s.is_to_come, false) as is_to_come,
        coalesce(s.done, 0) as done,
        row_number() over best as rank,
        count(*) over (partition by m.user_id, m.digits) as leads,
        first_value(m.phone) over best as survivor
    from member as m
    left join user_devices as d on m.device_id = d.id
    left join (
        select
            spelling.user_id,
            spelling.digits,
            spelling.phone,
            bool_or(spelling.is_to_come) as is_to_come,
            sum(spelling.done) as done
        from spelling
        group by spelling.user_id, spelling.digits, spelling.phone
    ) as s on m.user_id = s.user_id and m.digits = s.digits and m.phone = s.phone
    window best as (
        partition by m.user_id, m.digits
        order by
            coalesce(s.is_to_come, false) desc,
            coalesce(s.done, 0) desc,
            coalesce(d.user_id = m.user_id, false) desc,
            m.phone = m.digits desc,
            m.created_at,
            m.id
    )
),

person as materialized (
    select
        known.user_id,
        known.digits,
        max(known.survivor) as survivor,
        array_agg(distinct known.phone) as phones
    from (
        select
            ranked.user_id,
            ranked.digits,
            ranked.survivor,
            ranked.phone
        from ranked
        union all
        select
            spelling.user_id,
            spelling.digits,
            null,
            spelling.phone
        from spelling
    ) as known
    group by known.user_id, known.digits
    having max(known.survivor) is not null
),

-- The spelling in which a person goes on in a sequence.
leader as materialized (
    select distinct on (s.user_id, s.digits, s.sequence_id)
        s.*,
        p.survivor,
        p.phones,
        s.phone <> p.survivor as moves
    from spelling as s
    inner join person as p on s.user_id = p.user_id and s.digits = p.digits
    order by s.user_id, s.digits, s.sequence_id, s.done desc, s.phone = p.survivor desc, s.is_active desc, s.phone
),

-- What is to come and does not stay as it is.
to_change as materialized (
    select
        st.*,
        leader.survivor,
        st.phone = leader.phone as goes_on
    from standing as st
    inner join leader
        on st.user_id = leader.user_id and st.digits = leader.digits and st.sequence_id = leader.sequence_id
    where st.is_to_come and st.phone is distinct from case when leader.phone = leader.survivor then leader.phone end
),

-- The triggers that the survivor has not got.
inherited as materialized (
    select
        heir.user_id,
        heir.digits,
        string_agg(heir.member, ',' order by heir.rank, heir.place) as triggers
    from (
        select distinct on (r.user_id, r.digits, btrim(m.member))
            r.user_id,
            r.digits,
            r.rank,
            m.place,
            btrim(m.member) as member
        from ranked as r
        cross join lateral unnest(string_to_array(r.trigger, ',')) with ordinality as m (member, place)
        where m.member ~ '\S'
        order by r.user_id, r.digits, btrim(m.member), r.rank, m.place
    ) as heir
    where
        heir.rank > 1
        -- Behind the person, in another spelling: the host's own enrolment would begin anew.
        and not exists (
            select 1
            from step
            inner join leader on step.sequence_id = leader.sequence_id
            where
                btrim(step.entry_trigger) = heir.member
                and leader.user_id = heir.user_id
                and leader.digits = heir.digits
                and leader.moves
                and not leader.is_to_come
        )
    group by heir.user_id, heir.digits
),

width as materialized (
    select
        coalesce(bool_or(a.attname = 'device_id' and a.attnotnull), false) as keeps_device,
        min(a.atttypmod - 4) filter (where a.attname = 'phone' and a.atttypmod > 4) as phone,
        min(a.atttypmod - 4) filter (where a.attname = 'trigger' and a.atttypmod > 4) as trigger
    from pg_attribute as a
    where a.attrelid = 'leads'::regclass and a.attnum > 0 and not a.attisdropped
),

survivor as materialized (
    select
        r.*,
        case when r.device_id is null then heirs.device_id end as new_device,
        case when i.triggers is not null then concat_ws(',', nullif(btrim(r.trigger, ', '), ''), i.triggers) end
            as new_trigger,
        case when r.name ~ '\S' then null else heirs.name end as new_name,
        case when r.niche ~ '\S' then null else heirs.niche end as new_niche
    from ranked as r
    left join inherited as i on r.user_id = i.user_id and r.digits = i.digits
    left join (
        select
            h.user_id,
            h.digits,
            (array_agg(h.device_id order by h.rank) filter (where h.has_device))[1] as device_id,
            (array_agg(h.name order by h.rank) filter (where h.name ~ '\S'))[1] as name,
            (array_agg(h.niche order by h.rank) filter (where h.niche ~ '\S'))[1] as niche
        from ranked as h
        where h.rank > 1
        group by h.user_id, h.digits
    ) as heirs on r.user_id = heirs.user_id and r.digits = heirs.digits
    where r.rank = 1
),

-- Messages of another processor, which may have no row.
foreign_message as materialized (
    select
        l.user_id,
        l.digits,
        st.id as contact_id,
        m.created_at
    from leader as l
    inner join standing as st
        on
            l.user_id = st.user_id
            and l.digits = st.digits
            and l.sequence_id = st.sequence_id
            and l.phone = st.phone
    cross join unnest(l.phones) as known (phone)
    inner join broadcast_messages as m
        on
            known.phone = m.recipient_phone
            and l.sequence_id = m.sequence_id
            and st.sequence_stepid = m.sequence_stepid
    where
        st.is_to_come
        and (l.moves or known.phone <> l.phone)
        and m.id <> md5('seqdev message ' || st.id)::uuid
),

refusal as materialized (
    select distinct on (why.user_id, why.digits)
        why.user_id,
        why.digits,
        why.reason
    from (
        select
            1 as place,
            s.user_id,
            s.digits,
            'no_phone' as reason
        from survivor as s
        where s.digits !~ '\S'
        union all
        select
            2,
            l.user_id,
            l.digits,
            'already_sent'
        from leader as l
        inner join spelling as other
            on l.user_id = other.user_id and l.digits = other.digits and l.sequence_id = other.sequence_id
        where l.is_to_come and l.phone <> other.phone and not other.done_steps <@ l.done_steps
        union all
        select
            2,
            f.user_id,
            f.digits,
            'already_sent'
        from foreign_message as f
        where
            -- Of an earlier time round, before the person began anew.
            not exists (
                select 1
                from seqdev.change as ch
                where ch.row_id = f.contact_id and ch.column_name = 'id' and ch.changed_at >= f.created_at
            )
        union all
        select
            3,
            c.user_id,
            c.digits,
            'step_taken'
        from to_change as c
        inner join standing as there
            on
                c.user_id = there.user_id
                and c.digits = there.digits
                and c.sequence_id = there.sequence_id
                and c.sequence_stepid = there.sequence_stepid
                and c.survivor = there.phone
        where c.goes_on
        union all
        -- What has the same phone is looked at to find it.
        select
            4,
            l.user_id,
            l.digits,
            'stranded'
        from leader as l
        where l.moves and l.is_to_come and l.done > 0 and not l.is_active
        union all
        -- The step that follows is one that is behind the person, which a tick knows by the phone.
        select
            5,
            l.user_id,
            l.digits,
            'goes_round'
        from leader as l
        inner join step on l.sequence_id = step.sequence_id and step.next_id = any(l.done_steps)
        where l.moves and l.is_to_come and step.id <> all(l.done_steps)
        union all
        select
            6,
            s.user_id,
            s.digits,
            'too_long'
        from survivor as s
        cross join width
        where length(s.new_trigger) > width.trigger or s.leads > 1 and width.phone < 43
    ) as why
    order by why.user_id, why.digits, why.place
)

select
    one.table_name,
    one.row_id,
    one.user_id,
    one.phone,
    coalesce(sq.name, left(sq.id::text, 0))::text as sequence,
    one.from_device,
    coalesce(was.device_name, left(was.id::text, 0))::text as from_name,
    one.to_device,
    coalesce(d.device_name, left(d.id::text, 0))::text as to_name,
    one.why,
    refusal.reason as refused,
    one.expected,
    one.becomes
from (
    select
        'leads' as table_name,
        r.id as row_id,
        r.user_id,
        r.digits,
        r.survivor as phone,
        null::uuid as sequence_id,
        r.device_id as from_device,
        s.new_device as to_device,
        case when s.id is null then 'set_aside' else 'survives' end as why,
        jsonb_build_object(
            'phone', r.phone, 'device_id', r.device_id, 'trigger', r.trigger, 'name', r.name, 'niche', r.niche
        ) as expected,
        case
            when s.id is null
                then jsonb_build_object('phone', 'merged ' || r.id, 'trigger', '', 'niche', '')
                || case when width.keeps_device then '{}' else '{"device_id": null}'::jsonb end
            else jsonb_strip_nulls(jsonb_build_object(
                'device_id', s.new_device, 'trigger', s.new_trigger, 'name', s.new_name, 'niche', s.new_niche
            ))
        end as becomes
    from ranked as r
    cross join width
    left join survivor as s on r.id = s.id
    where
        r.leads > 1
        or (r.user_id, r.digits) in (
            select
                c.user_id,
                c.digits
            from to_change as c
        )
    union all
    select
        'sequence_contacts',
        c.id,
        c.user_id,
        c.digits,
        c.survivor,
        c.sequence_id,
        null,
        null,
        case when c.goes_on then 'goes_on' else 'ends' end,
        jsonb_build_object(
            'status', c.status, 'last_error', c.last_error, 'contact_phone', c.phone, 'sequence_stepid', c.sequence_stepid
        ),
        case
            when not c.goes_on
                then '{"status": "stopped", "last_error": "ended: the person goes on in another spelling of the phone"}'
            else jsonb_build_object('contact_phone', c.survivor)
        end
    from to_change as c
) as one
left join refusal on one.user_id = refusal.user_id and one.digits = refusal.digits
left join sequences as sq on one.sequence_id = sq.id
left join user_devices as was on one.from_device = was.id
left join user_devices as d on one.to_device = d.id
where one.user_id is not null
order by one.user_id, one.phone, one.table_name, one.row_id;
