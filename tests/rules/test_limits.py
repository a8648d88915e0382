"""Limits for a user or a device alone: the most specific rule holds, for the tick, and for who asks about it."""

import json
from collections import Counter
from typing import Any
from uuid import UUID

import pytest

from tests.world.command import Cli
from tests.world.host import Connect, Host
from tests.world.obstacles import stopped_statement
from tests.world.sessions import stopped
from tests.world.ticks import Ticks
from tests.world.waiting import until

MANY = 12


@pytest.fixture
def ticks(database: str) -> Any:
    made = Ticks(database)
    yield made
    made.kill_all()


@pytest.fixture
def devices(host: Host) -> dict[str, UUID]:
    """Two devices of a user, one of another, each with more people due than it may take."""
    made = {}
    host.rule("policy", "strict")
    host.rule("max_in_flight", 5)
    for number, (user, names) in enumerate(((host.user(), "AB"), (host.user(), "C"))):
        sequence, (step,) = host.simple_sequence(user)
        for name in names:
            made[name] = host.device(user, name)
            for person in range(MANY):
                host.contact(sequence, step, f"601200{number}{ord(name)}{person:02}", made[name])
    made["user of A and B"] = host.value("select user_id from user_devices where id = %s", made["A"])
    return made


def sent(host: Host) -> Counter[str]:
    rows = host.rows(
        "select d.device_name, count(*) as n from broadcast_messages m join user_devices d on d.id = m.device_id group by 1"
    )
    return Counter({row.device_name: row.n for row in rows})


def planned(seqdev: Cli) -> Counter[str]:
    found = json.loads(seqdev("tick", "--dry-run", "--format", "json").out)["devices"]
    return Counter({row["device_name"]: row["contacts"] for row in found if row["decision"] == "queue"})


def test_the_most_specific_limit_holds(host: Host, seqdev: Cli, devices: dict[str, UUID]) -> None:
    host.rule("max_in_flight", 3, user=devices["user of A and B"])
    host.rule("max_in_flight", 7, device=devices["B"])
    expected = {"A": 3, "B": 7, "C": 5}
    assert planned(seqdev) == expected
    compared = json.loads(seqdev("tick", "--compare", "--format", "json").out)
    assert {one["device_name"]: one["queued"] for one in compared if one["policy"] == "strict"} == expected
    assert seqdev("tick").code == 0
    assert sent(host) == expected
    host.rule("max_in_flight", None, device=devices["B"])
    assert seqdev("tick").code == 0
    assert sent(host) == expected, "seven is more than three: nothing, and nothing is taken back"
    host.rule("max_in_flight", None, user=devices["user of A and B"])
    assert seqdev("tick").code == 0
    assert sent(host) == {"A": 5, "B": 7, "C": 5}


@pytest.mark.parametrize("name", ["max_per_hour", "max_per_day"])
def test_each_limit_can_be_a_devices_own(
    host: Host, seqdev: Cli, devices: dict[str, UUID], name: str
) -> None:
    host.rule(name, 2, device=devices["A"])
    assert seqdev("tick").code == 0
    assert sent(host) == {"A": 2, "B": 5, "C": 5}


def test_what_a_device_may_not_take_goes_where_its_own_limit_leaves_room(
    host: Host, seqdev: Cli, devices: dict[str, UUID]
) -> None:
    host.rule("policy", "fallback")
    host.rule("max_in_flight", 0, device=devices["A"])
    host.rule("max_in_flight", 20, device=devices["B"])
    assert planned(seqdev) == {"B": 20, "C": 5}
    assert seqdev("tick").code == 0
    assert sent(host) == {"B": 20, "C": 5}


