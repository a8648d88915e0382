-- Bring existing leads up to the lines of an import
--
-- Name and niche are replaced where the line has them, triggers that the list has not got are added, an
-- owner is given where there is none, and never changed. Works on the lead as it is now, whatever it was when
-- the lines were judged; a lead that needs nothing is not touched.
--
-- Needs:
--   leads/stage.sql
--   leads/outcome.sql
-- Locks: the rows it updates; KEY SHARE on the rows of their devices, for the foreign key
with line as materialized (
    select
        o.lead_id,
        o.lead_phone,
        o.device_id,
        s.name,
        s.niche,
        coalesce(string_to_array(s.trigger, ','), '{}') as members
    from pg_temp.lead_outcome as o
    inner join pg_temp.lead_line as s on o.line = s.line
    where o.outcome = 'update'
)

update leads as l
set
    name = coalesce(s.name, l.name),
    niche = coalesce(s.niche, l.niche),
    trigger = case
        when s.members <@ regexp_split_to_array(coalesce(btrim(l.trigger, ', '), ''), ' *, *') then l.trigger
        else coalesce(nullif(btrim(l.trigger, ', '), '') || ',', '') || (
            select string_agg(m.member, ',' order by m.place)
            from unnest(s.members) with ordinality as m (member, place)
            where m.member <> all(regexp_split_to_array(coalesce(btrim(l.trigger, ', '), ''), ' *, *'))
        )
    end,
    device_id = coalesce(l.device_id, s.device_id)
from line as s
where
    l.id = s.lead_id
    and l.phone = s.lead_phone
    and (
        s.name <> coalesce(l.name, '')
        or s.niche <> coalesce(l.niche, '')
        or l.device_id is null
        or not s.members <@ regexp_split_to_array(coalesce(btrim(l.trigger, ', '), ''), ' *, *')
    );
