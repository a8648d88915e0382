-- The zone in which naive timestamps are read, against the zones that others may have written them in
--
-- A host writes naive timestamps in the zone of its session, which is that of the server, of the database or of its role
-- unless it says otherwise. Where none of the host's columns is naive there is nothing to ask.
--
-- Parameters:
--   kept    text  the zone that is kept with the database; empty: none is
-- Row:
--   item    text  what is looked at
--   status  text  ok, or advised
--   why     text  what was found
--   remedy  text  nothing: a person has to decide
--   mode    text  nothing
-- Locks: none
\if :{?kept} \else \set kept '' \endif
with zone (place, name) as (
    select
        case
            when r.setdatabase <> 0 and r.setrole <> 0
                then 'that of role ' || r.setrole::regrole || ' in this database'
            when r.setdatabase <> 0 then 'the database''s'
            else 'that of role ' || r.setrole::regrole
        end,
        split_part(option.setting, '=', 2)
    from pg_db_role_setting as r
    cross join lateral unnest(r.setconfig) as option (setting)
    where
        r.setdatabase in (0, (select d.oid from pg_database as d where d.datname = current_database()))
        and lower(split_part(option.setting, '=', 1)) = 'timezone'
    union all
    select
        'this session''s without seqdev',
        s.reset_val
    from pg_settings as s
    where s.name = 'TimeZone'
),

naive as (
    select count(*) as columns
    from information_schema.columns as c
    where
        c.table_schema = current_schema()
        and c.table_name in ('sequence_contacts', 'broadcast_messages')
        and c.column_name in ('next_trigger_time', 'scheduled_at', 'sent_at', 'created_at')
        and c.data_type = 'timestamp without time zone'
),

other as (
    select string_agg(distinct zone.place || ' is ' || zone.name, ', ') as zones
    from zone
    -- All year round: in winter, London tells the time of UTC.
    where exists (
        select 1
        from generate_series(now(), now() + interval '1 year', interval '1 month') as x (moment)
        where
            x.moment at time zone current_setting('TimeZone') <> case
                -- Written as hours.
                when zone.name ~ '^[+-]?[0-9]+([.][0-9]+)?$'
                    then x.moment at time zone (zone.name::numeric * interval '1 hour')
                else x.moment at time zone zone.name
            end
    )
)

select
    'zone of naive timestamps'::text as item,
    (case when naive.columns > 0 and other.zones is not null and :'kept'::text = '' then 'advised' else 'ok' end)::text
        as status,
    (
        case
            when naive.columns = 0 then 'the host has none'
            else
                'read in ' || current_setting('TimeZone')
                || case when :'kept'::text = '' then '' else ', as kept with the database' end
                || coalesce('; ' || other.zones, '')
                || case
                    when other.zones is not null and :'kept'::text = ''
                        then '. If the application writes in another zone, people wait, or are early, by hours.'
                        ' Find out, then: seqdev db zone ZONE'
                    else ''
                end
        end
    )::text as why,
    null::text as remedy,
    null::text as mode
from naive
cross join other;
