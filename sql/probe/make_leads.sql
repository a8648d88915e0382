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
with entered as materialized (
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
        coalesce(
            (
                select left(l.phone, -6)
                from leads as l
                where l.user_id = e.user_id and l.phone ~ '^[+]?[0-9]{8,15}$'
                limit 1
            ),
            '999000'
        ) as beginning
    from entered as e
    where e.device_id is not null
    order by e.sequence_id
    limit :'most'::integer
),

person as materialized (
    select
        p.*,
        free.phone
    from place as p
    cross join lateral (
        select candidate.phone
        from (
            select p.beginning || lpad((999999 - 20 * p.number - x.attempt)::text, 6, '0') as phone
            from generate_series(0, 19) as x (attempt)
        ) as candidate
        where
            not exists (select 1 from leads as l where l.user_id = p.user_id and l.phone = candidate.phone)
            and not exists (
                select 1
                from sequence_contacts as sc
                inner join sequences as s on sc.sequence_id = s.id
                where s.user_id = p.user_id and sc.contact_phone = candidate.phone
            )
        limit 1
    ) as free
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
