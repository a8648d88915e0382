-- Decide what becomes of each line: a new lead, an update, nothing, or a reason to reject it
--
-- Of lines with one phone the first counts, whatever becomes of it: which of them is right is for a person
-- to say. A device in the line is an id or a name, and wins over the device for all lines. A lead with the phone in
-- another spelling is the same person's.
--
-- Parameters:
--   user        uuid     whose leads they are
--   device      uuid     the device of lines that name none
--   distribute  boolean  lines that name no device get one later, from distribute.sql
--   existing    text     what happens to leads that exist: skip or update
--   national    text     regular expression of what begins a national number
--   country     text     what stands for it in an international one
-- Needs:
--   leads/stage.sql
--   leads/outcome.sql
-- Locks: none
\if :{?user} \else \set user '00000000-0000-0000-0000-000000000000' \endif
\if :{?device} \else \set device '' \endif
\if :{?distribute} \else \set distribute 'true' \endif
\if :{?existing} \else \set existing 'skip' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
insert into pg_temp.lead_outcome (
    line, outcome, rejected, of_line, lead_id, lead_phone, device_id, needs_device
)
with width as (
    select
        max(a.atttypmod - 4) filter (where a.attname = 'phone') as phone,
        max(a.atttypmod - 4) filter (where a.attname = 'name') as name,
        max(a.atttypmod - 4) filter (where a.attname = 'niche') as niche,
        max(a.atttypmod - 4) filter (where a.attname = 'trigger') as trigger
    from pg_attribute as a
    where
        a.attrelid = 'leads'::regclass
        and a.attnum > 0
        and a.atttypid in ('varchar'::regtype, 'bpchar'::regtype)
        and a.atttypmod > 4
),

device_named as (
    select
        d.device_name::text as name,
        count(*) filter (where d.user_id = :'user'::uuid) as own,
        (array_agg(d.id) filter (where d.user_id = :'user'::uuid))[1] as id
    from user_devices as d
    group by d.device_name::text
),

numbered as materialized (
    select
        s.line,
        s.phone,
        s.name,
        s.niche,
        s.trigger,
        s.device,
        s.reason,
        first_value(s.line) over (partition by s.phone order by s.line) as first_line
    from pg_temp.lead_line as s
),

own_lead as materialized (
    select
        l.id,
        l.phone,
        l.device_id,
        l.name,
        l.niche,
        l.trigger
    from leads as l
    where l.user_id = :'user'::uuid and l.phone in (select numbered.phone from numbered)
),

odd_lead as materialized (
    select distinct on (person.digits)
        l.id,
        l.phone,
        l.device_id,
        l.name,
        l.niche,
        l.trigger,
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
        l.user_id = :'user'::uuid
        and (l.phone ~ '^0|[^0-9]' or :'national'::text <> '(?!)' and l.phone ~ :'national'::text)
        and person.digits ~ '^[0-9]{6,15}$'
    order by person.digits, l.id
),

judged as (
    select
        s.line,
        s.device,
        s.name,
        s.niche,
        s.first_line,
        lead.id as lead_id,
        lead.phone as lead_phone,
        lead.device_id as owner_id,
        lead.name as lead_name,
        lead.niche as lead_niche,
        added.missing,
        case when s.device is null then nullif(:'device', '')::uuid else coalesce(d.id, n.id) end as device_id,
        case
            when s.reason is not null then s.reason
            when s.first_line < s.line then 'duplicate_phone'
            when
                length(s.phone) > width.phone
                or length(s.name) > width.name
                or length(s.niche) > width.niche
                or length(s.trigger) > width.trigger
                or :'existing'::text = 'update'
                and added.missing is not null
                and length(concat_ws(',', nullif(btrim(lead.trigger, ', '), ''), added.missing)) > width.trigger
                then 'too_long'
            when s.device is null and nullif(:'device', '')::uuid is null and not :'distribute'::boolean
                then 'no_device'
            when s.device is null or d.user_id = :'user'::uuid then null
            when d.id is not null or n.own = 0 then 'device_of_other_user'
            when n.name is null then 'unknown_device'
            when n.own > 1 then 'ambiguous_device'
        end as reason
    from numbered as s
    cross join width
    left join user_devices as d on lower(s.device) = d.id::text
    left join device_named as n on s.device = n.name
    left join own_lead as exact on s.phone = exact.phone
    left join odd_lead as odd on exact.id is null and s.phone = odd.digits
    cross join lateral (
        select
            coalesce(exact.id, odd.id) as id,
            coalesce(exact.phone, odd.phone) as phone,
            coalesce(exact.device_id, odd.device_id) as device_id,
            coalesce(exact.name, odd.name) as name,
            coalesce(exact.niche, odd.niche) as niche,
            coalesce(exact.trigger, odd.trigger) as trigger
    ) as lead
    -- The members of the line that the lead's list has not got.
    left join lateral (
        select string_agg(m.member, ',' order by m.place) as missing
        from unnest(string_to_array(s.trigger, ',')) with ordinality as m (member, place)
        where
            m.member not in (
                select btrim(had.member)
                from unnest(string_to_array(coalesce(lead.trigger, ''), ',')) as had (member)
            )
    ) as added on lead.id is not null
),

decided as (
    select
        j.*,
        case
            when j.reason is not null then j.reason
            when j.lead_id is null then 'new'
            when :'existing'::text = 'skip' then 'skipped'
            when
                j.name <> coalesce(j.lead_name, '')
                or j.niche <> coalesce(j.lead_niche, '')
                or j.missing is not null
                or j.owner_id is null
                then 'update'
            else 'unchanged'
        end as outcome
    from judged as j
)

select
    d.line,
    d.outcome,
    d.reason is not null as rejected,
    case when d.outcome = 'duplicate_phone' then d.first_line end as of_line,
    case when d.reason is null then d.lead_id end as lead_id,
    case when d.reason is null then d.lead_phone end as lead_phone,
    case when d.outcome in ('new', 'update') and d.owner_id is null then d.device_id end as device_id,
    :'distribute'::boolean
    and d.outcome in ('new', 'update')
    and d.owner_id is null
    and d.device_id is null as needs_device
from decided as d;
