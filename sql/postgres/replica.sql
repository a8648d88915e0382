-- How far a standby is behind its primary
--
-- What has arrived and is replayed is all that it knows: a primary that writes nothing sends nothing, and then a standby
-- is not behind, however old the last transaction is. By its clock against the primary's: as good as these agree.
--
-- Parameters:
--   arrived    pg_lsn       what had arrived when that was asked before; empty: what has arrived by now
-- Row:
--   arrived    text         what has arrived; null: nothing by streaming
--   behind     boolean      not all of that is replayed
--   connected  boolean      a process receives what the primary sends; without one, files of an archive may arrive
--   paused     boolean      somebody has paused the replay
--   last       interval     how long ago the last transaction that is replayed was committed; null: none since its start
-- Locks: none
\if :{?arrived} \else \set arrived '' \endif
select
    w.arrived::text as arrived,
    coalesce(w.arrived > pg_last_wal_replay_lsn(), false) as behind,
    exists (select from pg_stat_wal_receiver as r where r.pid is not null) as connected,
    -- Elsewhere, it is an error to ask.
    case when pg_is_in_recovery() then pg_is_wal_replay_paused() else false end as paused,
    greatest(clock_timestamp() - pg_last_xact_replay_timestamp(), interval '0') as last
from (select coalesce(nullif(:'arrived', '')::pg_lsn, pg_last_wal_receive_lsn()) as arrived) as w;
