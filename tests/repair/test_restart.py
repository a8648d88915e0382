"""One person begins a sequence again: each step is sent once more, and undone it never was."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.world.command import Cli, Start
from tests.world.host import Host
from tests.world.repairs import run

PHONE = "60173527172"
RESTART = ("contacts", "restart", PHONE, "--sequence", "warm", "--why", "asked for it")
DAY = timedelta(days=1)


class Scene:
    """A person who has finished a sequence of three steps, and is in another; their lead, and a neighbour."""

    def __init__(self, host: Host, seqdev: Cli, written: str = PHONE) -> None:
        self.host, self.seqdev = host, seqdev
        self.user = host.user()
        self.device = host.device(self.user, "A")
        self.sequence, self.steps = host.simple_sequence(self.user, steps=3)
        self.cold, (cold,) = host.simple_sequence(self.user, "COLD")
        host.lead(self.user, self.device, written, "WARM")
        assert seqdev("enroll", "--yes").code == 0
        for _ in self.steps:
            self.tick()
        host.contact(self.cold, cold, written, self.device, DAY)
        host.contact(self.sequence, self.steps[0], "60173527173", self.device, DAY)

    def tick(self) -> Any:
        ran = self.seqdev("tick", "--format", "json")
        assert ran.code == 0, ran.err
        self.host.rows(
            "update broadcast_messages set status = 'sent', sent_at = now() at time zone 'UTC' where status = 'pending'"
        )
        self.host.rows(
            "update sequence_contacts set next_trigger_time = now() at time zone 'UTC' - interval '1 minute'"
            " where status = 'active' and sequence_id = %s and contact_phone <> '60173527173'",
            self.sequence,
        )
        return json.loads(ran.out)

    def everything(self) -> Any:
        return self.host.value(
            "select jsonb_build_array((select jsonb_agg(t order by t.id) from sequence_contacts t),"
            " (select jsonb_agg(m order by m.id) from broadcast_messages m), (select jsonb_agg(l order by l.id) from leads l))"
        )

    def statuses(self) -> list[str]:
        return [
            row.status
            for row in self.host.rows(
                "select sc.status from sequence_contacts sc join sequence_steps st on st.id = sc.sequence_stepid"
                " where sc.sequence_id = %s and sc.contact_phone <> '60173527173' order by st.day_number",
                self.sequence,
            )
        ]

    def messages(self) -> list[int]:
        """How often each step was queued."""
        return [
            row.number
            for row in self.host.rows(
                "select count(*) as number from broadcast_messages m join sequence_steps st on st.id = m.sequence_stepid"
                " where m.sequence_id = %s group by st.day_number order by st.day_number",
                self.sequence,
            )
        ]


@pytest.fixture
def scene(host: Host, seqdev: Cli) -> Scene:
    return Scene(host, seqdev)


@pytest.mark.parametrize("written", [PHONE, f"+{PHONE}", "+60 17-352 7172"])
def test_each_step_is_sent_once_more_in_its_order(host: Host, seqdev: Cli, written: str) -> None:
    scene = Scene(host, seqdev, written)
    assert (scene.statuses(), scene.messages()) == (["completed"] * 3, [1, 1, 1])
    result = run(seqdev, *RESTART, "--yes")
    assert result["summary"]["changed"] == 3
    assert scene.statuses() == ["active", "pending", "pending"]
    for place in range(3):
        assert scene.tick()["queued"] == 1
        assert scene.messages() == [2] * (place + 1) + [1] * (2 - place)
    assert scene.tick()["queued"] == 0
    assert scene.statuses() == ["completed"] * 3
    # And again.
    run(seqdev, *RESTART, "--yes")
    assert scene.tick()["queued"] == 1
    assert scene.messages() == [3, 2, 2]


def test_a_dry_run_changes_nothing_and_its_plan_is_carried_out(scene: Scene, tmp_path: Path) -> None:
    before, plan = scene.everything(), tmp_path / "plan"
    assert scene.seqdev(*RESTART, "--dry-run", "--plan", plan).code == 0
    assert scene.everything() == before
    assert scene.seqdev(*RESTART, "--yes", "--plan", plan).code == 0
    assert scene.statuses() == ["active", "pending", "pending"]
    assert scene.seqdev(*RESTART, "--yes", "--plan", plan).code == 14


@pytest.mark.parametrize("sent", [False, True])
def test_undone_it_never_was_until_something_is_sent(scene: Scene, sent: bool) -> None:
    before = scene.everything()
    done = run(scene.seqdev, *RESTART, "--yes")["summary"]["run_id"]
    if not sent:
        back = run(scene.seqdev, "repair", "undo", done, "--yes")["summary"]["run_id"]
        assert scene.everything() == before
        # And the undo can be undone.
        run(scene.seqdev, "repair", "undo", back, "--yes")
        assert scene.statuses() == ["active", "pending", "pending"]
        assert scene.tick()["queued"] == 1
        return
    scene.tick()
    after = scene.everything()
    refused = run(scene.seqdev, "repair", "undo", done, "--yes", code=3)
    assert {row["refused"] for row in refused["refused"]} <= {"done_since", "changed_since"}
    assert len(refused["refused"]) == 3
    assert scene.everything() == after


@pytest.mark.thorough
def test_audits_and_repairs_take_what_was_sent_before_for_what_it_is(scene: Scene) -> None:
    run(scene.seqdev, *RESTART, "--yes")
    for words in (["audit", "contacts"], ["audit", "writers"], ["audit", "mismatches"]):
        found = json.loads(scene.seqdev(*words, "--since", "7d", "--format", "json").out)
        assert found["found"] == [], (words, found)
    for words in (["written-by-other"], ["stranded"]):
        assert run(scene.seqdev, "repair", *words, "--dry-run")["summary"]["planned"] == 0
    run(scene.seqdev, "contacts", "stop", PHONE, "--why", "x", "--yes")
    run(scene.seqdev, "contacts", "resume", PHONE, "--yes")
    assert scene.tick()["queued"] == 1


@pytest.mark.thorough
def test_in_the_middle_of_the_sequence_it_begins_anew_as_well(host: Host, seqdev: Cli) -> None:
    scene = Scene(host, seqdev)
    run(seqdev, *RESTART, "--yes")
    scene.tick()
    assert scene.statuses() == ["completed", "active", "pending"]
    host.rows(
        "create unique index one_active on sequence_contacts (sequence_id, contact_phone) where status = 'active'"
    )
    run(seqdev, *RESTART, "--yes")
    assert scene.statuses() == ["active", "pending", "pending"]
    assert scene.tick()["queued"] == 1


def test_who_is_blocked_or_has_not_begun_is_refused(scene: Scene) -> None:
    neighbour = ("contacts", "restart", "60173527173", "--sequence", "warm", "--why", "x", "--yes")
    refused = run(scene.seqdev, *neighbour, code=3)
    assert [row["refused"] for row in refused["refused"]] == ["not_begun"]
    assert (
        "that phone is not in the sequence" in scene.seqdev(*neighbour[:2], "60179999999", *neighbour[3:]).err
    )
    run(scene.seqdev, "block", "add", PHONE, "--why", "x", "--yes")
    before = scene.everything()
    refused = run(scene.seqdev, *RESTART, "--yes", code=3)
    assert {row["refused"] for row in refused["refused"]} == {"blocked"}
    assert scene.everything() == before


def test_a_row_that_the_host_moves_from_step_to_step_is_moved_back(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user, "A")
    sequence, steps = host.simple_sequence(user, steps=2)
    host.contact(sequence, steps[1], PHONE, device, status="completed", completed_at=datetime(2026, 1, 1))
    run(seqdev, *RESTART, "--yes")
    (row,) = host.rows("select * from sequence_contacts")
    assert (row.status, row.sequence_stepid, row.current_step, row.completed_at) == (
        "active",
        steps[0],
        1,
        None,
    )
    assert json.loads(seqdev("tick", "--format", "json").out)["queued"] == 1
    assert host.value("select count(*) from sequence_contacts where sequence_stepid = %s", steps[1]) == 1


@pytest.mark.plain("no foreign key leads to a distributed table from another of the host's")
def test_a_host_whose_tables_refer_to_the_rows_refuses_and_the_person_stays(scene: Scene) -> None:
    scene.host.rows("create table log (contact uuid references sequence_contacts (id))")
    scene.host.rows("insert into log select id from sequence_contacts")
    before = scene.everything()
    ran = scene.seqdev(*RESTART, "--yes")
    assert (ran.code, "23503" in ran.err) == (3, True), ran.err
    assert scene.everything() == before


@pytest.mark.thorough
def test_overlapping_restarts_and_ticks_send_each_step_once_a_time_round(scene: Scene, start: Start) -> None:
    for _ in range(3):
        processes = [start(*words) for words in ((*RESTART, "--yes"), (*RESTART, "--yes"), ("tick",))]
        for process in processes:
            process.wait(timeout=60)
        scene.tick()
        restarts = scene.host.value(
            "select count(*) from seqdev.run where command = 'contacts restart' and (counts ->> 'changed')::int > 0"
        )
        assert scene.messages()[0] <= 1 + restarts
        assert scene.messages()[0] >= 2
