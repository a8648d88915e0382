"""Databases of the host as seqdev meets them before its upgrade, in every variant that is in the field."""

from typing import Any

import psycopg

# The facts of section 2, written down anew: not seqdev's own idea of the host's tables.
TABLES = """
create table users (id uuid primary key default gen_random_uuid(), email text);
create table user_devices (
    id uuid primary key default gen_random_uuid(), user_id uuid references users, device_name varchar(255),
    phone varchar(50), jid varchar(255), status varchar(50), last_seen {instant},
    min_delay_seconds int, max_delay_seconds int
);
create table leads (
    id uuid primary key default gen_random_uuid(), user_id uuid references users,
    device_id uuid references user_devices, name varchar(255), phone varchar(50), status varchar(50),
    niche varchar(255), trigger varchar(1000), unique (user_id, phone)
);
create table sequences (
    id uuid primary key default gen_random_uuid(), user_id uuid references users, name varchar(255),
    niche varchar(255), status varchar(50), is_active boolean, trigger varchar(255), schedule_time varchar(10),
    min_delay_seconds int, max_delay_seconds int, priority int
);
create table sequence_steps (
    id uuid primary key default gen_random_uuid(), sequence_id uuid references sequences, day_number int,
    trigger varchar(255), next_trigger varchar(255), trigger_delay_hours int, is_entry_point boolean,
    message_type varchar(50), content text, media_url text, min_delay_seconds int, max_delay_seconds int
);
create table sequence_contacts (
    id uuid primary key default gen_random_uuid(), sequence_id uuid references sequences,
    contact_phone varchar(50), contact_name varchar(255), current_step int, status varchar(50),
    completed_at {instant}, current_trigger varchar(255), next_trigger_time {instant},
    processing_device_id uuid, processing_started_at {instant}, last_error text, retry_count int,
    assigned_device_id uuid, sequence_stepid uuid, user_id uuid
);
create table broadcast_messages (
    id uuid primary key default gen_random_uuid(), user_id uuid not null references users,
    device_id uuid not null references user_devices, campaign_id int, sequence_id uuid, sequence_stepid uuid,
    recipient_phone varchar(50), recipient_name varchar(255), message_type varchar(50), content text,
    media_url text, status varchar(50), error_message text, scheduled_at {instant}, sent_at {instant},
    created_at {instant} default now(), group_id varchar(255), group_order int
);
create table device_load_balance (
    device_id uuid, messages_hour int, messages_today int, last_reset_hour {instant}, last_reset_day {instant},
    is_available boolean
);
"""

ROWS = """
insert into users (id) values ('00000000-0000-4000-8000-000000000001');
insert into user_devices (id, user_id, device_name, status)
values ('00000000-0000-4000-8000-0000000000d1', '00000000-0000-4000-8000-000000000001', 'One', 'online');
insert into sequences (id, user_id, name, status, is_active)
values ('00000000-0000-4000-8000-0000000000a1', '00000000-0000-4000-8000-000000000001', 'Warm', 'active', true);
insert into sequence_steps
    (id, sequence_id, day_number, trigger, next_trigger, trigger_delay_hours, is_entry_point, content)
values
    ('00000000-0000-4000-8000-000000000051', '00000000-0000-4000-8000-0000000000a1',
     1, 'WARM', 'warm 2', 24, true, 'one'),
    ('00000000-0000-4000-8000-000000000052', '00000000-0000-4000-8000-0000000000a1',
     2, 'warm 2', null, 24, false, 'two');
insert into leads (user_id, device_id, name, phone, trigger)
select '00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-0000000000d1', 'Lead ' || i,
       '60120000' || i, 'WARM'
from generate_series(100, 109) as i;
-- One row a person, as the first shape has it: half of them wait for step 2.
insert into sequence_contacts (sequence_id, contact_phone, contact_name, current_step, status, next_trigger_time)
select '00000000-0000-4000-8000-0000000000a1', '60120000' || i, 'Lead ' || i, 1 + i % 2, 'active',
       now() at time zone 'UTC' - interval '1 hour'
from generate_series(100, 103) as i;
"""

ONE_ROW_PER_PERSON = "alter table sequence_contacts add unique (sequence_id, contact_phone);"
ONE_ROW_PER_STEP = "alter table sequence_contacts add unique (sequence_id, contact_phone, sequence_stepid);"
FILL_STEPS = """
update sequence_contacts as sc set sequence_stepid = st.id from sequence_steps as st
where st.sequence_id = sc.sequence_id and st.day_number = sc.current_step;
"""

VARIANTS = {
    "one row per person": ONE_ROW_PER_PERSON,
    "one row per person, by an index": "create unique index on sequence_contacts (contact_phone, sequence_id);",
    "one row per person, column missing": ONE_ROW_PER_PERSON
    + "alter table sequence_contacts drop column sequence_stepid;",
    "one row per step": FILL_STEPS + ONE_ROW_PER_STEP,
    "no key at all": FILL_STEPS,
    "columns missing": FILL_STEPS
    + ONE_ROW_PER_STEP
    + "alter table broadcast_messages drop column sequence_stepid, drop column recipient_name;"
    + "alter table sequence_contacts drop column assigned_device_id, drop column user_id,"
    + " drop column processing_device_id, drop column processing_started_at;",
    "table missing": FILL_STEPS + ONE_ROW_PER_STEP + "drop table device_load_balance;",
}


def make(connection: "psycopg.Connection[Any]", variant: str, instant: str) -> None:
    """Make the tables of a variant, their instants of the type ``instant``, and rows in them."""
    for script in (TABLES.format(instant=instant), ROWS, VARIANTS[variant]):
        connection.execute(script.encode())


def everything(host: "psycopg.Connection[Any]") -> list[Any]:
    """Every contact, and the names of all columns and indexes: what an upgrade would change."""
    return (
        host.execute("select to_jsonb(sc) from sequence_contacts sc order by id").fetchall()
        + host.execute(
            "select table_schema, table_name, column_name from information_schema.columns"
            " where table_schema in ('public', 'seqdev') order by 1, 2, 3"
        ).fetchall()
        + host.execute("select indexrelid::regclass::text from pg_index order by 1").fetchall()
    )
