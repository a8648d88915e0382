-- broadcast_messages: the outbound queue that the broadcast worker sends from
--
-- Locks: SHARE ROW EXCLUSIVE on users, user_devices and sequences, for the foreign keys
create table if not exists broadcast_messages (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references users (id) on delete cascade,
    device_id uuid not null references user_devices (id) on delete cascade,
    campaign_id integer,
    sequence_id uuid references sequences (id) on delete set null,
    sequence_stepid uuid,
    recipient_phone varchar(50) not null,
    recipient_name varchar(255),
    message_type varchar(50) not null default 'text',
    content text,
    media_url text,
    status varchar(50) not null default 'pending',
    error_message text,
    scheduled_at timestamp without time zone,
    sent_at timestamp without time zone,
    created_at timestamp without time zone default now(),
    group_id varchar(255),
    group_order integer
);
