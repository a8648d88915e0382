"""What hosts' databases are dirty with: statements that make a small clean world dirty at random.

``{some}`` stands for a condition on a few rows of the statement's table, ``{one}`` for the id of one of them, and the
other names for a value by chance.
"""

import random
from datetime import timedelta
from typing import Any
from uuid import UUID

from tests.world.host import Host

PHONES = ["", " ", "abc", "+60 12-345 6789", "0" * 50, "\N{GRINNING FACE}", "60123@s.whatsapp.net", "'; --"]
WORDS = ["ACTIVE", "Online", "connected", "sleeping", "", " ", "live", "banned", "paused", "done"]

RAISES = """
    create function {name}() returns trigger language plpgsql as $$ begin {body} return new; end $$;
    create trigger {name} before {event} for each row execute function {name}()
"""

ROWS = {
    # Statuses
    "device status": "update user_devices set status = {word} where {some}",
    "sequence status": "update sequences set status = {word} where {some}",
    "contact status": "update sequence_contacts set status = {word} where {some}",
    "contact status NULL": "update sequence_contacts set status = null where {some}",
    "message status": "insert into broadcast_messages (user_id, device_id, recipient_phone, status)"
    " select user_id, id, '1', {word} from user_devices limit 1",
    # Contacts
    "due NULL": "update sequence_contacts set next_trigger_time = null where {some}",
    "phone": "update sequence_contacts set contact_phone = {phone} where id = {one}",
    "assigned NULL": "update sequence_contacts set assigned_device_id = null where {some}",
    "assigned to nothing": "update sequence_contacts set assigned_device_id = gen_random_uuid() where {some}",
    "assigned to anybody": "update sequence_contacts set assigned_device_id ="
    " (select id from user_devices order by md5(id::text || {seed}) limit 1) where {some}",
    "of no step": "update sequence_contacts set sequence_stepid = null where {some}",
    "of a step that is gone": "update sequence_contacts set sequence_stepid = gen_random_uuid() where {some}",
    "claimed without an instant": "update sequence_contacts set processing_device_id = gen_random_uuid() where {some}",
    "claimed long ago": "update sequence_contacts set processing_device_id = gen_random_uuid(),"
    " processing_started_at = now() - interval '1 day' where {some}",
    "NULLs": "update sequence_contacts set contact_name = null, current_step = null, current_trigger = null,"
    " retry_count = null, user_id = null where {some}",
    "a long name": "update sequence_contacts set contact_name = repeat('x', 255) where {some}",
    # Leads
    "lead deleted": "delete from leads where {some}",
    "lead of another phone": "update leads set phone = phone || '9' where {some}",
    "lead without a device": "update leads set device_id = null where {some}",
    "nobody's": "update leads set device_id = null; update sequence_contacts set assigned_device_id = null where {some}",
    "lists": "update leads set trigger = {list} where {some}",
    # Steps
    "content": "update sequence_steps set content = {blank}, media_url = {blank} where {some}",
    "trigger NULL": "update sequence_steps set trigger = null where {some}",
    "leads nowhere": "update sequence_steps set next_trigger = {word} where {some}",
    "goes in a circle": "update sequence_steps set next_trigger = trigger where {some}",
    "one trigger": "update sequence_steps set trigger = 'WARM', next_trigger = 'WARM' where {some}",
    "delay": "update sequence_steps set trigger_delay_hours = {hours} where {some}",
    "no entry": "update sequence_steps set is_entry_point = null where {some}",
    "kind": "update sequence_steps set message_type = {blank} where {some}",
    "step deleted": "delete from sequence_steps where {some}",
    # Devices
    "device deleted": "alter table leads drop constraint if exists leads_device_id_fkey;"
    " delete from user_devices where id = {one}",
    # Sequences
    "is_active": "update sequences set is_active = false where {some}",
    "sequence gone": "alter table sequence_contacts drop constraint if exists sequence_contacts_sequence_id_fkey;"
    " delete from sequences where id = {one}",
}
"""Dirty rows."""

