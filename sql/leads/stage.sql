-- A place for the lines of a file of leads, gone at the end of the transaction
--
-- Locks: none
create temporary table pg_temp.lead_line (
    line bigint not null,
    phone text,
    name text,
    niche text,
    trigger text,
    device text,
    reason text,
    raw text
) on commit drop;
