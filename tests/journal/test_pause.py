"""The pause switch: whoever writes stops at the next batch, on every host, and nothing runs when pause returns."""

import json
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.world.command import ROOT, Cli, Start, command
from tests.world.host import Connect, Host
from tests.world.obstacles import halt, slow
from tests.world.sessions import stopped
from tests.world.waiting import until
from tests.world.writing import WRITING

TABLES = ("leads", "sequence_contacts", "broadcast_messages", "seqdev.change")


def contents(host: Host) -> dict[str, Any]:
    return {
        table: host.value(f"select coalesce(jsonb_agg(t order by t.id), '[]') from {table} t")
        for table in TABLES
    }


@pytest.mark.cases(3)
@pytest.mark.parametrize("words", WRITING)
def test_paused_it_writes_nothing_and_says_who_why_and_what_to_do_and_resumed_it_writes(
    host: Host, seqdev: Cli, world: Callable[[str], list[str]], words: str
) -> None:
    before = contents(host)
    ran = seqdev("pause", "--why", "the host is being moved")
    assert (ran.code, ran.out) == (0, "")
    assert "the host is being moved" in ran.err
    runs = host.value("select count(*) from seqdev.run")
    ran = seqdev(*world(words))
    assert ran.code == 4
    first, second = ran.err.splitlines()[-2:]
    assert first.startswith("seqdev: paused since 20")
    assert first.endswith("(postgres): the host is being moved")
    assert second == "seqdev: nothing more is written; to go on: seqdev resume"
    assert contents(host) == before
    (run,) = host.rows("select * from seqdev.run order by started_at desc limit 1")
    assert host.value("select count(*) from seqdev.run") == runs + 1
    assert (run.exit_code, run.reason.startswith("paused since")) == (4, True)
    assert seqdev("resume").err == "seqdev: the pause is lifted\n"
    assert seqdev(*world(words)).code in (0, 3)
    assert contents(host) != before
    assert not host.broken_promises()


@pytest.mark.thorough
def test_what_only_reads_goes_on_while_paused(
    host: Host, seqdev: Cli, world: Callable[[str], list[str]]
) -> None:
    seqdev("pause", "--why", "x")
    for words in (*WRITING, "audit all", "explain 60123450001", "runs", "repair list", "db check"):
        if "PLAN" in words or words == "repair undo RUN --yes":
            continue
        arguments = world(words)
        if words in WRITING:
            arguments = [*(one for one in arguments if one != "--yes"), "--dry-run"]
        assert seqdev(*arguments).code in (0, 3), words
    assert seqdev("db", "upgrade", "--yes").code == 0


@pytest.mark.thorough
def test_in_the_middle_of_a_tick_what_is_committed_stays_and_is_journaled(
    host: Host, start: Start, seqdev: Cli
) -> None:
    user = host.user()
    device = host.device(user, "A")
    sequence, (step, _) = host.simple_sequence(user, steps=2)
    for number in range(100):
        host.contact(sequence, step, f"601234500{number:02}", device)
    slow(host, "broadcast_messages", "insert", 0.03)
    process = start("tick", "--batch-size", "2", "--format", "json")
    until(lambda: host.value("select count(*) from broadcast_messages") >= 4, "two batches", process=process)
    assert seqdev("pause", "--why", "enough").code == 0
    # Pause has returned: nobody writes any more.
    queued = host.value("select count(*) from broadcast_messages")
    out, err = process.communicate(timeout=10)
    assert (process.returncode, json.loads(out)["queued"]) == (4, queued)
    assert "enough" in err
    assert host.value("select count(*) from broadcast_messages") == queued
    assert 4 <= queued < 100
    assert not host.broken_promises()
    (run,) = host.rows("select * from seqdev.run")
    assert (run.exit_code, run.counts["queued"]) == (4, queued)


@pytest.mark.thorough
def test_pause_waits_for_a_batch_that_has_not_seen_it(
    host: Host, seqdev: Cli, start: Start, connect: Connect, database: str
) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "6012345678", host.device(user))
    go_on = halt(host, connect, database)
    tick = start("tick")
    until(lambda: stopped(host) == 1, "the tick to be stopped", process=tick)
    ran = seqdev("pause", "--why", "x", "--wait", "1s")
    assert ran.code == 13
    *_, last, hint = ran.err.splitlines()
    assert last.startswith(
        "seqdev: the pause is set, but a batch that began before it still runs: seqdev tick "
    )
    assert "run seqdev pause again" in hint
    assert any(
        line.startswith("seqdev: waiting for what still runs: seqdev tick") for line in ran.err.splitlines()
    )
    # The pause is set, and the one who waits longer sees the batch end.
    pausing = start("pause", "--why", "y")
    time.sleep(0.6)
    assert pausing.poll() is None
    go_on()
    assert pausing.wait(timeout=20) == 0
    assert host.value("select count(*) from broadcast_messages") == 1, "the batch ended before pause did"
    # Its batch was all that it had to do, so that it ended well or at the next one.
    assert tick.wait(timeout=20) == 4


def test_a_batch_about_to_look_is_waited_for_or_sees_the_pause(
    host: Host, seqdev: Cli, connect: Connect, database: str
) -> None:
    """The lock comes before the look: in between, pause does not return."""
    batch = connect(database)
    batch.execute("begin")
    batch.execute("select pg_advisory_xact_lock_shared(1936028004, 1885435251)")
    assert seqdev("pause", "--why", "x", "--wait", "0s").code == 13
    assert batch.execute("select why from seqdev.pause where resumed_at is null").fetchall() == [("x",)]
    batch.execute("rollback")
    assert seqdev("pause", "--why", "x", "--wait", "0s").code == 0


