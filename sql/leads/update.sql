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
update leads as l
set
    name = coalesce(s.name, l.name),
    niche = coalesce(s.niche, l.niche),
    trigger = coalesce(
        (
            select concat_ws(
                ',', nullif(btrim(l.trigger, ', '), ''), string_agg(m.member, ',' order by m.place)
            )
            from unnest(string_to_array(s.trigger, ',')) with ordinality as m (member, place)
            where m.member not in (
                select btrim(had.member)
                from unnest(string_to_array(coalesce(l.trigger, ''), ',')) as had (member)
            )
            having count(*) > 0
        ),
        l.trigger
    ),
    device_id = coalesce(l.device_id, o.device_id)
from pg_temp.lead_outcome as o
inner join pg_temp.lead_line as s on o.line = s.line
where
    o.outcome = 'update'
    and l.id = o.lead_id
    and (
        s.name <> coalesce(l.name, '')
        or s.niche <> coalesce(l.niche, '')
        or l.device_id is null
        or exists (
            select 1
            from unnest(string_to_array(s.trigger, ',')) as m (member)
            where m.member not in (
                select btrim(had.member)
                from unnest(string_to_array(coalesce(l.trigger, ''), ',')) as had (member)
            )
        )
    );
