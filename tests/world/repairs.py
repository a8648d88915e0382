"""People whom a repair must move, and the exact change and journal that it must leave."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tests.world.command import Cli
from tests.world.generations import KEPT_BY_HOST
from tests.world.host import MESSAGE_ID, Host

TABLES = (
    "users",
    "user_devices",
    "leads",
    "sequences",
    "sequence_steps",
    "sequence_contacts",
    "broadcast_messages",
    "device_load_balance",
)

_ZONE = re.compile(r"(?<=\d)[+]00:00$")
"""How an instant ends where the host's column is aware of zones."""


def snapshot(host: Host) -> dict[str, dict[str, dict[str, Any]]]:
    """Every row of every table of the host's, by its key, column by column, but for what its triggers keep."""
    keys = {table: "device_id" if table == "device_load_balance" else "id" for table in TABLES}
    return {
        table: {
            row.key: {name: value for name, value in row.value.items() if name not in KEPT_BY_HOST}
            for row in host.rows(f"select {key}::text as key, to_jsonb(t) as value from {table} t")
        }
        for table, key in keys.items()
    }


def changes(before: Any, after: Any) -> dict[tuple[str, str], Any]:
    """What is different: (row, column) and the new value; rows that came or went would be a KeyError."""
    found = {}
    for table in TABLES:
        assert before[table].keys() == after[table].keys()
        for key, row in after[table].items():
            for column, value in row.items():
                if before[table][key][column] != value:
                    found[key, column] = value
    return found


@contextmanager
def only(host: Host, expected: dict[tuple[UUID, str], Any]) -> Iterator[None]:
    """The block changes exactly this, and the journal has exactly this, with old and new value."""
    before = snapshot(host)
    last = host.value("select coalesce(max(id), 0) from seqdev.change")
    yield
    wanted = {(str(row), column): _text(value) for (row, column), value in expected.items()}
    assert {key: _text(value) for key, value in changes(before, snapshot(host)).items()} == wanted
    rows = {key: row for table in before.values() for key, row in table.items()}
    journal = host.rows("select * from seqdev.change where id > %s", last)
    assert {(str(ch.row_id), ch.column_name): _text(ch.new_value) for ch in journal} == wanted
    for ch in journal:
        assert _text(ch.old_value) == _text(rows[str(ch.row_id)][ch.column_name])
        assert str(ch.row_id) in before[ch.table_name]


def _text(value: Any) -> str | None:
    """A value as the journal has it: an instant without zeros at the end of its second, and here without its zone."""
    if isinstance(value, datetime):
        text = value.replace(tzinfo=None).isoformat()
        return text.rstrip("0").rstrip(".") if "." in text else text
    return None if value is None else _ZONE.sub("", str(value))


def run(seqdev: Cli, *argv: object, code: int = 0) -> Any:
    ran = seqdev(*(str(argument) for argument in argv), "--format", "json")
    assert ran.code == code, ran.err
    return json.loads(ran.out)


def repair(seqdev: Cli, *argv: object, code: int = 0) -> Any:
    return run(seqdev, "repair", *argv, "--yes", code=code)


def reasons(result: Any) -> dict[str, str]:
    return {row["phone"]: row["refused"] for row in result["refused"]}


def message(host: Host, contact: UUID, device: UUID, age: str = "10 minutes", own: bool = True) -> None:
    """A message of the contact's step from ``device``, made by seqdev or by somebody else."""
    host.rows(
        f"""
        insert into broadcast_messages
            (id, user_id, device_id, sequence_id, sequence_stepid, recipient_phone, status, created_at)
        select case when %(own)s then {MESSAGE_ID} else gen_random_uuid() end, s.user_id, %(device)s, sc.sequence_id,
            sc.sequence_stepid, sc.contact_phone, 'sent', now() at time zone 'UTC' - %(age)s::interval
        from sequence_contacts sc join sequences s on s.id = sc.sequence_id where sc.id = %(contact)s
        """,
        {"own": own, "device": device, "age": age, "contact": contact},
    )


class Person:
    """A person who got step 1 from ``used`` although ``assigned`` was assigned, and waits for step 2."""

    def __init__(
        self, host: Host, phone: str, sequence: UUID, steps: list[UUID], assigned: UUID | None, used: UUID
    ):
        self.past = host.contact(sequence, steps[0], phone, assigned, status="completed")
        self.next = host.contact(sequence, steps[1], phone, assigned, timedelta(hours=23))
        message(host, self.past, used)


def people_of(
    host: Host, user: UUID, device: UUID, number: int, sequence: UUID, step: UUID
) -> dict[str, set[UUID]]:
    """``number`` people whom ``device`` owns, each with a lead and a row to come: their rows by phone."""
    return {
        phone: {host.lead(user, device, phone), host.contact(sequence, step, phone, device)}
        for phone in (f"60120{i:05}" for i in range(number))
    }


def setting(host: Host) -> tuple[UUID, UUID, UUID, UUID]:
    """Two people on A, which is offline; B is there. A, B, and the contacts."""
    user = host.user()
    a, b = host.device(user, "A", "offline"), host.device(user, "B")
    sequence, (step,) = host.simple_sequence(user)
    first, second = (host.contact(sequence, step, f"601200000{i}", a) for i in range(2))
    return a, b, first, second


def run_of(result: Any) -> str:
    return str(result["summary"]["run_id"])


def assert_journal_leads_back(host: Host, before: Any) -> None:
    """Playing the journal's old values backwards on the tables gives ``before``, and no value is a gap."""
    now = snapshot(host)
    for change in host.rows("select * from seqdev.change order by id desc"):
        row = now[change.table_name][str(change.row_id)]
        assert row[change.column_name] == change.new_value
        row[change.column_name] = change.old_value
    assert now == before
