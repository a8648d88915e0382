"""``seqdev db check``: the values of status columns that no rule names."""

import json
from typing import Any

import pytest

from tests.world.command import Cli
from tests.world.host import Host


def found(seqdev: Cli, *options: str) -> dict[str, Any]:
    """What ``db check`` finds, by item, and its exit code."""
    ran = seqdev("db", "check", "--format", "json", *options)
    return {"code": ran.code} | {one["item"]: one for one in json.loads(ran.out)}


def test_all_devices_connected_is_a_finding_that_says_what_follows(host: Host, seqdev: Cli) -> None:
    user = host.user()
    for _ in range(3):
        host.device(user, status="connected")
    checked = found(seqdev)
    assert checked["code"] == 3
    assert checked["user_devices.status 'connected'"]["status"] == "advised"
    why = checked["user_devices.status 'connected'"]["why"]
    assert why.startswith("3 rows; no rule names it: no device counts as online: ")
    assert "strict, fallback and reassign send nothing;" in why

    host.rule("online_statuses", "online,connected")
    named = found(seqdev, "--ok")
    assert named["code"] == 0
    assert named["user_devices.status"]["status"] == "ok"


@pytest.mark.parametrize("other", [{"status": "online"}, {"status": "Online", "platform": "Wablas"}])
def test_one_device_that_counts_as_online_makes_a_difference(
    host: Host, seqdev: Cli, other: dict[str, str]
) -> None:
    user = host.user()
    host.device(user, status="connected")
    second = host.device(user, status=other["status"])
    host.rows("update user_devices set platform = %s where id = %s", other.get("platform"), second)
    checked = found(seqdev)
    # A platform's device is online whatever its status: its status needs no name.
    assert [item for item in checked if item.startswith("user_devices")] == [
        "user_devices.status 'connected'"
    ]
    assert "send nothing from them" in checked["user_devices.status 'connected'"]["why"]


def test_each_status_column_is_looked_at(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    good = host.sequence(user)
    step = host.step(good, 1, "WARM")
    sequence = host.sequence(user, status="Archived")
    host.contact(good, step, "601", device, status="zombie")
    host.rows("alter table broadcast_messages alter column status drop not null")
    for status in ("in limbo", None, "in limbo", "skipped", "queued"):
        host.rows(
            "insert into broadcast_messages (user_id, device_id, recipient_phone, status) values (%s, %s, '601', %s)",
            *(user, device, status),
        )
    checked = found(seqdev)
    assert sequence
    assert {item: one["why"].split(";")[0] for item, one in checked.items() if ".status" in item} == {
        "sequences.status 'Archived'": "1 row",
        "sequence_contacts.status 'zombie'": "1 row",
        "broadcast_messages.status 'in limbo'": "2 rows",
        "broadcast_messages.status null": "1 row",
    }
    host.rows("update sequences set status = 'Archived'")
    assert "no sequence counts as active" in found(seqdev)["sequences.status 'Archived'"]["why"]


def test_values_without_end_are_cut(host: Host, seqdev: Cli) -> None:
    user, text = host.user(), "\x1b[31m" + "x" * 42
    for number in range(30):
        host.device(user, status=f"{number}{text}")
    ran = seqdev("db", "check")
    assert (ran.code, ran.out.count("user_devices.status")) == (3, 20)
    assert "and there are 10 values more" in ran.out
    assert "\x1b" not in ran.out
    assert "x" * 40 not in ran.out
