-- The rejected lines of an import, and why
--
-- Parameters:
--   most  bigint  lines to show; empty: all
-- Needs:
--   leads/stage.sql
--   leads/outcome.sql
-- Row:
--   line     bigint  where the line begins in the file
--   reason   text    why it is rejected
--   of_line  bigint  the earlier line that has its phone
--   raw      text    its cells as a JSON array, where they were kept
-- Locks: none
\if :{?most} \else \set most '20' \endif
select
    o.line,
    o.outcome as reason,
    o.of_line,
    s.raw
from pg_temp.lead_outcome as o
inner join pg_temp.lead_line as s on o.line = s.line
where o.rejected
order by o.line
limit nullif(:'most', '')::bigint;
