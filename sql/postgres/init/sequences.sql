-- sequences: drips of messages
--
-- Locks: SHARE ROW EXCLUSIVE on users, for the foreign key
create table if not exists sequences (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references users (id) on delete cascade,
    name varchar(255) not null,
    niche varchar(255),
    status varchar(50) not null default 'active',
    is_active boolean not null default true,
    trigger varchar(255),
    schedule_time varchar(10),
    min_delay_seconds integer default 5,
    max_delay_seconds integer default 15,
    priority integer default 0
);
