-- sequence_steps: the messages of a sequence and what leads from one to the next
--
-- Locks: SHARE ROW EXCLUSIVE on sequences, for the foreign key
create table if not exists sequence_steps (
    id uuid primary key default gen_random_uuid(),
    sequence_id uuid not null references sequences (id) on delete cascade,
    day_number integer not null,
    trigger varchar(255),
    next_trigger varchar(255),
    trigger_delay_hours integer default 24,
    is_entry_point boolean default false,
    message_type varchar(50) default 'text',
    content text,
    media_url text,
    min_delay_seconds integer default 5,
    max_delay_seconds integer default 15
);
