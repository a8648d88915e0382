"""Servers that fail over, refuse to write, run out of connections or of disk."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.faults.databases import world_of
from tests.faults.processes import Forks, ended, start
from tests.faults.record import Held, fault
from tests.faults.servers import Server, owned
from tests.faults.world import scale, wait

Servers = Callable[..., Server]

IDS = "select array_agg(id::text order by id) from broadcast_messages"


def standby_of(primary: Server, name: str) -> Server:
    """An asynchronous standby of the server."""
    primary.stop()
    standby = primary.copy(name)
    (standby.data / "standby.signal").touch()
    owned(standby.data)
    primary.start()
    standby.start(primary_conninfo=f"host={primary.folder} user=postgres")
    with psycopg.connect(primary.url(), autocommit=True) as connection:
        streaming = "select 1 from pg_stat_replication"
        wait(lambda: connection.execute(streaming).fetchone())
    return standby


@fault("asynchronous standby promoted, the last commits lost")
def test_what_a_failover_loses_comes_back_with_the_same_ids(
    make_server: Servers, forks: Forks, held: Held
) -> None:
    primary = make_server()
    standby = standby_of(primary, "promoted")
    try:
        world = world_of(primary, forks, held)
        world.ok("tick", "--max-messages", 60)
        lsn = world.host.value("select pg_current_wal_flush_lsn()::text")
        follower = world_of(standby, forks, held)
        wait(lambda: follower.host.value(f"select pg_last_wal_replay_lsn() >= '{lsn}'"))
        arrived = follower.host.value(IDS)
        # From here on nothing arrives at the standby: what is committed now will be lost.
        standby.execute("alter system set primary_conninfo = 'host=/nonexistent'")
        standby.stop()
        standby.settings.pop("primary_conninfo")
        standby.start()
        world.ok("tick", "--max-messages", 100)
        sent = set(world.host.value(IDS))
        # The sender of the old primary may have sent these. The application moves to the standby.
        primary.stop(signal.SIGQUIT)
        standby.execute("select pg_promote()")
        after = world_of(standby, forks, held)
        assert set(after.host.value(IDS)) == set(arrived) < sent
        lost = sent - set(arrived)
        assert len(lost) == 100
        after.ok("tick")
        assert sent <= set(after.host.value(IDS)), "a message came back with another id"
        after.account()
        held.tries += len(lost)
        held.note(f"{len(lost)} lost messages came back with their ids")
    finally:
        standby.stop(signal.SIGQUIT)
        shutil.rmtree(standby.folder)


@fault("standby promoted while ticks run")
def test_ticks_go_on_at_the_promoted_standby(make_server: Servers, forks: Forks, held: Held) -> None:
    primary = make_server()
    standby = standby_of(primary, "taking-over")
    try:
        both = f"host={primary.folder},{standby.folder} user=postgres dbname=service target_session_attrs=read-write"
        processes = [start(both, "tick", "--batch-size", 3) for _ in range(2)]
        wait(
            lambda: world_of(standby, forks, held).host.value("select count(*) from broadcast_messages") > 120
        )
        primary.stop(signal.SIGQUIT)
        standby.execute("select pg_promote()")
        for process in processes:
            ran = ended(process)
            assert ran.code == 0, ran.err
        world = world_of(standby, forks, held)
        world.look(ran)
        # Of a run that began at the old primary the entry may be lost; the messages are right.
        world.account()
        held.tries += len(processes)
    finally:
        standby.stop(signal.SIGQUIT)
        shutil.rmtree(standby.folder)


@fault("hot standby as the target")
def test_a_hot_standby_is_refused_by_writers_and_audited(
    make_server: Servers, forks: Forks, held: Held
) -> None:
    primary = make_server()
    standby = standby_of(primary, "standby")
    try:
        world = world_of(standby, forks, held)
        before = world.host.value(IDS)
        for argv in (
            ["tick"],
            ["enroll", "--yes"],
            ["repair", "assigned", "--yes"],
            ["leads", "assign", "--rebalance", "--yes"],
        ):
            ran = world.run(*argv)
            assert (ran.code, ran.out) == (10, ""), (argv, ran)
            held.tries += 1
        for argv in (
            ["tick", "--dry-run"],
            ["tick", "--compare"],
            ["audit", "all"],
            ["audit", "mismatches"],
            ["audit", "devices"],
            ["explain", "601990000001"],
            ["enroll", "--dry-run"],
            ["repair", "assigned", "--dry-run"],
            ["repair", "list"],
            ["db", "check"],
        ):
            ran = world.run(*argv, shows=True)
            assert ran.code in ((0, 3, 10) if argv[0] == "db" else (0, 3)), (argv, ran)
            held.tries += 1
        assert world.host.value(IDS) == before
    finally:
        standby.stop(signal.SIGQUIT)
        shutil.rmtree(standby.folder)


def all_connections(url: str) -> "list[psycopg.Connection[Any]]":
    """Take every connection that the server has left."""
    taken: list[psycopg.Connection[Any]] = []
    while True:
        try:
            taken.append(psycopg.connect(url))
        except psycopg.OperationalError:
            return taken


@fault("connections exhausted")
def test_without_a_free_connection_a_tick_waits_or_says_so(
    make_server: Servers, forks: Forks, held: Held
) -> None:
    server = make_server(max_connections="12", superuser_reserved_connections="3")
    server.execute("create role worker login")
    server.execute("grant usage on schema public, seqdev to worker", "service")
    # Not all: who may make triggers on seqdev's tables could have code run by whoever writes there.
    server.execute(
        "grant select, insert, update, delete on all tables in schema public, seqdev to worker", "service"
    )
    world = world_of(server, forks, held)
    world.url = server.url("service", user="worker")
    hogs = all_connections(world.url)
    for argv in (["tick"], ["enroll", "--yes"], ["audit", "all"]):
        ran = world.run(*argv)
        assert (ran.code, ran.out) == (13, ""), ran
        held.tries += 1
    # Freed while it tries: it succeeds.
    waiting = start(world.url, "tick")
    time.sleep(1.5)
    for hog in hogs:
        hog.close()
    ran = ended(waiting)
    assert ran.code == 0, ran.err
    held.tries += 1
    world.url = server.url("service")
    world.account()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 24 MB, of its own."""
    folder = Path(os.environ["SEQDEV_HOME"]).parent / "small-disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,mode=711", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("NO FILE SYSTEM CAN BE MOUNTED HERE: nothing was shown about a full disk (run as root)")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
    folder.rmdir()


