-- leads: the people, each owned by one device
--
-- Locks: SHARE ROW EXCLUSIVE on users and user_devices, for the foreign keys
create table if not exists leads (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references users (id) on delete cascade,
    device_id uuid references user_devices (id) on delete set null,
    name varchar(255),
    phone varchar(50) not null,
    status varchar(50),
    niche varchar(255),
    trigger varchar(1000),
    unique (user_id, phone)
);
