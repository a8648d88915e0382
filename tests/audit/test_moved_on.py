"""Whom a repair has moved is no finding that stays: the new device writes, and the audits come to an end."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.world import history
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.repairs import message, repair

PHONE = "60120000001"


class Moved:
    """A has written step 1; a repair has moved the person to B, which has written step 2 since. Step 3 is to come."""

    def __init__(self, host: Host, seqdev: Cli) -> None:
        self.host = host
        self.user = host.user()
        self.a, self.b, self.c = (host.device(self.user, name) for name in "ABC")
        self.sequence, self.steps = host.simple_sequence(self.user, steps=3)
        host.lead(self.user, self.a, PHONE, "WARM")
        self.past = host.contact(self.sequence, self.steps[0], PHONE, self.a, lead=False, status="completed")
        self.next = host.contact(self.sequence, self.steps[1], PHONE, self.a, lead=False)
        message(host, self.past, self.a, "20 minutes")
        host.rows("update sequence_contacts set completed_at = now() at time zone 'UTC' - interval '20 minutes'")
        host.rows("update sequence_contacts set completed_at = null where status = 'active'")
        assert only_kind(seqdev, "collisions") == {}
        repair(seqdev, "device", "A", "--to", "B")
        history.pass_time(host, timedelta(minutes=10))
        assert seqdev("tick").code == 0
        host.rows("update broadcast_messages set status = 'sent'")

    def writes(self, device: UUID) -> None:
        """A message of another processor comes from ``device``."""
        message(self.host, self.past, device, "0", own=False)


@pytest.fixture
def moved(host: Host, seqdev: Cli) -> Moved:
    return Moved(host, seqdev)


def audit(seqdev: Cli, name: str, *options: str) -> tuple[int, Any]:
    ran = seqdev("audit", name, "--format", "json", *options)
    return ran.code, json.loads(ran.out)


def only_kind(seqdev: Cli, name: str, *options: str) -> dict[str, int]:
    return {kind["finding"]: kind["found"] for kind in audit(seqdev, name, *options)[1]["found"]}


def test_who_was_moved_on_purpose_and_is_written_to_by_the_new_device_is_no_open_collision(
    host: Host, seqdev: Cli, moved: Moved
) -> None:
    code, found = audit(seqdev, "collisions")
    (row,) = found["collisions"]
    assert (row["finding"], row["state"], row["messages"]) == ("repaired", "repaired", 2)
    assert (found["summary"]["repaired"], found["summary"]["open"]) == (1, 0)
    assert not found["summary"]["still_happens"], "the device of the repair may go on"
    assert code == 0, "nothing has to be done"
    ran = seqdev("audit", "collisions")
    assert (ran.code, "1 found, of which 1 is over: nothing has to be done" in ran.err) == (0, True)
    code, found = audit(seqdev, "all")
    assert code == 0, found
    (line,) = [one for one in found["audits"] if one["audit"] == "collisions"]
    assert (line["severity"], line["found"], line["over"]) == ("note", 1, 1)
    history.pass_time(host, timedelta(minutes=10))
    assert only_kind(seqdev, "collisions", "--at", "5m") == {"repaired": 1}
    assert seqdev("audit", "collisions", "--at", "5m").code == 0


def test_who_is_written_to_by_another_device_after_that_is_an_open_one(
    host: Host, seqdev: Cli, moved: Moved
) -> None:
    moved.writes(moved.a)
    assert only_kind(seqdev, "collisions") == {"written": 1}
    assert seqdev("audit", "collisions").code == 3
    history.pass_time(host, timedelta(minutes=10))
    moved.writes(moved.b)
    assert only_kind(seqdev, "collisions") == {"written": 1}, "A has written since, though B did last"
    assert only_kind(seqdev, "collisions", "--at", "5m") == {"written": 1}


def test_who_is_due_from_a_third_device_is_an_open_one(host: Host, seqdev: Cli, moved: Moved) -> None:
    sequence, (step,) = host.simple_sequence(moved.user, "COLD")
    host.contact(sequence, step, PHONE, moved.c)
    assert only_kind(seqdev, "collisions") == {"written": 1}


def test_a_repair_that_is_undone_or_moved_on_by_another_hand_has_not_moved_them(
    host: Host, seqdev: Cli, moved: Moved
) -> None:
    host.rows("update seqdev.run set command = 'tick' where command = 'repair device'")
    assert only_kind(seqdev, "collisions") == {"written": 1}
    history.pass_time(host, timedelta(minutes=10))
    assert only_kind(seqdev, "collisions", "--at", "5m") == {"written": 1}
