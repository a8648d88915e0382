"""Who has finished a sequence enters it again after so long, if a rule says so: once, and from its first step."""

import json
import random
from datetime import timedelta
from typing import Any

import pytest

from tests.world.command import Cli, Start
from tests.world.host import Host
from tests.world.repairs import run

PHONE = "60173527172"


class Scene:
    """Two people who have finished a sequence of two steps ten days ago; the lead of one has its trigger again."""

    def __init__(self, host: Host, seqdev: Cli) -> None:
        self.host, self.seqdev = host, seqdev
        self.user = host.user()
        self.device = host.device(self.user, "A")
        self.sequence, self.steps = host.simple_sequence(self.user, steps=2)
        for phone in (PHONE, "60173527173"):
            host.lead(self.user, self.device, phone, "WARM")
        self.enrol()
        for _ in self.steps:
            self.tick()
        host.rows("update sequence_contacts set completed_at = completed_at - interval '10 days'")
        host.rows("update broadcast_messages set created_at = created_at - interval '10 days'")
        host.rows("update leads set trigger = 'OTHER, WARM' where phone = %s", PHONE)

    def enrol(self, *options: str, code: int = 0) -> int:
        ran = self.seqdev("enroll", *(options or ("--yes",)), "--format", "json")
        assert ran.code == code, ran.err
        return int(sum(row["enrolled"] for row in json.loads(ran.out)["sequences"]))

    def tick(self) -> int:
        self.host.make_all_due()
        ran = self.seqdev("tick", "--format", "json")
        assert ran.code == 0, ran.err
        return int(json.loads(ran.out)["queued"])

    def rows(self) -> Any:
        return self.host.value("select jsonb_agg(t order by t.id) from sequence_contacts t")

    def statuses(self, phone: str = PHONE) -> list[str]:
        return [
            row.status
            for row in self.host.rows(
                "select sc.status from sequence_contacts sc join sequence_steps st on st.id = sc.sequence_stepid"
                " where sc.contact_phone = %s order by st.day_number",
                phone,
            )
        ]


@pytest.fixture
def scene(host: Host, seqdev: Cli) -> Scene:
    return Scene(host, seqdev)


@pytest.mark.thorough
def test_after_so_long_they_enter_again_once_and_each_step_is_sent_once_more(scene: Scene) -> None:
    assert scene.enrol() == 0
    assert scene.seqdev("rules", "set", "reenrol_after", "7d", "--sequence", "warm", "--yes").code == 0
    before = scene.rows()
    assert scene.enrol("--dry-run") == 1
    assert scene.rows() == before
    other = scene.host.device(scene.user, "B")
    scene.host.rows("update leads set device_id = %s", other)
    assert scene.enrol() == 1
    assert (scene.statuses(), scene.statuses("60173527173")) == (["active", "pending"], ["completed"] * 2)
    assert (
        scene.host.value("select count(*) from sequence_contacts where assigned_device_id = %s", other) == 2
    )
    after = scene.rows()
    assert scene.enrol() == 0
    assert scene.rows() == after
    assert [scene.tick() for _ in range(3)] == [1, 1, 0]
    assert scene.host.value("select count(*) from broadcast_messages where recipient_phone = %s", PHONE) == 4
    # At the end the trigger has left the list, and it was just now.
    assert scene.host.value("select trigger from leads where phone = %s", PHONE).strip() == "OTHER"
    scene.host.rows("update leads set trigger = 'WARM'")
    assert scene.enrol("--dry-run") == 1, "the other, who finished long ago"


@pytest.mark.parametrize(("rule", "enrolled"), [("10d", 1), ("11d", 0), ("0s", 0), ("240h", 1)])
def test_the_time_counts_from_the_last_step(scene: Scene, rule: str, enrolled: int) -> None:
    scene.host.rule("reenrol_after", rule)
    assert scene.enrol() == enrolled


@pytest.mark.thorough
@pytest.mark.cases(2)
@pytest.mark.parametrize("value", ["", "x", "1 fortnight", "-1d", "99999999999999d"])
def test_what_psql_has_written_badly_lets_nobody_in(scene: Scene, value: str) -> None:
    scene.host.rule("reenrol_after", value, sequence=scene.sequence)
    assert scene.enrol() == 0


def test_the_rule_of_the_sequence_wins(scene: Scene) -> None:
    scene.host.rule("reenrol_after", "1d")
    scene.host.rule("reenrol_after", "0s", sequence=scene.sequence)
    assert scene.enrol() == 0


@pytest.mark.parametrize(
    "change", ["status = 'stopped'", "status = 'replied'", "status = 'active'", "completed_at = null"]
)
def test_who_was_stopped_or_has_not_finished_does_not(scene: Scene, change: str) -> None:
    scene.host.rule("reenrol_after", "1d")
    scene.host.rows(f"update sequence_contacts set {change} where sequence_stepid = %s", scene.steps[1])
    if change.startswith("completed"):
        scene.host.rows("update sequence_contacts set completed_at = null")
    before = scene.rows()
    assert scene.enrol() == 0
    assert scene.rows() == before


@pytest.mark.thorough
def test_who_has_only_the_first_step_done_does_not(scene: Scene) -> None:
    scene.host.rule("reenrol_after", "1d")
    scene.host.rows("delete from sequence_contacts where sequence_stepid = %s", scene.steps[1])
    assert scene.enrol() == 0


