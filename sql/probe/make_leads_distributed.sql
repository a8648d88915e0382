-- Make leads for a probe: one for each sequence that can be entered, who belongs to a device of the sequence's user
--
-- Runs in a transaction that is rolled back. The phones look like those that the user's leads have, for a host that
-- checks them, and are nobody's there: the last digits are others.
--
-- Parameters:
--   sequences  uuid[]   only these sequences; empty: all
--   most       integer  sequences, at most
-- Gates: gates/steps.sql
-- Row:
--   lead_id        uuid  the lead
--   sequence_id    uuid  the sequence that the lead is to enter
--   sequence_name  text  its name
-- Locks: the rows it inserts
\if :{?sequences} \else \set sequences '{}' \endif
\if :{?most} \else \set most '200' \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
-- Phones of each user are looked for among some leads only: by the user alone, all nodes would read all of theirs.
with look as materialized (
    select
        near.user_id,
        min(left(near.phone, -6)) as beginning
    from (select l.user_id, l.phone from leads as l limit 10000) as near
    where near.phone ~ '^[+]?[0-9]{8,15}$'
    group by near.user_id
),

entered as materialized (
    select distinct on (e.sequence_id)
        e.sequence_id,
        e.user_id,
        e.trigger,
        s.name,
        (
            select d.id
            from user_devices as d
            where d.user_id = e.user_id
            order by d.id
            limit 1
        ) as device_id
    from unnest(
        :'step_sequences'::uuid [], :'step_users'::uuid [], :'entry_triggers'::text [], :'step_reasons'::text []
    ) as e (sequence_id, user_id, trigger, reason)
    inner join sequences as s on e.sequence_id = s.id
    where
        e.trigger is not null
        and e.reason is null
        and (:'sequences'::uuid [] = '{}' or e.sequence_id = any(:'sequences'::uuid []))
    order by e.sequence_id, e.trigger
),

place as materialized (
    select
        e.*,
        row_number() over (order by e.sequence_id) as number,
        coalesce(look.beginning, '999000') as beginning
    from entered as e
    left join look on e.user_id = look.user_id
    where e.device_id is not null
    order by e.sequence_id
    limit :'most'::integer
),

candidate as materialized (
    select
        p.*,
        x.attempt,
        p.beginning || lpad((999999 - 20 * p.number - x.attempt)::text, 6, '0') as phone
    from place as p
    cross join generate_series(0, 19) as x (attempt)
),

taken as materialized (
    select
        c.user_id,
        c.phone
    from candidate as c
    inner join leads as l on c.user_id = l.user_id and c.phone = l.phone
    union all
    select
        c.user_id,
        c.phone
    from candidate as c
    inner join sequence_contacts as sc on c.phone = sc.contact_phone
    inner join sequences as s on sc.sequence_id = s.id and c.user_id = s.user_id
),

person as materialized (
    select distinct on (c.sequence_id) c.*
    from candidate as c
    where not exists (select from taken where taken.user_id = c.user_id and taken.phone = c.phone)
    order by c.sequence_id, c.attempt
),

made as (
    insert into leads (user_id, device_id, name, phone, trigger)
    select
        p.user_id,
        p.device_id,
        'seqdev probe',
        p.phone,
        p.trigger
    from person as p
    returning id, user_id, phone
)

select
    made.id as lead_id,
    p.sequence_id,
    p.name::text as sequence_name
from made
inner join person as p on made.user_id = p.user_id and made.phone = p.phone;
