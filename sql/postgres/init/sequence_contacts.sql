-- sequence_contacts: where each person stands, one row per person and step
--
-- Locks: SHARE ROW EXCLUSIVE on sequences, for the foreign key
create table if not exists sequence_contacts (
    id uuid primary key default gen_random_uuid(),
    sequence_id uuid not null references sequences (id) on delete cascade,
    contact_phone varchar(50) not null,
    contact_name varchar(255),
    current_step integer default 0,
    status varchar(50) default 'active',
    completed_at timestamp without time zone,
    current_trigger varchar(255),
    next_trigger_time timestamp without time zone,
    processing_device_id uuid,
    processing_started_at timestamp without time zone,
    last_error text,
    retry_count integer default 0,
    assigned_device_id uuid,
    sequence_stepid uuid,
    user_id uuid,
    unique (sequence_id, contact_phone, sequence_stepid)
);
