-- Devices as a forecast has them: from when on each sends, and how much it may
--
-- Instants are ticks from now: an instant counts from the next tick on.
--
-- Parameters:
--   users          uuid[]       only devices of these users; empty: of all
--   now            timestamptz  the instant of the forecast
--   every          interval     time from tick to tick
--   later_devices  uuid[]       devices, as gates/devices.sql has them at the end of the last day
--   later_reasons  text[]       why they may not send then; null: they may
-- Gates: gates/devices.sql, gates/spread.sql, forecast/warmed.sql
-- Row:
--   id            uuid     the device
--   name          text     its name
--   user_id       uuid     its user
--   reason        text     why it may not send, when all has ended that ends; null: it may
--   is_limited    boolean  whether the policy asks for its limits
--   most_flying   integer  messages in flight
--   most_an_hour  integer  messages of 60 minutes
--   most_a_day    integer  messages of 24 hours, once it has warmed up
--   most_new      integer  people whom it writes to for the first time in 24 hours; null: any number
--   flying_by     text     whose rule the limit of those in flight is; null: that for all
--   hour_by       text     the same of an hour
--   day_by        text     the same of a day
--   new_by        text     the same of new chats
--   warm_by       text     the same of a warm_up
--   warm_first    integer  messages of 24 hours at first; null: it does not warm up
--   warm_more     integer  how many more for each day that it has sent
--   warm_days     integer  days that it has sent, the last one included
--   warm_last     integer  when the last one began
--   warm_used     integer  its newest message
--   restricted    integer  it opens no new chats before
--   opens         integer  it sends from then on; null: not within the time
--   leaves        integer  its people go elsewhere from then on, if the policy moves people; null: they wait for it
--   home_after    integer  ticks without moving anybody away, after which people come back; null: they do not
--   gap           float8   ticks between two of its messages, where they are laid out; null: they leave at once
--   gap_at        float8   the place of the next one
--   laid_out      integer  how many are laid out already
-- Locks: none
\if :{?users} \else \set users '{}' \endif
\if :{?now} \else \set now 'now' \endif
\if :{?every} \else \set every '1 minute' \endif
\if :{?later_devices} \else \set later_devices '{}' \endif
\if :{?later_reasons} \else \set later_reasons '{}' \endif
\if :{?distributed} \if :{?paces} \else \ir ../gates/spread_distributed.sql \endif \endif
\if :{?paces} \else \ir ../gates/spread.sql \endif
\if :{?devices} \else \ir ../gates/devices.sql \endif
\if :{?distributed} \if :{?warm_devices} \else \ir ../forecast/warmed_distributed.sql \endif \endif
\if :{?warm_devices} \else \ir ../forecast/warmed.sql \endif
with instant as materialized (
    select
        d.*,
        nullif(case when later.id is null then d.reason else later.reason end, 'device_full') as last_reason,
        coalesce(
            ceil(extract(epoch from d.pause_ends::timestamptz - :'now'::timestamptz) / extract(epoch from :'every'::interval)), 0
        ) as held_until,
        ceil(extract(epoch from d.away_until - :'now'::timestamptz) / extract(epoch from :'every'::interval)) as away
    from unnest(
        :'devices'::uuid [], :'device_users'::uuid [], :'device_reasons'::text [], :'device_rooms'::integer [],
        :'most_in_flight'::integer [], :'most_in_hour'::integer [], :'most_in_day'::integer [], :'flying_by'::text [],
        :'hour_by'::text [], :'day_by'::text [], :'most_new'::integer [], :'new_by'::text [],
        :'restricted_until'::timestamptz [], :'away_until'::timestamptz [], :'device_pause_ends'::text [],
        :'home_after'::interval [], :'laid_out'::integer []
    ) as d (
        id, user_id, reason, room, most_flying, most_an_hour, most_a_day, flying_by, hour_by, day_by, most_new, new_by,
        restricted_until, away_until, pause_ends, home_after, laid_out
    )
    left join unnest(:'later_devices'::uuid [], :'later_reasons'::text []) as later (id, reason) on d.id = later.id
    where :'users'::uuid [] = '{}' or d.user_id = any(:'users'::uuid [])
)

select
    d.id,
    coalesce(host.device_name, left(host.id::text, 0))::text as name,
    d.user_id,
    d.last_reason as reason,
    d.room is not null as is_limited,
    d.most_flying,
    d.most_an_hour,
    coalesce(warm.top, d.most_a_day) as most_a_day,
    d.most_new,
    d.flying_by,
    d.hour_by,
    d.day_by,
    d.new_by,
    warm.named as warm_by,
    warm.first as warm_first,
    warm.more as warm_more,
    coalesce(warm.days, 0) as warm_days,
    ceil(extract(epoch from warm.last - :'now'::timestamptz) / extract(epoch from :'every'::interval))::integer as warm_last,
    ceil(extract(epoch from warm.used - :'now'::timestamptz) / extract(epoch from :'every'::interval))::integer as warm_used,
    coalesce(
        ceil(extract(epoch from d.restricted_until - :'now'::timestamptz) / extract(epoch from :'every'::interval)), 0
    )::integer as restricted,
    case when d.last_reason is null then least(d.held_until, 1000000000) end::integer as opens,
    case
        when d.last_reason is null then least(d.held_until, 1000000000)
        when d.last_reason not in ('paused', 'device_away') then least(greatest(d.held_until, d.away), 1000000000)
    end::integer as leaves,
    ceil(extract(epoch from d.home_after) / extract(epoch from :'every'::interval))::integer as home_after,
    (pace.of ->> 'gap')::float8 / extract(epoch from :'every'::interval)::float8 as gap,
    extract(epoch from (pace.of ->> 'at')::timestamptz - :'now'::timestamptz)::float8
    / extract(epoch from :'every'::interval)::float8 as gap_at,
    d.laid_out
from instant as d
inner join user_devices as host on d.id = host.id
left join unnest(
    :'warm_devices'::uuid [], :'warm_firsts'::integer [], :'warm_mores'::integer [], :'warm_tops'::integer [],
    :'warm_by'::text [], :'warm_days'::integer [], :'warm_lasts'::timestamptz [], :'warm_useds'::timestamptz []
) as warm (id, first, more, top, named, days, last, used) on d.id = warm.id
cross join lateral (
    select case when :'paces'::jsonb <> '{}' then :'paces'::jsonb -> d.id::text end as of
) as pace;