def fill(file: Path) -> None:
    """Take all the room there is."""
    with file.open("wb", buffering=0) as sink, suppress(OSError):
        while True:
            sink.write(b"\0" * 8192)


@fault("disk full: the messages' tablespace")
def test_a_full_disk_ends_a_tick_in_13_and_nothing_is_half_done(
    make_server: Servers, forks: Forks, held: Held, small_disk: Path
) -> None:
    place = small_disk / "tablespace"
    place.mkdir()
    owned(place)
    server = make_server()
    server.execute(f"create tablespace small location '{place}'")
    world = world_of(server, forks, held)
    world.host.rows("alter table broadcast_messages set tablespace small")
    for index in world.host.rows(
        "select indexrelid::regclass::text as name from pg_index where indrelid = 'broadcast_messages'::regclass"
    ):
        world.host.rows(f"alter index {index.name} set tablespace small")
    ballast = small_disk / "ballast"
    for full in (True, False):
        if full:
            fill(ballast)
        else:
            ballast.unlink()
        for _ in range(scale(3) if full else 1):
            ran = world.run("tick", "--batch-size", 150)
            assert ran.code == (13 if full else 0), ran
            world.nothing_left_behind()
            world.reconcile()
            held.tries += 1
    world.account()
    world.host.rows("alter table broadcast_messages set tablespace pg_default")
    server.stop(signal.SIGQUIT)
