-- Rows that keep the upgrade from making a unique key
--
-- It reads whole tables, and runs only where a key has yet to be made; before the upgrade too, when sequence_stepid may
-- be missing: then no two rows name the same step.
--
-- Row:
--   item    text  what is looked at: a key
--   status  text  wrong
--   why     text  how many rows, and what to do about them
--   remedy  text  none: a person has to decide which row stays
--   mode    text  none
-- Locks: none
with duplicate (item, rows_found, help) as (
    select
        'leads: one per user and phone',
        sum(several.number),
        'leads share user and phone with another. To merge them: seqdev leads merge'
    from (
        select count(*) as number
        from leads as l
        where l.user_id is not null and l.phone is not null
        group by l.user_id, l.phone
        having count(*) > 1
    ) as several
    union all
    select
        'sequence_contacts: one per person and step',
        sum(several.number),
        'rows share sequence, phone and step with another. Keep one of each: what is done before what is not'
    from (
        select count(*) as number
        from (values (null::uuid)) as missing (sequence_stepid)
        cross join lateral (
            select
                sequence_id,
                contact_phone,
                sequence_stepid as step_id
            from sequence_contacts
        ) as c
        where c.sequence_id is not null and c.contact_phone is not null and c.step_id is not null
        group by c.sequence_id, c.contact_phone, c.step_id
        having count(*) > 1
    ) as several
)

select
    d.item::text as item,
    'wrong'::text as status,
    d.rows_found || ' ' || d.help as why,
    null::text as remedy,
    null::text as mode
from duplicate as d
where d.rows_found > 0;
