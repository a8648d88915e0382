"""Ticks at once, killed at any point, among others who write to the same rows: the whole proof of I1, I2 and I3."""

import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.world.crowd import Size, nothing_due_was_left, populate, reconcile
from tests.world.host import Connect, Host
from tests.world.others import (
    LOAD,
    Application,
    Capacity,
    Watcher,
    breaker,
    broadcast_worker,
    foreign_processor,
)
from tests.world.ticks import Ticks
from tests.world.waiting import in_background, until

LONGEST_WAIT = 3.0
"""Seconds that a statement of the host may take while a batch holds its row: more than any batch does."""


@dataclass(frozen=True)
class Stage:
    """The database in which it happens, ways to it, and the seed of what is random."""

    host: Host
    connect: Connect
    ticks: Ticks
    seed: int

    def session(self) -> "psycopg.Connection[Any]":
        """One more session beside the host's."""
        return self.connect(self.host.url)


@dataclass(frozen=True)
class Storm:
    """So many ticks at once, in batches of so many, and one kill for every second of them.

    ``breaks``: sessions that an administrator ends besides. ``waves``: how often, one after the other.
    """

    processes: int
    batch: int
    breaks: int = 0
    waves: int = 1


def start_and_kill(
    stage: Stage, rng: random.Random, kill_at: list[int], survivors: int, options: list[object]
) -> None:
    """Start ticks at once; kill -9 one each time so many more messages are there, and then a random moment on.

    The survivors stop after a twentieth of the work, so that the killed leave the most of it undone.
    """
    host, ticks = stage.host, stage.ticks
    due = host.value("select count(*) from sequence_contacts where status = 'active'")
    victims = [ticks.start(*options) for _ in kill_at]
    others = [ticks.start("--max-messages", max(1, due // 20), *options) for _ in range(survivors)]
    for messages, victim in zip(sorted(kill_at), victims, strict=True):
        until(
            lambda messages=messages, victim=victim: (  # type: ignore[misc]
                host.value("select count(*) from broadcast_messages") >= messages or victim.poll() is not None
            ),
            f"{messages} messages",
        )
        time.sleep(rng.uniform(0, 0.05))
        victim.kill()
    for process in others:
        ticks.end(process)
    codes = [victim.wait() for victim in victims]
    assert set(codes) <= {0, -signal.SIGKILL}, "a tick failed before it was killed"
    # On a busy machine some are done before their turn comes.
    assert codes.count(-signal.SIGKILL), "the killed were done too soon to prove anything"


def overlap_under_queue(stage: Stage, size: Size, storm: Storm) -> None:
    """The whole proof for ``queue``."""
    host, ticks, seed = stage.host, stage.ticks, stage.seed
    crowd = populate(host, seed, size)
    total, killed = len(crowd.contacts), storm.processes // 2
    application = Application(stage.session(), crowd, seed)
    others: list[Callable[[threading.Event], None]] = [
        application,
        foreign_processor(stage.session(), seed),
    ]
    if storm.breaks:
        others.append(breaker(stage.session(), seed, storm.breaks))
    with in_background(*others):
        start_and_kill(
            stage,
            crowd.rng,
            [int(total * crowd.rng.uniform(0.02, 0.6)) for _ in range(killed)],
            storm.processes - killed,
            ["--policy", "queue", "--batch-size", storm.batch],
        )
    assert host.value("select count(*) from sequence_contacts where status = 'active'") > 0, (
        "nothing was left to do"
    )
    summary = ticks.run("--policy", "queue")
    assert summary["waiting"] == {}
    nothing_due_was_left(host)
    reconcile(host, crowd)
    assert (
        host.rows(
            "select id from sequence_contacts where id = any(%s) and status not in ('completed', 'taken')",
            list(crowd.contacts),
        )
        == []
    ), "due contacts were left"

    ticks.run("--policy", "queue")
    host.rows("update sequence_contacts set status = 'active' where status = 'taken'")
    ticks.run("--policy", "queue")
    ticks.run("--policy", "queue")
    assert reconcile(host, crowd) == 0
    assert application.updates > 10
    print("longest wait of the host:", application.longest, "deadlocks:", deadlocks(host))
    assert application.longest < LONGEST_WAIT, "the host application waited longer than a batch takes"


def deadlocks(host: Host) -> int:
    return int(host.value("select deadlocks from pg_stat_database where datname = current_database()"))


def overlap_under_strict(stage: Stage, size: Size, storm: Storm, capacity: Capacity, sends: int) -> None:
    """The whole proof for ``strict``: I1, I2 and the limits, in every moment and in the end.

    ``sends``: messages that the broadcast worker sends at a time.
    """
    host, ticks, seed = stage.host, stage.ticks, stage.seed
    crowd = populate(host, seed, size)
    rng = crowd.rng
    watcher = Watcher(stage.session(), capacity)
    application = Application(stage.session(), crowd, seed, flips=False)
    options = ["--policy", "strict", "--batch-size", storm.batch]
    capacity.rule(host)
    cut_off = 0
    with in_background(watcher):
        with in_background(application, broadcast_worker(stage.session(), seed, sends)):
            for _ in range(storm.waves):
                before = host.value("select count(*) from broadcast_messages")
                running = [ticks.start(*options) for _ in range(storm.processes)]
                until(
                    lambda before=before, running=running: (  # type: ignore[misc]
                        host.value("select count(*) from broadcast_messages") > before
                        or all(process.poll() is not None for process in running)
                    ),
                    "a message",
                )
                for victim in running[: storm.processes // 2]:
                    time.sleep(rng.uniform(0, 0.05))
                    victim.kill()
                for survivor in running[storm.processes // 2 :]:
                    ticks.end(survivor)
                cut_off += sum(victim.wait() == -9 for victim in running[: storm.processes // 2])
        summary = ticks.run("--policy", "strict")
    assert cut_off > 0, "the killed were done too soon to prove anything"
    assert watcher.looks > 10
    assert watcher.seen == []
    assert summary["waiting"].keys() <= {"device_offline", "device_full"}
    reconcile(host, crowd)

    # Nothing that could go was left, and nothing went from a device that is offline.
    loads = {load.id: load for load in host.rows(LOAD)}
    due = host.rows(
        "select coalesce(sc.assigned_device_id, l.device_id) as device, count(*) as contacts"
        " from sequence_contacts as sc join sequences as s on s.id = sc.sequence_id"
        " join leads as l on l.user_id = s.user_id and l.phone = sc.contact_phone"
        " where sc.status = 'active' and sc.next_trigger_time"
        " <= (select max(started_at) from seqdev.run) at time zone 'UTC' group by 1"
    )
    assert due, "the limits never stopped anybody"
    for row in due:
        load = loads[row.device]
        assert load.status == "offline" or capacity.room(load) == 0, "a device had room, and contacts waited"
    assert not [load for load in loads.values() if load.status == "offline" and load.day]
