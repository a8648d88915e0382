-- A place for what becomes of each line, gone at the end of the transaction
--
-- Locks: none
create temporary table pg_temp.lead_outcome (
    line bigint not null,
    outcome text not null,
    rejected boolean not null,
    of_line bigint,
    lead_id uuid,
    lead_phone text,
    device_id uuid,
    needs_device boolean not null
) on commit drop;
