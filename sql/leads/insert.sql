-- Insert the new leads of an import
--
-- An empty cell becomes NULL, or an empty text where the host's column must not be null.
--
-- Parameters:
--   user  uuid  whose leads they are
-- Needs:
--   leads/stage.sql
--   leads/outcome.sql
-- Locks: the rows it inserts; KEY SHARE on the rows of their user and devices, for the foreign keys
\if :{?user} \else \set user '00000000-0000-0000-0000-000000000000' \endif
insert into leads (user_id, device_id, phone, name, niche, trigger)
select
    :'user'::uuid,
    o.device_id,
    s.phone,
    coalesce(s.name, case when demanded.name then '' end),
    coalesce(s.niche, case when demanded.niche then '' end),
    coalesce(s.trigger, case when demanded.trigger then '' end)
from pg_temp.lead_outcome as o
inner join pg_temp.lead_line as s on o.line = s.line
cross join (
    select
        bool_or(a.attname = 'name') as name,
        bool_or(a.attname = 'niche') as niche,
        bool_or(a.attname = 'trigger') as trigger
    from pg_attribute as a
    where a.attrelid = 'leads'::regclass and a.attnotnull
) as demanded
where o.outcome = 'new'
order by o.line
-- Somebody else made the lead since the lines were judged.
on conflict (user_id, phone) do nothing;
