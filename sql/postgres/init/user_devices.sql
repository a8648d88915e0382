-- user_devices: the sending numbers
--
-- Locks: SHARE ROW EXCLUSIVE on users, for the foreign key
create table if not exists user_devices (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references users (id) on delete cascade,
    device_name varchar(255) not null,
    phone varchar(50),
    jid varchar(255),
    status varchar(50) not null default 'offline',
    last_seen timestamp without time zone,
    platform varchar(50),
    min_delay_seconds integer default 5,
    max_delay_seconds integer default 15
);