def test_every_transaction_of_a_writer_that_writes_holds_the_lock_and_looks(
    host: Host, seqdev: Cli, world: Callable[[str], list[str]]
) -> None:
    """A look after the write would do the first test's bidding: here the write itself sees the lock."""
    host.rows(
        "create function locked() returns trigger language plpgsql as $$ begin"
        " if not exists (select 1 from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'"
        "   and objid = 1885435251 and granted) then raise exception 'no batch'; end if; return null; end $$"
    )
    # seqdev refuses triggers of others on its own tables.
    for table in TABLES[:-1]:
        host.rows(
            f"create trigger locked after insert or update on {table} for each statement execute function locked()"
        )
    for words in WRITING[:-1]:
        assert seqdev(*world(words)).code in (0, 3), words
    with pytest.raises(psycopg.errors.RaiseException):
        host.rows("update leads set name = name")


def test_the_first_pause_stays_with_its_reason_until_it_is_lifted(host: Host, seqdev: Cli) -> None:
    assert seqdev("resume").err == "seqdev: nothing was paused\n"
    assert seqdev("pause", "--why", "the first").code == 0
    ran = seqdev("pause", "--why", "the second")
    assert ran.code == 0
    assert ran.err.startswith("seqdev: paused already, nothing changed: since ")
    assert "the first" in ran.err
    assert seqdev("resume").code == 0
    assert seqdev("pause", "--why", "the third").code == 0
    kept = host.rows("select why, resumed_by is null as set from seqdev.pause order by paused_at")
    assert kept == [("the first", False), ("the third", True)]


def test_of_many_pauses_at_once_one_is_set(host: Host, start: Start) -> None:
    processes = [start("pause", "--why", str(number)) for number in range(4)]
    assert [process.wait(timeout=30) for process in processes] == [0, 0, 0, 0]
    assert host.value("select count(*) from seqdev.pause") == 1


def test_before_the_upgrade_it_says_which_command_helps(host: Host, seqdev: Cli) -> None:
    host.rows("drop table seqdev.pause")
    for arguments in (["pause", "--why", "x"], ["resume"]):
        ran = seqdev(*arguments)
        assert (ran.code, ran.out) == (10, "")
        assert ran.err.splitlines()[-1] == "seqdev: make it: seqdev db upgrade"
    assert seqdev("tick").code == 10
    assert seqdev("db", "upgrade", "--yes").code == 0
    assert seqdev("pause", "--why", "x").code == 0


@pytest.mark.parametrize("arguments", [["pause"], ["pause", "--why", " "], ["pause", "--why"]])
def test_a_pause_without_a_reason_is_wrong_usage(host: Host, seqdev: Cli, arguments: list[str]) -> None:
    assert seqdev(*arguments).code == 2
    assert host.value("select count(*) from seqdev.pause") == 0


def test_audits_check_and_nagios_say_that_it_is_paused(host: Host, seqdev: Cli) -> None:
    seqdev("tick")
    assert seqdev("audit", "all", "--nagios").code == 0
    seqdev("pause", "--why", "moving\x1b[31m | out")
    ran = seqdev("audit", "all", "--nagios")
    assert (ran.code, ran.out.count("|"), "\x1b" in ran.out) == (1, 1, False)
    assert ran.out.startswith("SEQDEV WARNING - paused by ")
    ran = seqdev("audit", "all")
    assert [line for line in ran.err.splitlines() if "moving" in line and "seqdev resume" in line]
    ran = seqdev("db", "check")
    assert (ran.code, "pause switch" in ran.out, "moving" in ran.out) == (3, True, True)


def test_paused_ticks_are_no_sign_of_life(host: Host, seqdev: Cli) -> None:
    # Where nobody is enrolled, no tick need have been.
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "6012345678", host.device(user))
    seqdev("pause", "--why", "x")
    assert seqdev("tick").code == 4
    ran = seqdev("audit", "all", "--nagios")
    assert (ran.code, "last tick never" in ran.out) == (2, True)


@pytest.mark.load
def test_between_pause_and_resume_nothing_is_written_however_many_ticks_run(
    host: Host, database: str, seqdev: Cli
) -> None:
    user = host.user()
    devices = [host.device(user) for _ in range(8)]
    sequence, (step,) = host.simple_sequence(user)
    host.rows(
        "insert into sequence_contacts (sequence_id, sequence_stepid, contact_phone, assigned_device_id, status, next_trigger_time)"
        " select %s, %s, '60123' || i, (%s::uuid[])[1 + i %% 8], 'active', now() - interval '1 minute' from generate_series(1, 20000) i",
        sequence,
        step,
        devices,
    )
    host.make_leads()
    done = threading.Event()

    def ticks() -> None:
        while not done.is_set():
            subprocess.run(command("tick", "--batch-size", "7"), capture_output=True, check=False, cwd=ROOT)

    threads = [threading.Thread(target=ticks) for _ in range(4)]
    for thread in threads:
        thread.start()
    written = []
    try:
        for _ in range(25):
            time.sleep(0.4)
            assert seqdev("pause", "--why", "x").code == 0
            before = host.value("select count(*) from broadcast_messages")
            time.sleep(0.2)
            assert host.value("select count(*) from broadcast_messages") == before
            assert seqdev("resume").code == 0
            written.append(before)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert len(set(written)) > 5, "the ticks did something in between"
    assert not host.broken_promises()