@pytest.mark.thorough
def test_who_was_never_at_the_step_by_which_people_enter_is_in_already_and_not_refused(scene: Scene) -> None:
    scene.host.rule("reenrol_after", "1d")
    scene.host.rows("update sequence_steps set is_entry_point = true where id = %s", scene.steps[1])
    scene.host.rows("delete from sequence_contacts where sequence_stepid = %s", scene.steps[0])
    theirs = scene.host.device(scene.host.user(), "theirs")
    scene.host.rows("update leads set device_id = %s where phone = %s", theirs, PHONE)
    assert scene.enrol() == 0


@pytest.mark.thorough
def test_who_is_blocked_or_over_the_limit_stays_as_they_are(scene: Scene) -> None:
    scene.host.rule("reenrol_after", "1d")
    scene.host.rows("update leads set trigger = 'WARM'")
    before = scene.rows()
    assert scene.enrol("--max", "1", "--yes") == 1
    assert sorted([scene.statuses(), scene.statuses("60173527173")]) == [
        ["active", "pending"],
        ["completed"] * 2,
    ]
    run(
        scene.seqdev,
        "repair",
        "undo",
        scene.host.value(
            "select id from seqdev.run where command = 'enroll' order by started_at desc limit 1"
        ),
        "--yes",
    )
    assert scene.rows() == before
    run(scene.seqdev, "block", "add", PHONE, "--why", "x", "--yes")
    assert scene.enrol("--yes", code=3) == 1
    assert scene.statuses() == ["completed"] * 2


@pytest.mark.thorough
def test_two_enrolments_at_once_let_them_in_once(scene: Scene, start: Start) -> None:
    scene.host.rule("reenrol_after", "1d")
    processes = [start("enroll", "--yes", "--format", "json") for _ in range(3)]
    enrolled = 0
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        enrolled += sum(row["enrolled"] for row in json.loads(out)["sequences"])
    assert enrolled == 1
    assert [scene.tick() for _ in range(3)] == [1, 1, 0]


def may_enter(rows: list[Any], after: float, matches: bool) -> bool:
    """Whether a person may enter again: ``rows`` are the step's number, status, age in days and last_error."""
    ages = [age for _, _, age, _ in rows if age is not None]
    return (
        matches
        and after > 0
        and all(status in ("completed", "sent", "failed") for _, status, _, _ in rows)
        and any(number == 0 for number, _, _, _ in rows)
        and any(number == 2 or (error or "").startswith("ended") for number, _, _, error in rows)
        and bool(ages)
        and min(ages) >= after
    )


def test_whoever_may_enter_again_does_and_nobody_else(host: Host, seqdev: Cli, seed: int) -> None:
    rng = random.Random(seed)
    user = host.user()
    device = host.device(user, "A")
    for trigger in ("WARM", "COLD"):
        sequence, steps = host.simple_sequence(user, trigger, steps=3)
        own, usual = rng.choice([None, 0, 1, 5]), rng.choice([None, 0, 3])
        host.rule("reenrol_after", None if own is None else f"{own}d", sequence=sequence)
        host.rule("reenrol_after", None if usual is None else f"{usual}d")
        expected = set()
        for number in range(60):
            phone = f"60173{ord(trigger[0])}{number:04}"
            rows = []
            for place in rng.choice([(0, 1, 2), (0, 1, 2), (0, 1), (0,), (1, 2)]):
                status = rng.choice(
                    ["completed"] * 12 + ["sent", "failed", "stopped", "replied", "active", "pending"]
                )
                age = rng.choice([0.5, 2, 4, 6, 9, 9, 9, None])
                error = rng.choice([None] * 5 + ["ended: names no step", "no such number"])
                rows.append((place, status, age, error))
                host.contact(
                    sequence, steps[place], phone, device, timedelta(days=1), lead=False, status=status
                )
                host.rows(
                    "update sequence_contacts set completed_at = now() at time zone 'UTC' - %s::interval, last_error = %s"
                    " where contact_phone = %s and sequence_stepid = %s",
                    *(None if age is None else timedelta(days=age), error, phone, steps[place]),
                )
            matches = rng.random() < 0.8
            host.lead(user, device, phone, f"OTHER, {trigger}" if matches else "OTHER")
            waiting_only = matches and all(status == "pending" for _, status, _, _ in rows)
            if waiting_only or may_enter(rows, usual or 0 if own is None else own, matches):
                expected.add(phone)
        before = dict(
            host.rows("select id, contact_phone from sequence_contacts where sequence_id = %s", sequence)
        )
        planned = seqdev("enroll", "--sequence", str(sequence), "--dry-run", "--format", "json")
        assert sum(row["enrolled"] for row in json.loads(planned.out)["sequences"]) == len(expected)
        ran = seqdev("enroll", "--sequence", str(sequence), "--yes", "--format", "json")
        assert ran.code == 0, ran.err
        assert sum(row["enrolled"] for row in json.loads(ran.out)["sequences"]) == len(expected)
        after = host.rows("select * from sequence_contacts where sequence_id = %s", sequence)
        assert {row.contact_phone for row in after if row.id not in before} <= expected
        for phone in expected:
            found = [row.status for row in after if row.contact_phone == phone]
            assert found.count("active") == 1, phone
            assert found.count("pending") == len(found) - 1, phone
