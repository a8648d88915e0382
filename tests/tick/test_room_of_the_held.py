"""A device's room is for those who can go: who is held by another session takes no place of it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest

from tests.world import citus
from tests.world.command import Cli
from tests.world.host import Connect, Host
from tests.world.obstacles import hold

ROOM = 50
"""What a device has in flight at most, by default."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQDEV_LOCK_TIMEOUT", "400ms")


def people(host: Host, sequence: UUID, step: UUID, prefix: str, assigned: UUID | None, leads: UUID) -> None:
    """Two rooms full of people who are due, the first of them for longest, each with a lead of the device ``leads``."""
    given = {"sequence": sequence, "step": step, "prefix": prefix, "assigned": assigned, "leads": leads,
             "number": 2 * ROOM}  # fmt: skip
    host.rows(
        "insert into leads (user_id, device_id, phone, name, trigger) select s.user_id, %(leads)s,"
        " %(prefix)s || lpad(i::text, 7, '0'), 'Somebody', 'WARM' from sequences as s,"
        " generate_series(1, %(number)s) as i where s.id = %(sequence)s",
        given,
    )
    host.rows(
        "insert into sequence_contacts (sequence_id, sequence_stepid, contact_phone, assigned_device_id,"
        " status, next_trigger_time) select %(sequence)s, %(step)s, %(prefix)s || lpad(i::text, 7, '0'),"
        " %(assigned)s, 'active', now() at time zone 'UTC' - interval '1 hour' + i * interval '1 ms'"
        " from generate_series(1, %(number)s) as i",
        given,
    )


@contextmanager
def the_oldest_held(host: Host, connect: Connect, table: str, prefix: str, number: int) -> Iterator[None]:
    """The rows in ``table`` of the ``number`` people whose phone begins with ``prefix`` and who are due for longest."""
    phone = "phone" if table == "leads" else "contact_phone"
    other = Host(connect(host.url))
    with other.connection.transaction():
        between = f"{phone} between %s || '0000000' and %s"
        assert hold(other, table, between, prefix, f"{prefix}{number:07}") == number
        yield


def tick(seqdev: Cli, policy: str, *options: str) -> Any:
    ran = seqdev("tick", "--format", "json", "--policy", policy, *options)
    assert ran.code == 0, ran
    return json.loads(ran.out)


def sent(host: Host, device: UUID) -> list[str]:
    return [
        row.phone
        for row in host.rows(
            "select recipient_phone as phone from broadcast_messages where device_id = %s order by 1", device
        )
    ]


def phones(prefix: str, first: int, last: int) -> list[str]:
    return [f"{prefix}{i:07}" for i in range(first, last + 1)]


@pytest.mark.cases(4)
@pytest.mark.parametrize(
    ("policy", "table", "assigned"),
    [
        ("strict", "leads", True),
        ("strict", "leads", False),
        ("strict", "sequence_contacts", True),
        ("strict", "sequence_contacts", False),
        ("fallback", "leads", True),
        ("reassign", "sequence_contacts", True),
    ],
)
@pytest.mark.parametrize("number", [ROOM, ROOM // 2])
def test_those_behind_the_held_fill_the_devices_room(
    host: Host, connect: Connect, seqdev: Cli, policy: str, table: str, assigned: bool, number: int
) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    people(host, sequence, step, "6012", device if assigned else None, device)
    with the_oldest_held(host, connect, table, "6012", number):
        assert tick(seqdev, policy)["queued"] == ROOM
        assert sent(host, device) == phones("6012", number + 1, number + ROOM)
    assert host.broken_promises() == []


def test_those_held_without_an_assigned_device_stop_no_small_batch(
    host: Host, connect: Connect, seqdev: Cli
) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    people(host, sequence, step, "6012", None, device)
    with the_oldest_held(host, connect, "sequence_contacts", "6012", ROOM):
        assert tick(seqdev, "strict", "--batch-size", "10", "--jobs", "1")["queued"] == ROOM
    assert host.broken_promises() == []


@pytest.mark.thorough
@pytest.mark.cases(3)
@pytest.mark.parametrize("policy", ["fallback", "reassign"])
@pytest.mark.parametrize("table", ["leads", "sequence_contacts"])
@pytest.mark.parametrize("number", [ROOM, ROOM // 2])
def test_those_behind_the_held_go_on_another_device(
    host: Host, connect: Connect, seqdev: Cli, policy: str, table: str, number: int
) -> None:
    user = host.user()
    gone, device = host.device(user, status="offline"), host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    people(host, sequence, step, "6012", gone, gone)
    with the_oldest_held(host, connect, table, "6012", number):
        summary = tick(seqdev, policy)
        assert (summary["queued"], summary["moved"]) == (ROOM, ROOM)
        assert sent(host, device) == phones("6012", number + 1, number + ROOM)
    assert host.broken_promises() == []


@pytest.mark.parametrize("policy", ["fallback", "reassign"])
@pytest.mark.parametrize("table", ["leads", "sequence_contacts"])
def test_a_device_whose_own_people_are_held_takes_those_of_another(
    host: Host, connect: Connect, seqdev: Cli, policy: str, table: str
) -> None:
    user = host.user()
    gone, device = host.device(user, status="offline"), host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    people(host, sequence, step, "6012", device, device)
    people(host, sequence, step, "6013", gone, gone)
    # One of those beyond the device's room is due before the last of those who are to go.
    host.rows(
        "update sequence_contacts as sc set next_trigger_time = own.next_trigger_time + interval '2500 us'"
        " from (select * from sequence_contacts offset 0) as own where sc.contact_phone like '6013%'"
        " and own.contact_phone = '6012' || substr(sc.contact_phone, 5)"
    )
    with the_oldest_held(host, connect, table, "6012", 2 * ROOM):
        summary = tick(seqdev, policy)
        assert (summary["queued"], summary["moved"]) == (ROOM, ROOM)
        assert sent(host, device) == phones("6013", 1, ROOM)
    assert host.broken_promises() == []


@pytest.mark.thorough
def test_where_many_are_held_and_there_is_little_room_the_search_ends_and_others_go(
    host: Host, connect: Connect, seqdev: Cli
) -> None:
    host.rule("max_in_flight", 1)
    user = host.user()
    device, other = host.device(user), host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    people(host, sequence, step, "6012", device, device)
    people(host, sequence, step, "6013", other, other)
    with the_oldest_held(host, connect, "leads", "6012", 2 * ROOM):
        began = time.monotonic()
        assert tick(seqdev, "strict")["queued"] == 1
        assert time.monotonic() - began < (60 if citus.URL else 10)
        assert sent(host, other) == phones("6013", 1, 1)
    assert tick(seqdev, "strict")["queued"] == 1
    assert host.broken_promises() == []
