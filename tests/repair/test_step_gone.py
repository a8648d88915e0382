"""People whose step was deleted go on with the step in its place or after it, or end; nobody gets a step twice."""

import json
from typing import Any
from uuid import UUID

import pytest

from tests.world.command import Cli
from tests.world.generations import past_the_stopped
from tests.world.host import Host
from tests.world.repairs import message, only, repair, run_of, snapshot

PHONE = "6012000001"


class Scene:
    """A sequence of four steps, and a person who has had the first and waits for the second."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.user = host.user()
        self.device = host.device(self.user, "A")
        self.sequence, self.steps = host.simple_sequence(self.user, steps=4)
        host.lead(self.user, self.device, PHONE, "WARM")
        self.first = host.contact(
            self.sequence, self.steps[0], PHONE, self.device, status="completed", current_step=1
        )
        message(host, self.first, self.device)
        self.waits = self.row(1, "active")

    def row(self, place: int, status: str) -> UUID:
        return self.host.contact(
            self.sequence,
            self.steps[place],
            PHONE,
            self.device,
            status=status,
            current_step=place + 1,
            current_trigger=f"WARM_{place + 1}",
        )

    def delete(self, *places: int) -> None:
        self.host.rows(
            "delete from sequence_steps where id = any(%s)", [self.steps[place] for place in places]
        )

    def make_anew(self) -> dict[int, UUID]:
        """As the host does when somebody edits the sequence: every step is deleted and made anew, by day."""
        self.host.rows("create temporary table old as select * from sequence_steps")
        self.host.rows("delete from sequence_steps")
        self.host.rows("update old set id = gen_random_uuid()")
        self.host.rows("insert into sequence_steps select * from old")
        return dict(self.host.rows("select day_number, id from sequence_steps"))


@pytest.fixture
def scene(host: Host) -> Scene:
    return Scene(host)


def place(step: UUID, day: int, trigger: str) -> dict[str, Any]:
    return {"sequence_stepid": step, "current_step": day, "current_trigger": trigger}


def on(row: UUID, values: dict[str, Any]) -> dict[tuple[UUID, str], Any]:
    return {(row, column): value for column, value in values.items()}


ENDED = {"status": "stopped", "last_error": "ended: its step was deleted"}


def contacts(seqdev: Cli) -> dict[str, str]:
    found = json.loads(seqdev("audit", "contacts", "--all", "--format", "json").out)["contacts"]
    return {row["finding"]: row["repair"] for row in found}


def test_audit_and_explain_say_the_same_true_sentence(scene: Scene, seqdev: Cli) -> None:
    scene.delete(1)
    assert contacts(seqdev)["step_gone"] == "seqdev repair step-gone"
    told = seqdev("explain", PHONE).out
    assert "its step was deleted: seqdev repair step-gone" in told
    assert "upgrade" not in told


def test_they_go_on_with_the_following_step_and_back_by_undo(scene: Scene, host: Host, seqdev: Cli) -> None:
    scene.delete(1)
    before = snapshot(host)
    with only(host, on(scene.waits, place(scene.steps[2], 3, "WARM_3"))):
        result = repair(seqdev, "step-gone")
    assert [row["why"] for row in result["rows"]] == ["following"]
    assert "step_gone" not in contacts(seqdev)
    repair(seqdev, "undo", run_of(result))
    assert snapshot(host) == before
    repair(seqdev, "step-gone")
    assert seqdev("tick").code == 0
    assert (
        host.value("select count(*) from broadcast_messages where sequence_stepid = %s", scene.steps[2]) == 1
    )
    assert not [one for one in host.broken_promises() if one.promise != "done, message missing"]


def test_steps_made_anew_by_an_edit_are_found_by_their_trigger(scene: Scene, host: Host, seqdev: Cli) -> None:
    steps = scene.make_anew()
    with only(host, on(scene.waits, {"sequence_stepid": steps[2]})):
        result = repair(seqdev, "step-gone")
    assert [row["why"] for row in result["rows"]] == ["same_trigger"]


def test_a_step_with_another_trigger_is_found_by_its_day(scene: Scene, host: Host, seqdev: Cli) -> None:
    steps = scene.make_anew()
    host.rows("update sequence_steps set trigger = 'NEW' where id = %s", steps[2])
    with only(host, on(scene.waits, {"sequence_stepid": steps[2], "current_trigger": "NEW"})):
        result = repair(seqdev, "step-gone")
    assert [row["why"] for row in result["rows"]] == ["same_day"]


def test_a_row_without_a_step_is_placed_too(scene: Scene, host: Host, seqdev: Cli) -> None:
    host.rows("update sequence_contacts set sequence_stepid = null where id = %s", scene.waits)
    with only(host, on(scene.waits, {"sequence_stepid": scene.steps[1]})):
        repair(seqdev, "step-gone")


def test_whoever_has_no_step_left_ends_and_is_no_finding(scene: Scene, host: Host, seqdev: Cli) -> None:
    scene.delete(1, 2, 3)
    before = snapshot(host)
    with only(host, on(scene.waits, ENDED)):
        result = repair(seqdev, "step-gone")
    assert [row["why"] for row in result["rows"]] == ["no_step_left"]
    assert contacts(seqdev) == {}
    assert seqdev("tick").code == 0
    assert host.value("select count(*) from broadcast_messages") == 1
    repair(seqdev, "undo", run_of(result))
    assert snapshot(host) == before


def test_the_operator_may_end_them_all(scene: Scene, host: Host, seqdev: Cli) -> None:
    scene.delete(1)
    with only(host, on(scene.waits, ENDED)):
        result = repair(seqdev, "step-gone", "--end")
    assert [row["why"] for row in result["rows"]] == ["asked"]


@past_the_stopped
def test_where_the_following_row_waits_it_becomes_active(scene: Scene, host: Host, seqdev: Cli) -> None:
    """A host that made all rows at once, with a key of one active row a person."""
    following, last = scene.row(2, "pending"), scene.row(3, "pending")
    host.rows(
        "create unique index one_active on sequence_contacts (sequence_id, contact_phone) where status = 'active'"
    )
    scene.delete(1)
    before = snapshot(host)
    with only(host, on(scene.waits, ENDED) | on(following, {"status": "active"})):
        result = repair(seqdev, "step-gone")
    assert {row["why"] for row in result["rows"]} == {"step_there", "step_before_ends"}
    repair(seqdev, "undo", run_of(result))
    assert snapshot(host) == before
    assert host.value("select status from sequence_contacts where id = %s", last) == "pending"


def test_rows_that_wait_for_steps_made_anew_are_placed_each_at_its_own(
    scene: Scene, host: Host, seqdev: Cli
) -> None:
    rows = {2: scene.waits, 3: scene.row(2, "pending"), 4: scene.row(3, "pending")}
    steps = scene.make_anew()
    expected: dict[tuple[UUID, str], Any] = {
        (row, "sequence_stepid"): steps[day] for day, row in rows.items()
    }
    with only(host, expected):
        repair(seqdev, "step-gone")


@pytest.mark.parametrize("trace", ["row", "message"])
def test_a_step_that_the_person_has_had_is_passed_over(
    scene: Scene, host: Host, seqdev: Cli, trace: str
) -> None:
    """A row that is done, whose message the host has deleted; or a message, whose row it has deleted."""
    done = scene.row(2, "completed")
    if trace == "message":
        message(host, done, scene.device)
        host.rows("delete from sequence_contacts where id = %s", done)
    scene.delete(1)
    with only(host, on(scene.waits, place(scene.steps[3], 4, "WARM_4"))):
        repair(seqdev, "step-gone")


def test_a_deleted_step_that_another_processor_has_written_counts_as_had(
    scene: Scene, host: Host, seqdev: Cli
) -> None:
    message(host, scene.waits, scene.device, own=False)
    steps = scene.make_anew()
    with only(host, on(scene.waits, place(steps[3], 3, "WARM_3"))):
        repair(seqdev, "step-gone")


def test_steps_that_were_had_count_even_where_they_are_deleted_too(
    scene: Scene, host: Host, seqdev: Cli
) -> None:
    """The steps of the past have other ids and triggers now: the first of them is not the next one."""
    steps = scene.make_anew()
    host.rows("update sequence_steps set trigger = 'X' || day_number, next_trigger = 'X' || day_number + 1")
    host.rows("update sequence_contacts set current_step = 1 where id = %s", scene.waits)
    with only(host, on(scene.waits, place(steps[2], 2, "X2"))):
        repair(seqdev, "step-gone")


def test_steps_of_the_past_that_are_deleted_count_no_longer(scene: Scene, host: Host, seqdev: Cli) -> None:
    scene.delete(0, 1, 2)
    with only(host, on(scene.waits, place(scene.steps[3], 4, "WARM_4"))):
        repair(seqdev, "step-gone")


def test_where_the_place_is_not_known_nobody_is_moved(scene: Scene, host: Host, seqdev: Cli) -> None:
    """A host that never moved current_step on, and no trace of what the person has had."""
    host.rows("delete from broadcast_messages")
    host.rows("delete from sequence_contacts where id = %s", scene.first)
    host.rows("update sequence_contacts set current_step = 1, current_trigger = 'WARM_9'")
    scene.delete(1)
    with only(host, {}):
        result = repair(seqdev, "step-gone", code=3)
    assert result["summary"]["reasons"] == {"place_unknown": 1}
    with only(host, on(scene.waits, ENDED)):
        repair(seqdev, "step-gone", "--end")