def test_explain_says_whose_rule_the_limit_is(host: Host, seqdev: Cli, devices: dict[str, UUID]) -> None:
    phone = host.value(
        "select contact_phone from sequence_contacts where assigned_device_id = %s order by next_trigger_time desc limit 1",
        devices["A"],
    )

    def detail() -> str:
        story = json.loads(seqdev("explain", phone, "--format", "json").out)["stories"][0]
        assert story["waiting"][0]["reason"] == "device_full"
        return str({gate["gate"]: gate["detail"] for gate in story["waiting"][0]["gates"]}["capacity"])

    assert detail().startswith(
        "in flight 0 of 5 (max_in_flight for all), in an hour 0 of 80 (max_per_hour for all)"
    )
    host.rule("max_per_hour", 4, device=devices["A"])
    host.rule("max_in_flight", 3, user=devices["user of A and B"])
    assert detail() == (
        "in flight 0 of 3 (max_in_flight of the user), in an hour 0 of 4 (max_per_hour of the device),"
        " in a day 0 of 800 (max_per_day for all), due before it 3"
    )
    screen = seqdev("explain", phone).out
    assert "in flight 0 of 3 (max_in_flight of the user)" in screen


def test_what_would_be_lost_with_a_device_is_counted_by_the_others_own_limits(
    host: Host, seqdev: Cli, devices: dict[str, UUID]
) -> None:
    def room() -> tuple[int, int]:
        found = json.loads(seqdev("audit", "devices", "--if-lost", "A", "--format", "json").out)
        return found["room_1h"], found["room_24h"]

    assert room() == (5, 800)
    host.rule("max_in_flight", 9, device=devices["B"])
    host.rule("max_per_day", 8, user=devices["user of A and B"])
    assert room() == (8, 8)


@pytest.mark.thorough
def test_a_rule_that_changes_in_the_middle_of_a_run_holds_from_the_next_batch(
    host: Host, connect: Connect, devices: dict[str, UUID], ticks: Ticks, seqdev: Cli
) -> None:
    with stopped_statement(host, connect, "tick/lock.sql"):
        running = ticks.start("--batch-size", "1", "--jobs", "1")
        until(lambda: stopped(host) == 1, "the first batch to be about to lock")
        # It has its rules already; every batch of one contact after it has the new ones.
        ran = seqdev("rules", "set", "max_in_flight", "1", "--device", "A", "--yes")
        assert ran.code == 0, ran.err
        assert seqdev("rules", "set", "max_in_flight", "2", "--yes").code == 0
    ticks.end(running)
    # The message of the first batch counts, too.
    assert sent(host) == {"A": 1, "B": 2, "C": 2}


@pytest.mark.parametrize("policy", ["strict", "queue"])
def test_a_policy_that_changes_in_the_middle_of_a_run_holds_from_the_next_batch(
    host: Host, connect: Connect, devices: dict[str, UUID], ticks: Ticks, seqdev: Cli, policy: str
) -> None:
    host.rule("policy", {"strict": "queue", "queue": "strict"}[policy])
    with stopped_statement(host, connect, "tick/lock.sql"):
        running = ticks.start("--batch-size", "2", "--jobs", "1")
        until(lambda: stopped(host) == 1, "the first batch to be about to lock")
        assert seqdev("rules", "set", "policy", policy, "--yes").code == 0
    summary = ticks.end(running)
    assert summary["policy"] == policy
    assert sent(host).total() == (15 if policy == "strict" else 3 * MANY)


@pytest.mark.parametrize(
    ("name", "value"),
    [("window", ""), ("paused", "until resumed: x"), ("new_chats_per_day", "2")],
)
def test_a_rule_that_holds_back_holds_from_the_next_batch_of_a_run(
    host: Host, connect: Connect, devices: dict[str, UUID], ticks: Ticks, name: str, value: str
) -> None:
    whose = {"user": devices["user of A and B"]}
    if name == "window":
        hour = host.value("select extract(hour from now() at time zone 'UTC')::integer")
        value = f"daily {(hour + 6) % 24:02}:00-{(hour + 8) % 24:02}:00"
        host.rule("zone", "UTC")
    with stopped_statement(host, connect, "tick/lock.sql"):
        running = ticks.start("--batch-size", "1", "--jobs", "1")
        until(lambda: stopped(host) == 1, "the first batch to be about to lock")
        host.rule(name, value, **whose)
    ticks.end(running)
    found = sent(host)
    # The batch that had its rules already is one message of one device, and a new chat of it; others' devices go on.
    if name == "new_chats_per_day":
        assert found == {"A": 2, "B": 2, "C": 5}
    else:
        assert found["A"] + found["B"] <= 1
        assert found["C"] == 5
