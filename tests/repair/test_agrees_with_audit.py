"""The rows that ``audit mismatches`` names are those that ``repair assigned`` changes, whatever the world."""

import json
import random
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest

from seqdev.repair.jobs import RECOMMENDED, Cause
from tests.world.command import Cli
from tests.world.host import MESSAGE_ID, Host

WORLDS = 300
"""Persons, each a small world of its own: rows and messages of one person in one sequence."""


class World(NamedTuple):
    """What is random about a person is drawn from these."""

    sequence: UUID
    steps: list[UUID]
    devices: list[UUID]
    """Two of the user, one of another user."""
    gone: UUID
    """A device that does not exist."""


@pytest.fixture
def world(host: Host) -> World:
    user = host.user()
    sequence, steps = host.simple_sequence(user, steps=3)
    # Some hosts have no such foreign key, and messages from devices that they have deleted since.
    host.rows("alter table broadcast_messages drop constraint if exists broadcast_messages_device_id_fkey")
    devices = [
        host.device(user, "One"),
        host.device(user, "Two", "offline"),
        host.device(host.user(), "Other"),
    ]
    return World(sequence, steps, devices, uuid4())


def populate(host: Host, world: World, draw: random.Random) -> None:
    """Rows in every state and order of ids, messages with and without a step, and changes in between."""
    one, two, _ = world.devices
    assigned = [one, two, *world.devices, world.gone, None]
    with host.connection.transaction():
        for number in range(WORLDS):
            phone = f"6012{number:07}"
            rows = {}
            for step in draw.sample(world.steps, draw.randint(1, 3)):
                status = draw.choice(["active", "pending", "completed", "completed", "failed", None])
                done = draw.choice([None, 1, 2, 3]) if status in ("completed", "failed") else None
                row = host.contact(world.sequence, step, phone, draw.choice(assigned), status=status)
                rows[step] = row
                host.rows(
                    "update sequence_contacts set completed_at = now() at time zone 'UTC' - %s * interval '1 minute'"
                    " where id = %s",
                    done,
                    row,
                )
            for of_step in draw.choices([*rows, None, None], k=draw.randint(1, 3)):
                message(host, world, draw, phone, of_step)
            own = draw.choice([None, None, *rows.values()])
            if own:
                made = host.value(f"select {MESSAGE_ID} from sequence_contacts sc where id = %s", own)
                one = host.value(
                    "select id from broadcast_messages where recipient_phone = %s limit 1", phone
                )
                host.rows("update broadcast_messages set id = %s where id = %s", made, one)
            for row in draw.choices([*rows.values()], k=draw.choice([0, 0, 1, 2])):
                change(host, draw, row, draw.choice(assigned))


def message(host: Host, world: World, draw: random.Random, phone: str, step: UUID | None) -> None:
    """A message of the last minutes; some are as old as others."""
    host.rows(
        "insert into broadcast_messages (user_id, device_id, sequence_id, sequence_stepid, recipient_phone, status,"
        " created_at) select s.user_id, %s, s.id, %s, %s, 'sent', now() at time zone 'UTC' - %s * interval '1 minute'"
        " from sequences s where s.id = %s",
        draw.choice([*world.devices, world.gone]),
        step,
        phone,
        draw.choice([0, 1, 1, 2, 3, 90]),
        world.sequence,
    )


def change(host: Host, draw: random.Random, row: UUID, old: UUID | None) -> None:
    """A change of the row's device, at the instant of a message or between two."""
    host.rows(
        "insert into seqdev.change (run_id, table_name, row_id, column_name, old_value, changed_at)"
        " values (gen_random_uuid(), 'sequence_contacts', %s, 'assigned_device_id', %s,"
        " now() - %s * interval '1 minute')",
        row,
        str(old) if old else None,
        draw.choice([0.5, 1, 1.5, 2]),
    )


def audited(seqdev: Cli) -> list[Any]:
    """Every message that the audit looks at, the last first, as it lists them."""
    ran = seqdev("audit", "mismatches", "--all", "--matches", "--format", "json")
    assert ran.code == 3
    return sorted(
        json.loads(ran.out)["mismatches"],
        key=lambda one: (-datetime.fromisoformat(one["at"]).timestamp(), one["message_id"]),
    )


def last(messages: list[Any], key: str, causes: tuple[str, ...]) -> Iterator[Any]:
    """Of each ``key`` the last message, if it is a mismatch of one of the causes."""
    seen = set()
    for one in messages:
        if one[key] not in seen and one["verdict"] == "MISMATCH" and one["cause"] in causes:
            yield one
        seen.add(one[key])


def planned(seqdev: Cli, *options: str) -> dict[str, tuple[str, str]]:
    """The device that the repair would give each row, or would if it were not refused, and why."""
    ran = seqdev("repair", "assigned", *options, "--dry-run", "--all", "--format", "json")
    assert ran.code in (0, 3), ran.err
    found = json.loads(ran.out)
    rows = found["rows"] + found["refused"]
    assert len({row["row_id"] for row in rows}) == len(rows)
    return {row["row_id"]: (row["to_device"], row["why"]) for row in rows}


ALL = tuple(cause for cause in Cause if cause != "assigned_since")


@pytest.mark.cases(1)
@pytest.mark.parametrize("causes", [RECOMMENDED, ALL, ("foreign_writer",)])
def test_the_repair_of_past_rows_changes_the_rows_that_the_audit_names(
    host: Host, world: World, seqdev: Cli, seed: int, causes: tuple[str, ...]
) -> None:
    populate(host, world, random.Random(seed))
    past = {
        str(row.id)
        for row in host.rows("select id from sequence_contacts where status in ('completed', 'failed')")
    }
    wanted = {
        one["contact_id"]: (one["used_device_id"], one["cause"])
        for one in last(audited(seqdev), "contact_id", causes)
        if one["contact_id"] in past
    }
    assert wanted
    assert planned(seqdev, "--history", *asking(causes)) == wanted


@pytest.mark.thorough
@pytest.mark.parametrize("causes", [RECOMMENDED, ALL, ("foreign_writer",)])
def test_the_repair_of_rows_to_come_follows_the_persons_last_mismatch(
    host: Host, world: World, seqdev: Cli, seed: int, causes: tuple[str, ...]
) -> None:
    populate(host, world, random.Random(seed))
    to_come = host.rows(
        "select id, contact_phone, assigned_device_id from sequence_contacts where status in ('active', 'pending')"
    )
    wanted = {
        str(row.id): (one["used_device_id"], one["cause"])
        for one in last(audited(seqdev), "phone", causes)
        for row in to_come
        if row.contact_phone == one["phone"] and str(row.assigned_device_id) != one["used_device_id"]
    }
    assert wanted
    assert planned(seqdev, *asking(causes)) == wanted


def asking(causes: tuple[str, ...]) -> list[str]:
    """The options for these causes: none for those that the repair takes by itself."""
    return [] if causes == RECOMMENDED else [word for cause in causes for word in ("--cause", cause)]
