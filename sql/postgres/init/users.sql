-- users: the accounts that own devices, leads and sequences
--
-- Locks: none that anybody waits for; a new table
create table if not exists users (
    id uuid primary key default gen_random_uuid()
);
