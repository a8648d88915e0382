-- Whether Citus has spread the host's tables over its nodes, and which of its nodes this is
--
-- Only where the extension is: sql/postgres/kept.sql.
--
-- Row:
--   tables       integer  how many of leads, sequence_contacts and broadcast_messages it has spread
--   is_worker    boolean  this is one of the other nodes, where seqdev's own tables are not
--   coordinator  text     the node that all of it is reached by, as Citus knows it; null: it does not know
-- Locks: none
select
    (
        select count(*)
        from pg_dist_partition as p
        where
            p.partmethod = 'h'
            and p.logicalrelid in (
                to_regclass('leads'), to_regclass('sequence_contacts'), to_regclass('broadcast_messages')
            )
    )::integer as tables,
    (select own.groupid <> 0 from pg_dist_local_group as own) as is_worker,
    (
        select format('%s:%s', node.nodename, node.nodeport)
        from pg_dist_node as node
        where node.groupid = 0
        limit 1
    )::text as coordinator;
