"""A backlog is shared with workers, connections besides the run's own: quicker, and nothing else changes."""

import json
import signal
import subprocess
import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from seqdev.postgres.engine import Database
from seqdev.tick import backlog as batches
from seqdev.tick import worker
from tests.world import citus
from tests.world.backlog import MESSAGES, USERS, fill
from tests.world.command import Cli
from tests.world.forked import Forked
from tests.world.host import Host
from tests.world.obstacles import slow
from tests.world.waiting import until

DUE = 1_000
LARGE = 6_000
WRITERS = "select count(distinct writer) from broadcast_messages"
CONNECTIONS = 1 if citus.URL else 2
"""Of a tick with a backlog. On Citus one transaction at a time claims."""
TICKING = (
    "select count(*) from pg_stat_activity"
    " where datname = current_database() and application_name ~ '^seqdev tick'"
)
alone = pytest.mark.plain("a tick has one connection there: one transaction at a time claims")


@pytest.fixture
def backlog(host: Host) -> None:
    """Due contacts of forty users, at the first of two steps. A message tells which connection wrote it."""
    fill(host, DUE)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of twenty-five is a backlog."""
    monkeypatch.setattr(batches, "BACKLOG", 25)


def tick(seqdev: Cli, *options: object) -> tuple[int, dict[str, Any], str]:
    """Exit code, summary and stderr of a tick in batches of fifty."""
    ran = seqdev("tick", "--format", "json", "--batch-size", 50, *options)
    return ran.code, json.loads(ran.out), ran.err


@pytest.mark.thorough
@pytest.mark.cases(2)
@pytest.mark.usefixtures("soon", "backlog")
@pytest.mark.parametrize("policy", ["queue", "strict", "fallback", "reassign"])
def test_two_connections_share_a_backlog_and_one_summary_counts_it(
    host: Host, seqdev: Cli, policy: str
) -> None:
    code, summary, _ = tick(seqdev, "--policy", policy)
    assert (code, summary["due"], summary["queued"], summary["waiting"]) == (0, DUE, DUE, {})
    assert host.value(MESSAGES) == DUE
    assert host.value(WRITERS) == CONNECTIONS
    assert host.broken_promises() == []
    assert host.value("select count(*) from seqdev.run") == 1


@pytest.mark.thorough
@pytest.mark.usefixtures("soon", "backlog")
@pytest.mark.parametrize(
    ("options", "queued"), [(["--jobs", 1], DUE), (["--max-messages", 777], 777)], ids=["one job", "a number"]
)
def test_a_tick_of_one_job_or_of_so_many_messages_has_one_connection(
    host: Host, seqdev: Cli, options: list[object], queued: int
) -> None:
    code, summary, _ = tick(seqdev, *options)
    assert (code, summary["queued"], host.value(MESSAGES)) == (0, queued, queued)
    assert host.value(WRITERS) == 1


@pytest.mark.thorough
@pytest.mark.usefixtures("backlog")
def test_where_there_is_no_backlog_there_is_one_connection(host: Host, seqdev: Cli) -> None:
    code, summary, _ = tick(seqdev, "--jobs", 4)
    assert (code, summary["queued"]) == (0, DUE)
    assert host.value(WRITERS) == 1


@alone
@pytest.mark.thorough
@pytest.mark.usefixtures("soon", "backlog")
def test_what_the_database_refuses_is_quarantined_once_beside_a_worker(host: Host, seqdev: Cli) -> None:
    host.rows("alter table broadcast_messages add check (recipient_phone <> '6012014')")
    code, summary, err = tick(seqdev)
    assert (code, summary["queued"], summary["quarantined"]) == (3, DUE - USERS, USERS)
    assert f"{USERS} contacts quarantined: SQLSTATE 23514" in err
    assert host.broken_promises() == []


@pytest.mark.thorough
@pytest.mark.usefixtures("soon", "backlog")
def test_a_tick_goes_on_alone_where_a_worker_gets_no_connection(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(database: Database) -> Database:
        other = Database(database.settings, "tick", lambda _: None)
        other._conninfo = "host=/nonexistent"
        return other

    monkeypatch.setattr(Database, "another", nowhere)
    code, summary, err = tick(seqdev)
    assert (code, summary["queued"], err) == (0, DUE, "")
    assert host.value(WRITERS) == 1


@pytest.mark.thorough
@alone
@pytest.mark.usefixtures("soon", "backlog")
def test_what_nobody_expected_of_a_worker_is_an_error_of_the_run(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(worker.Worker, "_claim", fail)
    ran = seqdev("tick", "--batch-size", 50)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[0] == "seqdev: unexpected error: RuntimeError"
    assert host.value("select exit_code from seqdev.run") == 1
    assert host.broken_promises() == []


@alone
@pytest.mark.usefixtures("soon", "backlog")
def test_a_worker_that_does_not_come_back_is_not_waited_for(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    let = threading.Event()

    def stuck(one: worker.Worker) -> None:
        one.in_batch = True
        let.wait(60)

    monkeypatch.setattr(batches, "_LAST_BATCH", 0.1)
    monkeypatch.setattr(worker.Worker, "_claim", stuck)
    began = time.monotonic()
    code, summary, err = tick(seqdev, "--jobs", 4, "--budget", "1s")
    assert time.monotonic() - began < 30
    let.set()
    assert (code, summary["queued"]) == (3, host.value(MESSAGES))
    assert err.count("another connection has not finished its batch") == 1


@pytest.mark.thorough
@pytest.mark.usefixtures("soon", "backlog")
def test_a_worker_that_is_still_connecting_is_not_waited_for_and_begins_nothing(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    another = Database.another
    let = threading.Event()

    def late(database: Database) -> Database:
        other = another(database)
        connect = other._connect

        def slowly() -> Any:
            assert let.wait(60)
            return connect()

        monkeypatch.setattr(other, "_connect", slowly)
        return other

    monkeypatch.setattr(Database, "another", late)
    code, summary, err = tick(seqdev)
    assert (code, summary["queued"], err) == (0, DUE, "")
    host.make_all_due()
    let.set()
    for thread in threading.enumerate():
        if isinstance(thread, worker.Worker):
            thread.join(10)
    assert host.value(MESSAGES) == DUE


@pytest.mark.thorough
@pytest.mark.usefixtures("soon", "backlog")
def test_a_tick_goes_on_alone_where_there_are_no_more_threads(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(worker.Worker, "start", none)
    code, summary, err = tick(seqdev)
    assert (code, summary["queued"], err) == (0, DUE, "")


@pytest.mark.usefixtures("soon", "backlog")
def test_devices_with_little_due_are_no_reason_to_work_alone(host: Host, seqdev: Cli) -> None:
    host.rows(
        "delete from sequence_contacts where contact_phone <> '601201' and assigned_device_id in (select"
        " assigned_device_id from sequence_contacts group by 1 order by min(next_trigger_time) limit 2)"
    )
    due = host.value("select count(*) from sequence_contacts")
    code, summary, _ = tick(seqdev)
    assert (code, summary["queued"]) == (0, due)
    assert host.value(WRITERS) == CONNECTIONS


@pytest.mark.usefixtures("soon")
def test_where_one_connection_holds_all_devices_it_works_alone(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: object) -> None:
        raise AssertionError("nobody can help")

    monkeypatch.setattr(worker.Worker, "start", never)
    fill(host, 500, users=10)
    code, summary, _ = tick(seqdev)
    assert (code, summary["queued"]) == (0, 500)
    assert host.value(WRITERS) == 1


@pytest.mark.thorough
@alone
@pytest.mark.usefixtures("soon")
def test_a_worker_that_holds_the_only_device_leaves_nothing_for_the_next_tick(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "PATIENCE", timedelta(seconds=0.1))
    fill(host, 60, users=60)
    host.rows("alter table broadcast_messages drop column writer")
    # Due last, so that it is left to the worker.
    fill(host, 400, users=1)
    host.rows(
        "update sequence_contacts set next_trigger_time = next_trigger_time + interval '30 seconds'"
        " where assigned_device_id in (select assigned_device_id from sequence_contacts group by 1 having count(*) > 1)"
    )
    slow(host, "broadcast_messages", "insert", 0.004)
    code, summary, _ = tick(seqdev)
    assert (code, summary["queued"], summary["waiting"]) == (0, 460, {})
    assert host.value(WRITERS) == 2
    assert host.broken_promises() == []


def shared(host: Host) -> "subprocess.Popen[str]":
    """A real process with a real backlog, and all of its connections at work."""
    fill(host, LARGE)
    process = Forked(["tick", "--batch-size", str(batches.BACKLOG)], stdout=-1, stderr=-1)
    while host.value(TICKING) < CONNECTIONS or (citus.URL and not host.value(MESSAGES)):
        assert process.poll() is None, "it was done before anybody helped"
        time.sleep(0.005)
    return process


@pytest.mark.thorough
def test_a_signal_ends_both_connections_at_a_batch_boundary(host: Host) -> None:
    process = shared(host)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60 if citus.URL else 6)
    assert process.returncode == 128 + signal.SIGTERM, (out, err)
    assert "Traceback" not in err
    assert 0 < host.value(MESSAGES) < LARGE
    assert host.value("select (counts ->> 'queued')::integer from seqdev.run") == host.value(MESSAGES)
    assert host.value(TICKING) == 0
    assert host.broken_promises() == []


@pytest.mark.thorough
def test_a_killed_tick_leaves_neither_of_its_connections_behind(host: Host, seqdev: Cli) -> None:
    process = shared(host)
    process.kill()
    process.communicate()
    until(lambda: not host.value(TICKING), "the connections to end")
    assert host.value(MESSAGES) < LARGE
    assert host.broken_promises() == []
    assert seqdev("tick").code == 0
    assert host.value(MESSAGES) == LARGE
    assert host.broken_promises() == []


@pytest.mark.thorough
def test_a_pause_stops_both_connections(host: Host, seqdev: Cli) -> None:
    process = shared(host)
    assert seqdev("pause", "--why", "wrong device").code == 0
    before = host.value(MESSAGES)
    out, err = process.communicate(timeout=60 if citus.URL else 10)
    assert process.returncode == 4, (out, err)
    assert host.value(MESSAGES) == before < LARGE
    assert host.broken_promises() == []
