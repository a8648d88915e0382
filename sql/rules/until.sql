-- An instant as somebody types it, read in the zone of the database
--
-- Parameters:
--   now    timestamptz  the instant of the transaction
--   until  timestamptz  the instant, with or without its own offset from UTC
-- Row:
--   ends   text     the instant in UTC, as pauses keep it
--   shown  text     the same in the zone of the database
--   zone   text     that zone
--   ahead  boolean  whether it lies ahead
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?until} \else \set until '2100-01-01 00:00' \endif
select
    to_char(i.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as ends,
    to_char(i.at, 'YYYY-MM-DD HH24:MI:SS') as shown,
    current_setting('TimeZone') as zone,
    i.at > :'now'::timestamptz as ahead
from (
    select :'until'::timestamptz as at
) as i;
