"""SIGTERM and SIGINT end a process within five seconds, what it writes at a batch boundary."""

import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.world.command import ROOT, Cli, Start, command, hear
from tests.world.host import Connect, Host
from tests.world.obstacles import slow
from tests.world.sessions import at_work
from tests.world.waiting import until

AT_ONCE = 3.0
"""Seconds: less than the grace of a batch."""

NUMBERS = [signal.SIGTERM, signal.SIGINT]


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a process that must end within five seconds, or so on a busy machine."""
    out, err = process.communicate(timeout=10)
    assert "Traceback" not in err
    return process.returncode, out, err


def people(host: Host, number: int, trigger: str = "") -> None:
    """A user, device A with that many leads, who are due in a sequence, and device B."""
    user = host.user()
    device = host.device(user, "A")
    host.device(user, "B")
    sequence, (step, _) = host.simple_sequence(user, steps=2)
    for i in range(number):
        host.lead(user, device, f"6012345{i:04}", trigger)
        if not trigger:
            host.contact(sequence, step, f"6012345{i:04}", device)


@pytest.mark.thorough
@pytest.mark.parametrize("number", NUMBERS)
def test_a_tick_ends_between_two_batches_with_its_account_and_its_end_in_the_journal(
    host: Host, start: Start, number: signal.Signals
) -> None:
    people(host, 200)
    slow(host, "broadcast_messages", "insert", 0.03)
    process = start("tick", "--batch-size", "2", "--format", "csv")
    until(lambda: host.value("select count(*) from broadcast_messages") >= 4, "two batches", process=process)
    process.send_signal(number)
    code, out, err = ended(process)
    assert code == 128 + number
    assert err == f"seqdev: ended by {number.name}\n"
    queued = host.value("select count(*) from broadcast_messages")
    assert 4 <= queued < 200
    assert not host.broken_promises()
    names, values = (line.split(",") for line in out.splitlines())
    summary = dict(zip(names, values, strict=True))
    assert (summary["queued"], summary["due"]) == (str(queued), "")
    (run,) = host.rows("select * from seqdev.run")
    assert (run.exit_code, run.reason, run.counts["queued"]) == (code, f"ended by {number.name}", queued)
    assert run.finished_at
    assert not at_work(host)


def test_every_command_that_writes_ends_at_its_next_batch(host: Host, start: Start, seqdev: Cli) -> None:
    people(host, 60, trigger="WARM")
    slow(host, "leads", "update", 0.03)
    process = start("repair", "device", "A", "--to", "B", "--yes", "--batch-size", "2", "--format", "json")
    until(lambda: host.value("select count(*) from seqdev.change") >= 4, "two batches", process=process)
    process.send_signal(signal.SIGTERM)
    code, out, err = ended(process)
    assert (code, '"dry_run": false' in out, "ended by SIGTERM" in err) == (143, True, True)
    done = host.value("select count(*) from seqdev.change")
    assert 4 <= done < 60
    (run,) = host.rows("select * from seqdev.run")
    assert (run.exit_code, run.counts["changed"]) == (143, done)
    # And so does the way back.
    host.rows("update leads set name = 'x' where false")
    process = start("repair", "undo", str(run.id), "--yes", "--batch-size", "1")
    until(
        lambda: host.value("select count(*) from seqdev.change") > done + 1,
        "two batches of the undo",
        process=process,
    )
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 130
    assert host.value("select count(*) from seqdev.change") < 2 * done or done < 5


def test_an_import_that_is_being_read_ends_at_once_and_imports_nothing(host: Host, start: Start) -> None:
    user = host.user()
    host.device(user, "A")
    process = start("leads", "import", "-", "--user", str(user), "--device", "A")
    assert process.stdin
    process.stdin.write("phone\n" + "".join(f"6012345{i:04}\n" for i in range(5000)))
    process.stdin.flush()
    until(
        lambda: host.rows("select 1 from seqdev.run") and at_work(host),
        "the import to begin",
        process=process,
    )
    time.sleep(0.1)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=10)
    assert time.monotonic() - began < AT_ONCE
    process.stdin = None
    assert ended(process) == (143, "", "seqdev: ended by SIGTERM\n")
    assert host.value("select count(*) from leads") == 0
    assert host.rows("select exit_code, reason from seqdev.run") == [(143, "ended by SIGTERM")]
    assert not at_work(host)


def test_an_idle_tick_ends_at_once(host: Host, start: Start, connect: Connect, database: str) -> None:
    """It waits for devices that another tick holds."""
    people(host, 1)
    other = connect(database)
    other.execute("begin")
    other.execute("select pg_advisory_xact_lock(hashtextextended('seqdev user ' || id, 0)) from users")
    process = start("tick")
    until(lambda: host.rows("select 1 from seqdev.run"), "the tick to begin", process=process)
    time.sleep(0.2)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 130
    assert time.monotonic() - began < AT_ONCE
    assert host.value("select exit_code from seqdev.run") == 130


@pytest.mark.parametrize("number", NUMBERS)
def test_what_only_reads_ends_at_once_and_leaves_no_query_behind(
    host: Host, start: Start, connect: Connect, database: str, number: signal.Signals
) -> None:
    other = connect(database)
    other.execute("begin")
    other.execute("lock table broadcast_messages")
    for argv in (["audit", "mismatches"], ["tick", "--dry-run"], ["explain", "6012345678"]):
        process = start(*argv, SEQDEV_LOCK_TIMEOUT="60s")
        until(lambda: at_work(host), "the command to ask", process=process)
        began = time.monotonic()
        process.send_signal(number)
        assert ended(process) == (128 + number, "", f"seqdev: ended by {number.name}\n")
        assert time.monotonic() - began < AT_ONCE
        until(lambda: not at_work(host), "the sessions to end")


@pytest.mark.thorough
def test_a_batch_that_takes_too_long_is_rolled_back(
    host: Host, start: Start, connect: Connect, database: str, tmp_path: Path, server: str
) -> None:
    """Blocked by somebody else's lock; and on a server that has fallen silent."""
    people(host, 3, trigger="WARM")
    people(host, 3)
    file = tmp_path / "leads.csv"
    file.write_text("phone\n60123458888\n")
    user = str(host.value("select user_id from leads limit 1"))
    until(lambda: not at_work(host), "the sessions to end")
    other = connect(database)
    other.execute("begin")
    other.execute("lock table broadcast_messages in exclusive mode")
    other.execute("lock table leads in exclusive mode")
    other.execute("lock table sequence_contacts in exclusive mode")
    before = host.value("select count(*) from leads"), host.value("select count(*) from sequence_contacts")
    patient = {"SEQDEV_LOCK_TIMEOUT": "60s"}
    processes = {
        "tick": start("tick", **patient),
        "enroll": start("enroll", "--yes", **patient),
        "leads import": start("leads", "import", str(file), "--user", user, "--device", "A", **patient),
    }
    blocked = (
        "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    )
    until(lambda: len(host.rows(blocked)) == len(processes), "all of them to be stopped")
    silent = host.value(
        "select pid from pg_stat_activity where application_name ~ '^seqdev tick' and datname = current_database()"
    )
    os.kill(silent, signal.SIGSTOP)
    try:
        began = time.monotonic()
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
        for process in processes.values():
            code, _, err = ended(process)
            assert (code, err.splitlines()[-1]) == (143, "seqdev: ended by SIGTERM")
        print(f"ended after {time.monotonic() - began:.1f} s")
        assert time.monotonic() - began > AT_ONCE
    finally:
        os.kill(silent, signal.SIGCONT)
    other.execute("rollback")
    until(lambda: not at_work(host), "the sessions to end")
    assert (
        host.value("select count(*) from leads"),
        host.value("select count(*) from sequence_contacts"),
    ) == before
    assert host.value("select count(*) from broadcast_messages") == 0
    ends = {row.command: row.exit_code for row in host.rows("select command, exit_code from seqdev.run")}
    assert ends == dict.fromkeys(processes, 143)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_question_is_answered_by_a_signal_and_nothing_is_changed(
    host: Host, database: str, number: signal.Signals
) -> None:
    people(host, 1)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("repair", "device", "A", "--to", "B"),
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        preexec_fn=hear,
    )
    os.close(theirs)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(ours, 4096)
    time.sleep(0.1)
    process.send_signal(number)
    out, _ = process.communicate(timeout=10)
    assert (process.returncode, out.strip()) == (128 + number, b"")
    assert os.read(ours, 4096).decode().strip() == f"seqdev: ended by {number.name}"
    os.close(ours)
    assert host.rows("select 1 from seqdev.run") == []
