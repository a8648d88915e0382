"""What a repair or time has dealt with is no finding that stays: the audits come to an end."""

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
        host.rows(
            "update sequence_contacts set completed_at = now() at time zone 'UTC' - interval '20 minutes'"
        )
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


class Settled:
    """B stood in for A at step 1, and A has written step 2 since. Step 3 is to come."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.user = host.user()
        self.a, self.b = (host.device(self.user, name) for name in "AB")
        self.sequence, self.steps = host.simple_sequence(self.user, steps=3)
        host.lead(self.user, self.a, PHONE, "WARM")
        self.first = self.done(0)
        message(host, self.first, self.b, "20 minutes")
        message(host, self.done(1), self.a, "10 minutes")
        self.to_come = host.contact(
            self.sequence, self.steps[2], PHONE, self.a, timedelta(hours=3), lead=False
        )

    def done(self, step: int) -> UUID:
        """A row that is done, assigned to A."""
        row = self.host.contact(
            self.sequence, self.steps[step], PHONE, self.a, lead=False, status="completed"
        )
        self.host.rows("update sequence_contacts set completed_at = next_trigger_time where id = %s", row)
        return row


@pytest.fixture
def settled(host: Host) -> Settled:
    return Settled(host)


@pytest.mark.thorough
def test_after_the_assigned_device_has_written_again_nothing_is_left_to_repair(
    host: Host, seqdev: Cli, settled: Settled
) -> None:
    assert json.loads(seqdev("repair", "assigned", "--dry-run", "--format", "json").out)["rows"] == []
    code, found = audit(seqdev, "mismatches")
    (row,) = found["mismatches"]
    assert (row["cause"], row["state"]) == ("fallback_used", "settled")
    summary = {name: found["summary"][name] for name in ("open", "repaired", "settled", "irreparable")}
    assert summary == {"open": 0, "repaired": 0, "settled": 1, "irreparable": 0}
    assert found["summary"]["worst"] == []
    assert ([(kind["finding"], kind["severity"]) for kind in found["found"]], code) == (
        [("settled", "note")],
        0,
    )
    ran = seqdev("audit", "mismatches")
    assert "0 open, 0 repaired, 1 settled, 0 that nothing can repair" in ran.out
    assert "1 found, of which 1 is over: nothing has to be done" in ran.err
    assert "0 mismatches" in seqdev("audit", "all", "--nagios").out
    assert 'seqdev_mismatch_messages{cause="settled"} 1' in seqdev("metrics").out
    told = json.loads(seqdev("report", "--since", "1h", "--format", "json").out)
    assert {name: told["mismatches"][name] for name in ("open", "to_do", "repaired")} == {
        "open": 0,
        "to_do": 0,
        "repaired": 1,
    }
    assert [(one["cause"], one["open"], one["repaired"]) for one in told["causes"]] == [
        ("fallback_used", 0, 1)
    ]
    history.pass_time(host, timedelta(minutes=10))
    assert only_kind(seqdev, "mismatches", "--at", "5m") == {"settled": 1}
    assert seqdev("audit", "mismatches", "--at", "5m").code == 0


def test_while_it_still_happens_the_exit_code_says_so(host: Host, seqdev: Cli, settled: Settled) -> None:
    host.rows("update broadcast_messages set created_at = created_at + interval '9 minutes'")
    host.rows(
        "update broadcast_messages set created_at = created_at + interval '9 minutes' where device_id = %s",
        settled.b,
    )
    ran = seqdev("audit", "mismatches")
    assert (ran.code, "1 settled" in ran.out, "is over" in ran.err) == (3, True, False)


def test_who_is_written_to_wrongly_last_is_open(host: Host, seqdev: Cli, settled: Settled) -> None:
    message(host, settled.first, settled.b, "1 minute", own=False)
    assert only_kind(seqdev, "mismatches") == {"fallback_used": 1, "foreign_writer": 1}
    # By the last message alone the repair goes: it would do nothing for this person.
    assert json.loads(seqdev("repair", "assigned", "--dry-run", "--format", "json").out)["rows"] == []
    assert {row["repair"] for row in audit(seqdev, "mismatches")[1]["mismatches"]} == {
        "stop the writer: seqdev audit writers"
    }
    assert seqdev("audit", "mismatches").code == 3
    history.pass_time(host, timedelta(minutes=10))
    assert only_kind(seqdev, "mismatches", "--at", "5m") == {"mismatch": 2}


def test_of_whom_the_last_message_is_not_known_it_is_not_said_whether_it_was_settled(
    host: Host, seqdev: Cli, settled: Settled
) -> None:
    history.pass_time(host, timedelta(minutes=10))
    row = host.value("select id from sequence_contacts where sequence_stepid = %s", settled.steps[1])
    host.rows(
        "insert into seqdev.run (id, command, started_at, version) values (gen_random_uuid(), 'tick', now(), '')"
    )
    host.rows(
        "insert into seqdev.change (run_id, table_name, row_id, column_name, old_value, new_value, changed_at)"
        " select id, 'sequence_contacts', %s, 'assigned_device_id', %s, %s, now() - interval '15 minutes' from seqdev.run",
        *(row, settled.a, settled.b),
    )
    assert only_kind(seqdev, "mismatches", "--at", "5m") == {"not_known": 2}
