"""One person is stopped, brought back, passed over a step: what it promises, also beside ticks and senders."""

import os
import random
import subprocess
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.world.command import Cli
from tests.world.forked import Forked
from tests.world.generations import past_the_stopped
from tests.world.host import Connect, Host
from tests.world.obstacles import halt, slow
from tests.world.repairs import message, only, run, run_of, snapshot
from tests.world.ticks import Ticks
from tests.world.waiting import in_background, until

PHONE = "60173527172"
WRITTEN = (PHONE, "+60 17-352 7172", "0060173527172", f"{PHONE}@s.whatsapp.net", f"{PHONE}:12@s.whatsapp.net")
WHY = "asked on the phone"
STOPPED = {"status": "stopped", "last_error": f"stopped: {WHY}"}
CANCELLED = {"status": "cancelled", "error_message": f"stopped: {WHY}"}


class Scene:
    """A person of two users; with the first: step 1 queued, step 2 to come, another sequence to come."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.user, self.other = host.user(), host.user()
        self.device = host.device(self.user, "A")
        self.sequence, self.steps = host.simple_sequence(self.user, steps=3)
        self.done = self.row(PHONE, 0, "completed", completed_at=datetime(2026, 1, 1))
        self.queued = self.message(self.done, "pending")
        self.waits = self.row(PHONE, 1, "active", timedelta(hours=3))
        self.second, (step,) = host.simple_sequence(self.user, "SECOND")
        self.elsewhere = host.contact(self.second, step, PHONE, self.device, timedelta(hours=5))
        theirs, (their_step,) = host.simple_sequence(self.other, "THEIRS")
        self.theirs = host.contact(
            theirs, their_step, PHONE, host.device(self.other, "B"), timedelta(hours=7)
        )
        self.neighbour = self.row("60173527173", 1, "active", timedelta(hours=3))

    def row(self, phone: str, place: int, status: str, due_in: timedelta = timedelta(0), **more: Any) -> UUID:
        return self.host.contact(
            self.sequence,
            self.steps[place],
            phone,
            self.device,
            due_in,
            status=status,
            current_step=place + 1,
            current_trigger="WARM" if place == 0 else f"WARM_{place + 1}",
            **more,
        )

    def message(self, contact: UUID, status: str) -> UUID:
        message(self.host, contact, self.device)
        found = self.host.value(
            "update broadcast_messages set status = %s, message_type = 'text', content = 'x', media_url = '',"
            " recipient_name = '', scheduled_at = now() where id = md5('seqdev message ' || %s)::uuid returning id",
            status,
            str(contact),
        )
        assert isinstance(found, UUID)
        return found


@pytest.fixture
def scene(host: Host) -> Scene:
    return Scene(host)


def on(row: UUID, values: dict[str, Any]) -> dict[tuple[UUID, str], Any]:
    return {(row, column): value for column, value in values.items()}


def contacts(seqdev: Cli, *argv: object, code: int = 0) -> Any:
    return run(seqdev, "contacts", *argv, "--yes", code=code)


def stop(seqdev: Cli, *argv: object, code: int = 0) -> Any:
    return contacts(seqdev, "stop", *argv, "--why", WHY, code=code)


def status(host: Host, row: UUID) -> str:
    return str(host.value("select status from sequence_contacts where id = %s", row))


@pytest.mark.parametrize("typed", [*WRITTEN, f"https://wa.me/{PHONE}", "+60 (17) 352.7172"])
def test_a_person_is_stopped_however_the_phone_is_typed(
    scene: Scene, host: Host, seqdev: Cli, typed: str
) -> None:
    before = snapshot(host)
    rows = {scene.waits, scene.elsewhere, scene.theirs}
    changed = {key: value for row in rows for key, value in on(row, STOPPED).items()}
    with only(host, {**changed, **on(scene.queued, CANCELLED)}):
        result = stop(seqdev, typed)
    assert result["summary"]["changed"] == 4
    assert run(seqdev, "repair", "undo", run_of(result), "--yes")["summary"]["changed"] == 4
    assert snapshot(host) == before


@pytest.mark.parametrize("written", WRITTEN[1:])
def test_a_person_is_stopped_however_the_host_writes_the_phone(host: Host, seqdev: Cli, written: str) -> None:
    scene = Scene(host)
    host.write_phone("sequence_contacts", written, f"contact_phone = '{PHONE}'")
    host.write_phone("broadcast_messages", written)
    assert stop(seqdev, PHONE)["summary"]["changed"] == 4
    assert status(host, scene.neighbour) == "active"


def test_national_numbers_are_the_regions(scene: Scene, host: Host, seqdev: Cli) -> None:
    host.rule("region", "MY")
    assert stop(seqdev, "017-352 7172")["summary"]["changed"] == 4


def test_only_this_sequence_and_user_and_not_the_queue(scene: Scene, host: Host, seqdev: Cli) -> None:
    with only(host, on(scene.elsewhere, STOPPED)):
        stop(seqdev, PHONE, "--sequence", "second")
    with only(host, on(scene.theirs, STOPPED)):
        stop(seqdev, PHONE, "--user", scene.other)
    with only(host, on(scene.waits, STOPPED)):
        stop(seqdev, PHONE, "--keep-queued")
    with only(host, on(scene.queued, CANCELLED)):
        stop(seqdev, PHONE)
    ran = seqdev("contacts", "stop", PHONE, "--why", WHY, "--yes")
    assert ran.code == 3
    assert "nothing is to come for that phone" in ran.err


def test_rows_made_beforehand_and_quarantined_ones_are_stopped_as_well(
    scene: Scene, host: Host, seqdev: Cli
) -> None:
    later = scene.row(PHONE, 2, "pending")
    host.rows(
        "update sequence_contacts set status = 'set_aside', last_error = 'no' where id = %s", scene.elsewhere
    )
    result = stop(seqdev, PHONE, "--user", scene.user, "--keep-queued")
    assert sorted(row["why"] for row in result["rows"]) == ["active", "quarantined", "waiting"]
    assert status(host, later) == status(host, scene.elsewhere) == "stopped"
    assert contacts(seqdev, "resume", PHONE)["summary"]["changed"] == 3
    assert [status(host, row) for row in (later, scene.waits)] == ["pending", "active"]
    assert host.value("select last_error from sequence_contacts where status = 'set_aside'") == "no"


def test_a_plan_is_shown_and_nothing_happens_without_a_yes(
    scene: Scene, host: Host, seqdev: Cli, tmp_path: Path
) -> None:
    plan = tmp_path / "plan"
    with only(host, {}):
        assert "active" in seqdev("contacts", "stop", PHONE, "--why", WHY, "--dry-run", "--plan", plan).out
        ran = seqdev("contacts", "stop", PHONE, "--why", WHY)
        assert (ran.code, ran.out) == (2, "")
        for bad in ("12345", "nobody", "", "6017352717212345"):
            ran = seqdev("contacts", "stop", bad, "--why", WHY, "--yes")
            assert ran.code == 2
            assert "PHONE is no phone" in ran.err
            assert not bad or bad not in ran.err
        assert seqdev("contacts", "stop", PHONE, "--why", "  ", "--yes").code == 2
    assert run_of(stop(seqdev, PHONE, "--plan", plan))
    assert status(host, scene.waits) == "stopped"
    assert seqdev("contacts", "stop", PHONE, "--why", WHY, "--yes", "--plan", plan).code == 14


def test_no_phone_and_no_reason_is_in_the_journal_of_runs(scene: Scene, host: Host, seqdev: Cli) -> None:
    stop(seqdev, PHONE)
    (found,) = host.rows("select command, arguments from seqdev.run")
    assert found.command == "contacts stop"
    assert PHONE not in found.arguments
    assert WHY not in found.arguments


def test_what_is_stopped_is_no_finding_and_explain_says_why(scene: Scene, seqdev: Cli) -> None:
    stop(seqdev, PHONE)
    assert f"stopped: {WHY}" in seqdev("explain", PHONE).out
    found = run(seqdev, "audit", "contacts", code=0)
    assert found["contacts"] == []


def test_a_message_that_its_sender_has_begun_is_refused(scene: Scene, host: Host, seqdev: Cli) -> None:
    host.rows("update broadcast_messages set status = 'processing'")
    result = stop(seqdev, PHONE, code=3)
    assert [(row["row_id"], row["refused"]) for row in result["refused"]] == [(str(scene.queued), "begun")]
    assert result["summary"]["changed"] == 3


def test_a_cancelled_message_shows_on_its_row_until_it_is_sent_after_all(
    scene: Scene, host: Host, seqdev: Cli
) -> None:
    made = "update broadcast_messages set created_at = now() where id = %s"
    host.rows("update sequence_contacts set completed_at = now() where id = %s", scene.done)
    host.rows(made, scene.queued)
    stop(seqdev, PHONE)
    assert seqdev("tick").code == 0
    assert host.rows("select status, last_error from sequence_contacts where id = %s", scene.done) == [
        ("failed", f"stopped: {WHY}")
    ]
    contacts(seqdev, "resume", PHONE)
    host.rows("update broadcast_messages set status = 'sent', sent_at = now()")
    assert seqdev("tick").code == 0
    assert status(host, scene.done) == "completed"
    assert host.broken_promises() == []


def test_undo_leaves_what_the_sender_has_sent_all_the_same(scene: Scene, host: Host, seqdev: Cli) -> None:
    stopped = run_of(stop(seqdev, PHONE))
    # A sender that had read its queue before.
    host.rows("update broadcast_messages set status = 'sent', sent_at = now()")
    result = run(seqdev, "repair", "undo", stopped, "--yes", code=3)
    assert [(row["row_id"], row["refused"]) for row in result["refused"]] == [
        (str(scene.queued), "changed_since")
    ]
    assert host.value("select status from broadcast_messages") == "sent"
    assert status(host, scene.waits) == "active"


def test_resume_brings_back_exactly_what_was_stopped(scene: Scene, host: Host, seqdev: Cli) -> None:
    by_hand = scene.row(PHONE, 2, "stopped")
    cancelled_by_host = scene.message(scene.waits, "cancelled")
    before = snapshot(host)
    stop(seqdev, PHONE, "--sequence", "second")
    stop(seqdev, PHONE)
    result = contacts(seqdev, "resume", PHONE)
    assert result["summary"]["changed"] == 4
    assert snapshot(host) == before
    assert status(host, by_hand) == "stopped"
    assert host.value("select status from broadcast_messages where id = %s", cancelled_by_host) == "cancelled"
    # And the resumption is undone: what was stopped is stopped again, and can be resumed again.
    run(seqdev, "repair", "undo", run_of(result), "--yes")
    assert contacts(seqdev, "resume", PHONE)["summary"]["changed"] == 4
    assert snapshot(host) == before
    assert contacts(seqdev, "resume", PHONE, code=3)["summary"]["changed"] == 0


def test_resume_refuses_a_step_that_another_processor_has_written(
    scene: Scene, host: Host, seqdev: Cli
) -> None:
    stop(seqdev, PHONE, "--sequence", "second")
    message(host, scene.elsewhere, scene.device, own=False)
    result = contacts(seqdev, "resume", PHONE, code=3)
    assert [row["refused"] for row in result["refused"]] == ["message_exists"]
    assert status(host, scene.elsewhere) == "stopped"


# Beside ticks


def test_what_a_tick_is_doing_when_it_is_stopped_is_stopped_as_well(
    host: Host, seqdev: Cli, database: str, connect: Connect
) -> None:
    user = host.user()
    device = host.device(user)
    sequence, steps = host.simple_sequence(user, steps=2)
    host.contact(sequence, steps[0], PHONE, device)
    go_on = halt(host, connect, database)
    ticks = Ticks(database)
    try:
        tick = ticks.start()
        until(
            lambda: host.value("select count(*) from pg_stat_activity where wait_event = 'PgSleep'"), "a tick"
        )
        command = ["contacts", "stop", PHONE, "--why", WHY, "--yes"]
        environment = os.environ | {"SEQDEV_DATABASE_URL": database}
        stopping = Forked(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        until(
            lambda: host.value(
                "select count(*) from pg_stat_activity"
                " where application_name ~ '^seqdev contacts' and wait_event_type = 'Lock'"
            ),
            "a row that the tick holds",
        )
        go_on()
        assert ticks.end(tick)["queued"] == 1
        _, err = stopping.communicate(timeout=60)
    finally:
        ticks.kill_all()
    assert stopping.returncode == 0, err
    assert "a tick or a sender that was faster" in err
    assert host.rows("select status from broadcast_messages") == [("cancelled",)]
    assert sorted(row.status for row in host.rows("select status from sequence_contacts")) == [
        "completed",
        "stopped",
    ]
    assert host.broken_promises() == []


@pytest.mark.thorough
def test_nothing_is_queued_after_the_stop_whatever_ticks_overlap(
    host: Host, seqdev: Cli, database: str, connect: Connect, seed: int, without_delay: None
) -> None:
    chance = random.Random(seed)
    user = host.user()
    device = host.device(user)
    sequence, steps = host.simple_sequence(user, steps=8)
    host.rows("update sequence_steps set trigger_delay_hours = 0")
    host.rule("default_delay", "0s")
    phones = [f"60173527{number:03}" for number in range(40)]
    for phone in phones:
        host.contact(sequence, steps[0], phone, device)
    # So that they are at it when somebody is stopped.
    slow(host, "broadcast_messages", "insert", 0.01)
    ticks = Ticks(database)
    session = Host(connect(database))

    def ticking(ended: threading.Event) -> None:
        while not ended.is_set():
            both = [ticks.start("--batch-size", chance.choice((1, 7, 50))) for _ in range(2)]
            for one in both:
                ticks.end(one)

    left: dict[str, Any] = {}
    with in_background(ticking):
        until(lambda: session.value("select count(*) from broadcast_messages"), "the first messages")
        for phone in chance.sample(phones, 6):
            time.sleep(chance.uniform(0, 0.3))
            assert seqdev("contacts", "stop", phone, "--why", WHY, "--yes").code in (0, 3)
            left[phone] = session.rows(
                "select id, status from broadcast_messages where recipient_phone = %s order by id", phone
            )
            assert {row.status for row in left[phone]} <= {"cancelled"}
    ticks.kill_all()
    assert seqdev("tick").code == 0
    for phone, messages in left.items():
        assert messages == host.rows(
            "select id, status from broadcast_messages where recipient_phone = %s order by id", phone
        )
        assert not host.rows(
            "select 1 from sequence_contacts where contact_phone = %s and status = 'active'", phone
        )
    assert host.broken_promises() == []


# A step that is passed over


def test_a_skipped_step_gives_way_to_the_following_one(scene: Scene, host: Host, seqdev: Cli) -> None:
    before = snapshot(host)
    result = contacts(seqdev, "skip", PHONE, "--sequence", "warm")
    (row,) = host.rows(
        "select *, next_trigger_time at time zone 'UTC' - now() as due_in from sequence_contacts where id = %s",
        scene.waits,
    )
    assert (row.sequence_stepid, row.current_step, row.current_trigger, row.status) == (
        scene.steps[2],
        3,
        "WARM_3",
        "active",
    )
    assert timedelta(hours=23, minutes=58) < row.due_in <= timedelta(hours=24)
    assert run(seqdev, "audit", "contacts", code=0)["contacts"] == []
    run(seqdev, "repair", "undo", run_of(result), "--yes")
    assert snapshot(host) == before


def test_after_the_last_step_the_person_ends(scene: Scene, host: Host, seqdev: Cli) -> None:
    before = snapshot(host)
    skipped = {"status": "stopped", "last_error": "skipped: the step was passed over"}
    with only(host, on(scene.elsewhere, skipped)):
        result = contacts(seqdev, "skip", PHONE, "--sequence", "second")
    assert run(seqdev, "audit", "contacts", code=0)["contacts"] == []
    assert contacts(seqdev, "resume", PHONE, code=3)["summary"]["changed"] == 0
    run(seqdev, "repair", "undo", run_of(result), "--yes")
    assert snapshot(host) == before


@past_the_stopped
def test_a_row_made_beforehand_becomes_active_when_the_step_before_is_skipped(
    scene: Scene, host: Host, seqdev: Cli
) -> None:
    later = scene.row(PHONE, 2, "pending")
    result = contacts(seqdev, "skip", PHONE, "--sequence", "warm")
    assert {row["row_id"]: row["why"] for row in result["rows"]} == {
        str(scene.waits): "skipped",
        str(later): "follows",
    }
    assert [status(host, row) for row in (scene.waits, later)] == ["stopped", "active"]
    assert host.value(
        "select next_trigger_time at time zone 'UTC' > now() + interval '23 hours' from sequence_contacts"
        " where id = %s",
        later,
    )
    assert run(seqdev, "audit", "contacts", code=0)["contacts"] == []
    host.make_all_due()
    assert seqdev("tick").code == 0
    assert status(host, later) == "completed"
    assert host.broken_promises() == []
    undone = run(seqdev, "repair", "undo", run_of(result), "--yes", code=3)
    assert {row["row_id"]: row["refused"] for row in undone["refused"]} == {
        str(scene.waits): "done_since",
        str(later): "changed_since",
    }
    assert host.broken_promises() == []


def test_nobody_is_skipped_who_has_nothing_active_there(scene: Scene, host: Host, seqdev: Cli) -> None:
    with only(host, {}):
        ran = seqdev("contacts", "skip", "60173527999", "--sequence", "warm", "--yes")
    assert ran.code == 3
    assert "no step is to come for that phone" in ran.err
