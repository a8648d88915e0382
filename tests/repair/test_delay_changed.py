"""A step's delay that is none, or is changed while people wait: found, and rescheduled on demand."""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.world.command import Cli
from tests.world.host import Host
from tests.world.repairs import only, repair, run_of, snapshot

PHONE = "6012000001"


class Scene:
    """A person who waits for the second step, which is due a day after the first was sent."""

    def __init__(self, host: Host, seqdev: Cli) -> None:
        self.host = host
        user = host.user()
        self.device = host.device(user, "A")
        self.sequence, self.steps = host.simple_sequence(user, steps=2)
        # Due in every zone.
        self.first = host.contact(self.sequence, self.steps[0], PHONE, self.device, timedelta(days=-1))
        host.lead(user, self.device, PHONE, "WARM")
        assert seqdev("tick").code == 0
        self.waits: UUID = host.value("select id from sequence_contacts where status = 'active'")

    def delay(self, hours: int | None) -> None:
        self.host.rows("update sequence_steps set trigger_delay_hours = %s where day_number = 2", hours)

    def due(self, hours: int) -> datetime:
        done: datetime = self.host.value(
            "select completed_at from sequence_contacts where id = %s", self.first
        )
        return done + timedelta(hours=hours)


def found(seqdev: Cli) -> list[tuple[str, str]]:
    rows = json.loads(seqdev("audit", "contacts", "--all", "--format", "json").out)["contacts"]
    return [(row["contact_id"], row["repair"]) for row in rows if row["finding"] == "delay_changed"]


@pytest.mark.parametrize(("hours", "why"), [(48, "later"), (2, "earlier")])
def test_who_waits_is_rescheduled_by_the_delay_as_it_is_now(
    host: Host, seqdev: Cli, hours: int, why: str
) -> None:
    scene = Scene(host, seqdev)
    assert found(seqdev) == []
    scene.delay(hours)
    ((row, advice),) = found(seqdev)
    assert (row, advice.startswith("seqdev repair delay-changed")) == (str(scene.waits), True)
    before = snapshot(host)
    with only(host, {(scene.waits, "next_trigger_time"): scene.due(hours)}):
        result = repair(seqdev, "delay-changed")
    assert [one["why"] for one in result["rows"]] == [why]
    assert found(seqdev) == []
    repair(seqdev, "undo", run_of(result))
    assert snapshot(host) == before


@pytest.mark.parametrize("zone", ["Asia/Kuala_Lumpur", "America/New_York"])
def test_instants_are_read_in_the_configured_zone(
    host: Host, seqdev: Cli, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQDEV_TIMEZONE", zone)
    scene = Scene(host, seqdev)
    scene.delay(48)
    repair(seqdev, "delay-changed")
    assert host.value(
        "select next_trigger_time from sequence_contacts where id = %s", scene.waits
    ) == scene.due(48)


def test_rows_of_the_host_and_other_people_are_left_alone(host: Host, seqdev: Cli) -> None:
    scene = Scene(host, seqdev)
    host.contact(scene.sequence, scene.steps[1], "6012000002", scene.device, timedelta(hours=7))
    scene.delay(48)
    assert len(found(seqdev)) == 1
    host.rows("update sequence_contacts set id = %s where id = %s", uuid4(), scene.waits)
    assert found(seqdev) == []
    with only(host, {}):
        repair(seqdev, "delay-changed")


def test_hostile_delays_stop_nothing(host: Host, seqdev: Cli) -> None:
    scene = Scene(host, seqdev)
    host.rows("alter table sequence_steps alter trigger_delay_hours type bigint")
    scene.delay(10**15)
    host.rows("update sequence_contacts set completed_at = 'infinity' where id = %s", scene.first)
    assert found(seqdev) == []
    host.rows("update sequence_contacts set completed_at = now() where id = %s", scene.first)
    assert len(found(seqdev)) == 1


@pytest.mark.parametrize("hours", [0, -5, None])
def test_a_step_without_a_delay_is_named(host: Host, seqdev: Cli, hours: int | None) -> None:
    scene = Scene(host, seqdev)

    def named() -> list[Any]:
        rows = json.loads(seqdev("audit", "sequences", "--format", "json").out)["sequences"]
        return [(row["finding"], row["step"], row["detail"]) for row in rows]

    # Of the entry step it does not matter: people enter it at once.
    host.rows("update sequence_steps set trigger_delay_hours = 0 where day_number = 1")
    assert named() == []
    scene.delay(hours)
    said = "empty" if hours is None else str(hours)
    assert named() == [("no_delay", 2, f"trigger_delay_hours is {said}")]
    # Twenty-four hours are what it means: nobody waits for another time than before.
    assert found(seqdev) == []
