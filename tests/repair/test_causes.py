"""``repair assigned`` moves whom a finding named for which it is recommended, and says whom it leaves alone."""

import json
import re
from pathlib import Path
from uuid import UUID

import pytest

from seqdev.postgres.queries import ROOT
from seqdev.repair.jobs import RECOMMENDED, Cause
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.repairs import message, only, repair, run, run_of


class Incident:
    """Three were written from B because A was offline then, nine by a foreign writer from its own number C."""

    def __init__(self, host: Host) -> None:
        user = host.user()
        self.a, self.b, self.c = (host.device(user, name) for name in "ABC")
        sequence, steps = host.simple_sequence(user, steps=2)
        self.next: dict[str, list[UUID]] = {"fallback_used": [], "foreign_writer": []}
        for number in range(12):
            phone = f"60120000{number:02}"
            cause = "fallback_used" if number < 3 else "foreign_writer"
            past = host.contact(sequence, steps[0], phone, self.a, status="completed")
            self.next[cause].append(host.contact(sequence, steps[1], phone, self.a))
            message(host, past, self.b if number < 3 else self.c, own=number < 3)

    def moved(self, cause: str, device: UUID) -> dict[tuple[UUID, str], UUID]:
        return {(row, "assigned_device_id"): device for row in self.next[cause]}


@pytest.fixture
def incident(host: Host) -> Incident:
    return Incident(host)


def causes(seqdev: Cli) -> dict[str, int]:
    found = json.loads(seqdev("audit", "mismatches", "--all", "--matches", "--format", "json").out)
    return {kind["finding"]: kind["found"] for kind in found["found"]}


def test_the_causes_are_those_of_the_audit_and_its_advice() -> None:
    audit = (ROOT / "audit" / "mismatches.sql").read_text()
    advice = dict(re.findall(r"^ +\('(\w+)', \d, '(.*)'\)", audit, re.MULTILINE))
    assert advice.keys() == {*Cause, "settled"}
    assert {cause for cause, words in advice.items() if "repair assigned" in words} == set(RECOMMENDED)


def test_the_victims_of_a_foreign_writer_are_left_alone(host: Host, seqdev: Cli, incident: Incident) -> None:
    ran = seqdev("repair", "assigned", "--dry-run")
    assert ran.code == 0
    assert "seqdev: 3 rows of 3 people would change" in ran.err
    assert "seqdev: left alone: foreign_writer 9; what to do about each: seqdev audit mismatches" in ran.err
    with only(host, incident.moved("fallback_used", incident.b)):
        result = repair(seqdev, "assigned")
    assert result["summary"]["left_alone"] == {"foreign_writer": 9}
    assert {row["why"] for row in result["rows"]} == {"fallback_used"}


def test_afterwards_the_audit_tells_the_repaired_from_the_open(
    host: Host, seqdev: Cli, incident: Incident
) -> None:
    assert causes(seqdev) == {"fallback_used": 3, "foreign_writer": 9}
    done = run_of(repair(seqdev, "assigned"))
    assert causes(seqdev) == {"repaired": 3, "foreign_writer": 9}
    rows = json.loads(seqdev("audit", "mismatches", "--all", "--matches", "--format", "json").out)[
        "mismatches"
    ]
    assert {(row["cause"], row["state"]) for row in rows} == {
        ("fallback_used", "repaired"),
        ("foreign_writer", "open"),
    }
    assert seqdev("audit", "all", "--nagios").out.count("9 mismatches") == 1
    # Whom a repair has moved on since stays there.
    repair(seqdev, "device", "B", "--to", "C", code=0)
    with only(host, {}):
        repair(seqdev, "assigned")
    last = host.value("select id from seqdev.run where command = 'repair device'")
    repair(seqdev, "undo", last)
    repair(seqdev, "undo", done)
    assert causes(seqdev) == {"fallback_used": 3, "foreign_writer": 9}, "undone, it is open again"
    with only(host, incident.moved("fallback_used", incident.b)):
        repair(seqdev, "assigned")


def test_others_are_taken_by_name(host: Host, seqdev: Cli, incident: Incident) -> None:
    with only(host, incident.moved("foreign_writer", incident.c)):
        result = repair(seqdev, "assigned", "--cause", "foreign_writer")
    assert result["summary"]["left_alone"] == {"fallback_used": 3}
    ran = seqdev("repair", "assigned", "--cause", "nonsense", "--yes")
    assert (ran.code, "'nonsense'" in ran.err) == (2, True)
    assert host.value("select arguments from seqdev.run") == "--cause foreign_writer --yes --format json"


def test_nobody_is_assigned_to_a_device_that_is_gone(host: Host, seqdev: Cli, incident: Incident) -> None:
    host.rows("update user_devices set status = 'banned' where device_name = 'B'")
    with only(host, {}):
        result = repair(seqdev, "assigned", code=3)
    assert result["summary"]["reasons"] == {"device_gone": 3}


def test_a_plan_file_says_which_causes_it_is_about(
    host: Host, seqdev: Cli, incident: Incident, tmp_path: Path
) -> None:
    plan = tmp_path / "plan"
    run(seqdev, "repair", "assigned", "--dry-run", "--plan", plan)
    ran = seqdev("repair", "assigned", "--cause", "foreign_writer", "--plan", str(plan), "--yes")
    assert (ran.code, "plan of another command" in ran.err) == (2, True)
    with only(host, incident.moved("fallback_used", incident.b)):
        repair(seqdev, "assigned", "--plan", plan)
