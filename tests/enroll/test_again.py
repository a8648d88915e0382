"""Who has finished a sequence enters it again after so long, if a rule says so: once, and from its first step."""

import json
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


def test_who_has_only_the_first_step_done_does_not(scene: Scene) -> None:
    scene.host.rule("reenrol_after", "1d")
    scene.host.rows("delete from sequence_contacts where sequence_stepid = %s", scene.steps[1])
    assert scene.enrol() == 0


def test_who_is_blocked_or_over_the_limit_stays_as_they_are(scene: Scene) -> None:
    scene.host.rule("reenrol_after", "1d")
    scene.host.rows("update leads set trigger = 'WARM'")
    before = scene.rows()
    assert scene.enrol("--limit", "1", "--yes") == 1
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
