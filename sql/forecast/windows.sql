-- When each window opens and shuts in the time of a forecast
--
-- Instants are ticks from now: an instant counts from the next tick on.
--
-- Parameters:
--   now    timestamptz  the instant of the forecast
--   every  interval     time from tick to tick
-- Gates: gates/windows.sql within that time
-- Row:
--   win    text       a window, as gates/windows.sql names it
--   zones  text       in which zones of recipients; empty: in that of all others
--   ticks  integer[]  when it opens or shuts, or is open or shut from the beginning
--   opens  integer[]  for each of these, whether it is open from then on: 1 or 0
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?every} \else \set every '1 minute' \endif
\if :{?within} \else \set within '14 days' \endif
\if :{?change_windows} \else \ir ../gates/windows.sql \endif
select
    c.win,
    coalesce(c.zones, '') as zones,
    array_agg(
        greatest(0, ceil(extract(epoch from c.at - :'now'::timestamptz) / extract(epoch from :'every'::interval)))::integer
        order by c.at
    ) as ticks,
    array_agg(c.is_open::integer order by c.at) as opens
from unnest(
    :'change_windows'::text [], :'change_zones'::text [], :'change_instants'::timestamptz [], :'change_opens'::boolean []
) as c (win, zones, at, is_open)
group by c.win, coalesce(c.zones, '');
