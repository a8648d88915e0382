-- Whether Citus has spread the host's tables over its nodes
--
-- On the node that all of them are reached by, the coordinator. Only where the extension is: sql/postgres/kept.sql.
--
-- Row:
--   distributed  boolean  leads, sequence_contacts and broadcast_messages are distributed, and this is the coordinator
-- Locks: none
select
    (
        count(*) = 3 and (select own.groupid = 0 from pg_dist_local_group as own)
    ) as distributed
from pg_dist_partition as p
where
    p.partmethod = 'h'
    and p.logicalrelid in (to_regclass('leads'), to_regclass('sequence_contacts'), to_regclass('broadcast_messages'));
