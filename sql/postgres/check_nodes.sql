-- The zones of all nodes of Citus
--
-- seqdev takes its own zone to each of them. What the host's sessions write in theirs is another matter.
--
-- Row:
--   item    text  what is looked at
--   status  text  ok, or advised
--   why     text  what was found
--   remedy  text  nothing: a person has to decide
--   mode    text  nothing
-- Locks: none
with node as materialized (
    select
        coalesce(n.nodename || ':' || n.nodeport, 'node ' || answer.nodeid) as name,
        case when answer.success then answer.result end as zone
    from run_command_on_all_nodes('show timezone') as answer
    left join pg_dist_node as n on answer.nodeid = n.nodeid
)

select
    'zone of all nodes'::text as item,
    (case when count(distinct node.zone) = 1 and bool_and(node.zone is not null) then 'ok' else 'advised' end)::text
        as status,
    (
        string_agg(node.name || ' ' || coalesce(node.zone, 'did not answer'), ', ' order by node.name)
        || case
            when count(distinct node.zone) > 1
                then '; seqdev takes its own along, but what the host leaves to a node, such as now() in an UPDATE, is'
                ' off by hours there: alter system set timezone, alike on all'
            else ''
        end
    )::text as why,
    null::text as remedy,
    null::text as mode
from node;
