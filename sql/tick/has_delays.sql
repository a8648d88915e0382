-- Whether the host's messages have columns for the delays of their steps
--
-- Asked before tick/delays.sql, where the rule host_columns is true.
--
-- Parameters: none
-- Row:
--   has_delays  boolean  whether they have both
-- Locks: none
select count(*) = 2 as has_delays
from pg_attribute as a
where
    a.attrelid = to_regclass('broadcast_messages')
    and a.attname in ('min_delay_seconds', 'max_delay_seconds')
    and not a.attisdropped;
