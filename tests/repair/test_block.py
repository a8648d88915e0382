"""A list of phones that are never written to: whoever makes rows for them, and whenever, nothing leaves."""

import random
import subprocess
import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.world.command import Cli
from tests.world.host import Connect, Host
from tests.world.obstacles import slow
from tests.world.repairs import run, run_of, snapshot
from tests.world.ticks import Ticks
from tests.world.waiting import in_background, until

PHONE = "60173527172"
WRITTEN = (PHONE, "+60 17-352 7172", "0060173527172", f"{PHONE}@s.whatsapp.net", f"{PHONE}:12@s.whatsapp.net")
WHY = "asked by mail"


class Scene:
    """A user with a device and a sequence of two steps."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.user = host.user()
        self.device = host.device(self.user, "A")
        self.sequence, self.steps = host.simple_sequence(self.user, steps=2)

    def active(self, phone: str) -> UUID:
        return self.host.contact(self.sequence, self.steps[0], phone, self.device, current_step=1)


@pytest.fixture
def scene(host: Host) -> Scene:
    return Scene(host)


def block(seqdev: Cli, *phones: object, code: int = 0) -> Any:
    return run(seqdev, "block", "add", *phones, "--why", WHY, "--yes", code=code)


def listed(host: Host) -> list[Any]:
    return host.rows(
        "select digits, user_id, why from seqdev.blocked where since is not null order by digits"
    )


def statuses(host: Host) -> list[str]:
    return [row.status for row in host.rows("select status from sequence_contacts order by contact_phone")]


@pytest.mark.parametrize("written", WRITTEN)
def test_a_blocked_phone_is_stopped_and_never_enrolled_in_any_spelling(
    scene: Scene, host: Host, seqdev: Cli, written: str
) -> None:
    waits = scene.active(written)
    host.simple_sequence(scene.user, "COLD")
    host.rows("delete from leads")
    host.lead(scene.user, scene.device, written, "COLD")
    result = block(seqdev, "+60 (17) 352-7172")
    assert listed(host) == [(PHONE, None, WHY)]
    assert host.rows("select status, last_error from sequence_contacts where id = %s", waits) == [
        ("stopped", f"blocked: {WHY}")
    ]
    for argv in (["--dry-run"], ["--yes"]):
        enrolled = run(seqdev, "enroll", *argv, code=3)
        assert [row["reason"] for row in enrolled["refused"]] == ["blocked"]
    assert host.value("select count(*) from sequence_contacts") == 1
    assert result["summary"]["changed"] == 2


def test_only_the_people_of_the_user_named_are_blocked(scene: Scene, host: Host, seqdev: Cli) -> None:
    other = host.user()
    theirs, _ = host.simple_sequence(other, "THEIRS")
    host.lead(other, host.device(other), PHONE, "THEIRS")
    host.lead(scene.user, scene.device, PHONE, "WARM")
    block(seqdev, PHONE, "--user", scene.user)
    enrolled = run(seqdev, "enroll", "--yes", code=3)
    assert [row["reason"] for row in enrolled["refused"]] == ["blocked"]
    assert host.value("select sequence_id from sequence_contacts") == theirs


@pytest.mark.parametrize("written", WRITTEN)
def test_what_the_host_makes_later_is_stopped_before_a_tick_sends(
    scene: Scene, host: Host, seqdev: Cli, written: str
) -> None:
    block(seqdev, PHONE)
    row = scene.active(written)
    fine = scene.active("60173527173")
    assert seqdev("tick").code == 0
    assert host.rows("select recipient_phone from broadcast_messages") == [("60173527173",)]
    assert host.rows("select status, last_error from sequence_contacts where id = %s", row) == [
        ("stopped", f"blocked: {WHY}")
    ]
    journal = host.rows("select column_name, old_value, new_value from seqdev.change where row_id = %s", row)
    assert sorted(journal) == [
        ("last_error", None, f"blocked: {WHY}"),
        ("status", "active", "stopped"),
    ]
    assert host.value("select status from sequence_contacts where id = %s", fine) == "completed"


def test_a_national_spelling_of_the_region_is_stopped_too(scene: Scene, host: Host, seqdev: Cli) -> None:
    host.rule("region", "MY")
    block(seqdev, "017-352 7172")
    assert [row.digits for row in listed(host)] == [PHONE]
    scene.active("0173527172")
    scene.active("017 352 7172")
    assert seqdev("tick").code == 0
    assert host.value("select count(*) from broadcast_messages") == 0
    assert statuses(host) == ["stopped", "stopped"]


def test_a_row_of_another_user_is_none_of_a_users_list(scene: Scene, host: Host, seqdev: Cli) -> None:
    block(seqdev, PHONE, "--user", host.user())
    scene.active(PHONE)
    assert seqdev("tick").code == 0
    assert statuses(host)[0] == "completed"


def test_a_file_of_phones_and_what_is_none(
    scene: Scene, host: Host, seqdev: Cli, tmp_path: Path, process: Cli
) -> None:
    file = tmp_path / "phones"
    file.write_text(f"\ufeff{PHONE}\n\n+60 17-352 7173\n{PHONE}\n")
    block(seqdev, "60173527174", "--file", file)
    assert [row.digits for row in listed(host)] == [PHONE, "60173527173", "60173527174"]
    file.write_text(f"{PHONE}\nnobody\n")
    before = snapshot(host)
    for argv, complaint in (
        (["--file", file], "line 2 of the file is no phone"),
        ([], "which phones?"),
        (["0173527172"], "begins with 0"),
        ([PHONE, "12"], "PHONE 2 is no phone"),
    ):
        ran = seqdev("block", "add", *argv, "--why", WHY, "--yes")
        assert (ran.code, ran.out) == (2, "")
        assert complaint in ran.err
        assert "nobody" not in ran.err
    assert snapshot(host) == before
    assert process("block", "add", PHONE, "--why", WHY).code == 0  # nothing to change: nothing to ask
    assert process("block", "add", "60173527175", "--why", WHY).code == 2


def test_the_list_is_shown_and_shortened(scene: Scene, host: Host, seqdev: Cli) -> None:
    assert "no phone is blocked" in seqdev("block", "list").err
    block(seqdev, *(f"601735271{number:02}" for number in range(25)))
    ran = seqdev("block", "list")
    assert "25 phones, 20 shown: --limit, or --all" in ran.err
    rows = run(seqdev, "block", "list", "--all")
    assert len(rows) == 25
    assert {(row["why"], row["user_id"]) for row in rows} == {(WHY, None)}
    assert "60173527100" not in seqdev("--mask", "block", "list", "--all").out


def test_queued_messages_are_cancelled_or_kept(scene: Scene, host: Host, seqdev: Cli) -> None:
    scene.active(PHONE)
    assert seqdev("tick").code == 0
    block(seqdev, PHONE, "--keep-queued")
    assert host.value("select status from broadcast_messages") == "pending"
    block(seqdev, PHONE)
    assert host.rows("select status, error_message from broadcast_messages") == [
        ("cancelled", f"blocked: {WHY}")
    ]


def test_undo_of_a_block_brings_all_back(scene: Scene, host: Host, seqdev: Cli) -> None:
    scene.active(PHONE)
    assert seqdev("tick").code == 0
    scene.active("+60 17 352 7173")
    before = snapshot(host)
    stopped = run_of(block(seqdev, PHONE, "60173527173"))
    undone = run_of(run(seqdev, "repair", "undo", stopped, "--yes"))
    assert snapshot(host) == before
    assert listed(host) == []
    # And again: an undo is a run that can be undone.
    run(seqdev, "repair", "undo", undone, "--yes")
    assert [row.digits for row in listed(host)] == [PHONE, "60173527173"]
    assert set(statuses(host)) == {"completed", "stopped"}


def test_who_is_no_longer_blocked_is_resumed_by_name(scene: Scene, host: Host, seqdev: Cli) -> None:
    scene.active(PHONE)
    before = snapshot(host)
    block(seqdev, PHONE)
    refused = run(seqdev, "contacts", "resume", PHONE, "--yes", code=3)
    assert [row["refused"] for row in refused["refused"]] == ["blocked"]
    ran = seqdev("block", "remove", PHONE, "--yes")
    assert ran.code == 0
    assert "seqdev contacts resume PHONE" in ran.err
    assert listed(host) == []
    assert statuses(host) == ["stopped"]
    run(seqdev, "contacts", "resume", PHONE, "--yes")
    assert snapshot(host) == before
    ran = seqdev("block", "remove", PHONE, "--yes")
    assert ran.code == 3
    assert "none of these phones is blocked" in ran.err
    assert "contacts resume" not in ran.err
    # On the list again, by the same row.
    block(seqdev, PHONE)
    assert host.value("select count(*) from seqdev.blocked") == 1


def test_an_undo_does_not_bring_back_what_is_blocked_since(scene: Scene, host: Host, seqdev: Cli) -> None:
    scene.active(PHONE)
    assert seqdev("tick").code == 0
    stopped = run_of(run(seqdev, "contacts", "stop", PHONE, "--why", "x", "--yes"))
    block(seqdev, PHONE)
    result = run(seqdev, "repair", "undo", stopped, "--yes", code=3)
    assert {row["refused"] for row in result["refused"]} == {"blocked"}
    assert host.value("select status from broadcast_messages") == "cancelled"


def test_explain_says_since_when_and_why(scene: Scene, host: Host, seqdev: Cli) -> None:
    host.lead(scene.user, scene.device, PHONE, "WARM")
    block(seqdev, PHONE)
    told = seqdev("explain", "+60 17-352 7172").out
    assert "for everybody" in told
    assert WHY in told
    assert "not enrolled in warm: blocked" in told
    (found,) = run(seqdev, "explain", PHONE)["blocked"]
    assert found["why"] == WHY
    # Also of whom nothing else is known.
    block(seqdev, "60173527999")
    assert seqdev("explain", "60173527999").code == 0


def test_an_import_says_how_many_are_blocked(scene: Scene, host: Host, seqdev: Cli, tmp_path: Path) -> None:
    block(seqdev, PHONE)
    file = tmp_path / "leads.csv"
    file.write_text("phone,trigger\n+60 17-352 7172,WARM\n60173527173,WARM\n")
    for argv in (["--dry-run"], []):
        ran = seqdev("leads", "import", file, "--user", scene.user, "--device", "A", *argv)
        assert ran.code == 0
        assert "1 person of the file is blocked" in ran.err
    assert host.value("select count(*) from leads") == 2
    assert seqdev("enroll", "--yes").code == 3
    assert host.value("select contact_phone from sequence_contacts") == "60173527173"


def test_a_dry_run_of_a_tick_says_whom_it_would_stop(scene: Scene, host: Host, seqdev: Cli) -> None:
    block(seqdev, PHONE)
    scene.active(PHONE)
    assert "1 of these rows are of blocked phones" in seqdev("tick", "--dry-run").err
    assert statuses(host) == ["active"]


def test_before_the_upgrade_everything_reads_and_nothing_writes(
    scene: Scene, host: Host, seqdev: Cli
) -> None:
    scene.active(PHONE)
    host.rows("drop table seqdev.blocked")
    for argv in (["tick", "--dry-run"], ["enroll", "--dry-run"], ["explain", PHONE], ["audit", "contacts"]):
        assert seqdev(*argv).code == 0, argv
    for argv in (["tick"], ["enroll", "--yes"], ["block", "add", PHONE, "--why", WHY, "--yes"]):
        assert seqdev(*argv).code == 10, argv
    assert seqdev("db", "upgrade", "--yes").code == 0
    block(seqdev, PHONE)


def test_a_trigger_of_the_hosts_keeps_one_row_and_not_the_others(
    scene: Scene, host: Host, seqdev: Cli
) -> None:
    block(seqdev, PHONE, "60173527173")
    for phone in (PHONE, "60173527173"):
        scene.active(phone)
    host.rows(
        "create function no() returns trigger language plpgsql as"
        " $$ begin if new.contact_phone = '60173527172' and new.status = 'stopped' then raise 'no'; end if;"
        " return new; end $$"
    )
    host.rows("create trigger no before update on sequence_contacts for each row execute function no()")
    ran = seqdev("tick")
    assert ran.code == 3
    assert "1 row of blocked phones could not be stopped" in ran.err
    assert statuses(host)[-1] == "stopped"


# Beside others


def test_an_enrolment_that_is_under_way_is_waited_for(
    scene: Scene, host: Host, seqdev: Cli, database: str, connect: Connect, start: Any
) -> None:
    host.lead(scene.user, scene.device, PHONE, "WARM")
    # Between what it reads of the list and its end.
    slow(host, "sequence_contacts", "insert", 1.0)
    enrolling: subprocess.Popen[str] = start("enroll", "--yes")
    until(
        lambda: host.value("select count(*) from pg_stat_activity where wait_event = 'PgSleep'"),
        "an enrolment",
    )
    block(seqdev, PHONE)
    assert enrolling.wait(60) == 0
    assert statuses(host) == ["stopped"]


@pytest.mark.thorough
def test_nothing_is_queued_after_the_block_whatever_overlaps(
    host: Host, seqdev: Cli, database: str, connect: Connect, seed: int, without_delay: None
) -> None:
    chance = random.Random(seed)
    scene = Scene(host)
    host.rows("update sequence_steps set trigger_delay_hours = 0")
    phones = [f"60173527{number:03}" for number in range(40)]
    for phone in phones:
        host.lead(scene.user, scene.device, chance.choice((phone, f"+{phone}")), "WARM")
    slow(host, "broadcast_messages", "insert", 0.01)
    ticks = Ticks(database)
    session = Host(connect(database))

    def working(ended: threading.Event) -> None:
        enrolling = 0
        while not ended.is_set():
            session.rows("update leads set trigger = 'WARM' where phone like %s", f"%{enrolling % 10}")
            enrolling += 1
            both = [ticks.start("--batch-size", chance.choice((1, 7, 50))) for _ in range(2)]
            for one in both:
                ticks.end(one)

    look = Host(connect(database))
    left: dict[str, Any] = {}
    pending = "select id, status from broadcast_messages where recipient_phone like %s order by id"
    with in_background(working):
        for some in (phones[:10], phones[10:20]):
            assert seqdev("enroll", "--yes").code in (0, 3)
            until(lambda: look.value("select count(*) from broadcast_messages"), "the first messages")
            time.sleep(chance.uniform(0, 0.3))
            ran = seqdev("block", "add", *some, "--why", WHY, "--yes")
            assert ran.code == 0, ran.err
            for phone in some:
                left[phone] = look.rows(pending, f"%{phone}")
                assert {row.status for row in left[phone]} <= {"cancelled"}
    assert seqdev("enroll", "--yes").code in (0, 3)
    assert seqdev("tick").code == 0
    for phone, messages in left.items():
        assert messages == host.rows(pending, f"%{phone}")
    assert host.broken_promises() == []