RULES = {
    "steps up to 1": "delete from sequence_contacts where current_step > 1;"
    " alter table sequence_contacts add constraint few check (current_step < 2)",
    "one active": "create unique index one_active on sequence_contacts (sequence_id, contact_phone)"
    " where status = 'active'",
    "one message a person": "create unique index one_message on broadcast_messages (recipient_phone)",
    "statuses known": "alter table sequence_contacts add constraint known"
    " check (status in ('active', 'pending', 'completed')) not valid",
    "no failed": "alter table sequence_contacts add constraint known check (status <> 'failed') not valid",
    "short names": "alter table broadcast_messages alter recipient_name type varchar(20)",
    "short phones": "alter table broadcast_messages alter recipient_phone type varchar(12)",
    "short contents": "alter table broadcast_messages alter content type varchar(10)",
    "a column more": "alter table broadcast_messages add column campaign_name text not null default 'x';"
    " alter table broadcast_messages alter campaign_name drop default",
    "raises": RAISES.format(name="no", event="insert on broadcast_messages", body="raise 'no';"),
    "raises at steps": RAISES.format(
        name="no",
        event="insert on broadcast_messages",
        body="if new.content like '%2' then raise 'no'; end if;",
    ),
    "raises on leads": RAISES.format(
        name="no",
        event="update on leads",
        body="if new.trigger is null or new.trigger = '' then raise 'no'; end if;",
    ),
    "swallows": RAISES.format(name="no", event="insert on sequence_contacts", body="return null;"),
    "zone": "do $$ begin execute format('alter database %I set timezone = ''Asia/Kuala_Lumpur''', current_database());"
    " end $$",
}
"""What a host refuses."""


def table_of(statement: str) -> str:
    words = statement.split(";")[-1].split()
    return words[1] if words[0] == "update" else words[2]


def clean_world(host: Host, rng: random.Random) -> None:
    """Two users, whose people are at every step of their sequences."""
    for number in range(2):
        user = host.user()
        devices = [host.device(user) for _ in range(2)]
        for entry in ("WARM", "COLD"):
            sequence, steps = host.simple_sequence(user, f"{entry}", steps=3)
            for step in range(3):
                for person in range(2):
                    phone = f"60{number}{entry == 'WARM':d}{step}000{person}000"
                    device = rng.choice(devices)
                    host.lead(user, device, phone, entry)
                    host.contact(
                        *(sequence, steps[step], phone, device, timedelta(hours=rng.choice([-1, -50]))),
                        current_step=step + 1,
                        contact_name="Somebody",
                        user_id=user,
                    )


def soil(host: Host, rng: random.Random) -> list[str]:
    """Make it dirty; the names of what was done."""
    names = rng.sample(sorted(ROWS), rng.randint(1, 4)) + rng.sample(sorted(RULES), rng.choice([0, 0, 1]))
    for name in names:
        statement = (ROWS | RULES)[name]
        if name in RULES:
            host.rows(statement)
            continue
        table = table_of(statement)
        ids: list[UUID] = [
            row.id
            for row in host.rows(f"select id from {table} order by md5(id::text || %s)", str(rng.random()))
        ]
        values: dict[str, Any] = {
            "some": rng.sample(ids, min(len(ids), rng.choice([1, 1, 2, len(ids)]))),
            "one": rng.choice(ids) if ids else None,
            "word": rng.choice(WORDS),
            "phone": rng.choice(PHONES),
            "blank": rng.choice([None, "", " "]),
            "hours": rng.choice([None, 0, -1, 10**5]),
            "list": rng.choice([None, "", ",,", "WARM,WARM", "COLD", "x" * 990 + ",WARM"]),
            "seed": str(rng.random()),
        }
        marks = {key: f"%({key})s" for key in values} | {"some": "id = any(%(some)s)"}
        for part in statement.format(**marks).split(";"):
            host.rows(part, values)
    return names
