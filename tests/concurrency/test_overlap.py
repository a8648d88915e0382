"""Many ticks at once, killed at any point, among others who write to the same rows: I1 and I2 hold exactly.

Everything here goes through real processes. What is random comes from a seed that every failure prints;
SEQDEV_TEST_SEED repeats it (the choices, not the moments: those are the machine's).
"""

import getpass
import json
import os
import pwd
import random
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from seqdev.tick.backlog import BACKLOG
from tests.conftest import ROOT, command
from tests.tick.test_backlog import MESSAGES, TICKING, fill
from tests.world.host import MESSAGE_ID, Host

Connect = Callable[[str], "psycopg.Connection[Any]"]

PATIENCE = 60.0
"""Seconds after which a test gives up waiting for something that takes a moment."""


IN_FLIGHT = "m.status in ('pending', 'queued', 'processing') and m.scheduled_at <= now() at time zone 'UTC'"
SENT_WITHIN = "m.status = 'sent' and m.sent_at > now() at time zone 'UTC' - interval '%s'"
LOAD = f"""
    select d.id, d.status,
        count(*) filter (where {IN_FLIGHT}) as flying,
        count(*) filter (where {IN_FLIGHT} or {SENT_WITHIN % "60 minutes"}) as hour,
        count(*) filter (where {IN_FLIGHT} or {SENT_WITHIN % "24 hours"}) as day
    from user_devices as d left join broadcast_messages as m on m.device_id = d.id
    group by d.id
"""


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of everything random in the test, printed, which pytest shows when the test fails."""
    chosen = int(os.environ.get("SEQDEV_TEST_SEED") or random.randrange(2**32))
    print(f"SEQDEV_TEST_SEED={chosen} repeats {request.node.name}")
    return chosen


class Ticks:
    """Tick processes, all ended when the test is."""

    def __init__(self, database: str) -> None:
        self.database = database
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *options: object, **environment: object) -> "subprocess.Popen[str]":
        variables = {name: str(value) for name, value in environment.items()}
        process = subprocess.Popen(
            command("tick", "--format", "json", *(str(option) for option in options)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"SEQDEV_DATABASE_URL": self.database} | variables,
        )
        self._started.append(process)
        return process

    def run(self, *options: object, **environment: object) -> Any:
        """A whole tick: its summary."""
        return self.end(self.start(*options, **environment))

    @staticmethod
    def end(process: "subprocess.Popen[str]") -> Any:
        """The summary of a tick that must come to its end by itself."""
        out, err = process.communicate(timeout=180)
        assert process.returncode == 0, f"exit code {process.returncode}: {err}"
        return json.loads(out)

    def kill_all(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def ticks(database: str) -> Iterator[Ticks]:
    made = Ticks(database)
    yield made
    made.kill_all()


@contextmanager
def in_background(*loops: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run functions beside the block, each until the event is set; what they raise is raised here."""
    ended = threading.Event()
    raised: list[BaseException] = []

    def guarded(loop: Callable[[threading.Event], None]) -> None:
        try:
            loop(ended)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(loop,)) for loop in loops]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    if raised:
        raise raised[0]


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> None:
    """Wait until ``condition`` holds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience} s for this: {what}"
        time.sleep(0.005)


def waiting_for_a_lock(host: Host) -> int:
    """Tick sessions that somebody else's row lock has stopped."""
    return int(host.value(TICKING + " and wait_event_type = 'Lock'"))


# -- The world: users with the same phones, devices, people who are in one sequence or in two -----------------


@dataclass
class Contact:
    """A due contact, and what must become of it: from one of ``devices`` of ``user``."""

    id: UUID
    user: UUID
    lead: UUID
    assigned: UUID | None
    devices: frozenset[UUID]
    wanders: bool


@dataclass
class World:
    """What was put into the host's tables."""

    rng: random.Random
    contacts: dict[UUID, Contact] = field(default_factory=dict)
    triggers: dict[UUID, str] = field(default_factory=dict)
    """What each lead's list must be in the end."""
    devices: list[UUID] = field(default_factory=list)


def populate(host: Host, seed: int, contacts: int, users: int, devices: int, offline: float = 0.3) -> World:
    """About ``contacts`` due contacts: half of the people in a sequence of two steps without delay, half of
    them at the end of two sequences at once, one of which chains on. All users have the same phones.

    A seventh has no assigned device; some are moved between two devices by the host while ticks run.
    """
    world = World(random.Random(seed))
    rng = world.rng
    leads, rows = [], []
    for _ in range(users):
        user = host.user()
        own = [
            host.device(user, status="offline" if rng.random() < offline else "online")
            for _ in range(devices)
        ]
        world.devices += own
        twice = host.sequence(user)
        first = host.step(twice, 1, "TWICE", "TWICE_2")
        host.step(twice, 2, "TWICE_2", "", trigger_delay_hours=0)
        left, right, then = (host.sequence(user) for _ in range(3))
        left_step = host.step(left, 1, "LEFT", "")
        right_step = host.step(right, 1, "RIGHT", "NEXT")
        host.step(then, 1, "NEXT", "")
        remaining, number = contacts // users, 0
        while remaining > 0:
            number += 1
            lead, lead_device = uuid4(), rng.choice(own)
            if rng.random() < 0.5:
                steps, before, after = [(twice, first)], "TWICE,KEEP", "KEEP"
            else:
                steps = [(left, left_step), (right, right_step)]
                before, after = "LEFT,KEEP,RIGHT", "KEEP,NEXT"
            phone = f"6012{number:07}"
            leads.append((lead, user, lead_device, phone, before))
            world.triggers[lead] = after
            wanders = rng.random() < 0.1
            for sequence, step in steps:
                assigned = rng.choice(own) if rng.random() < 0.85 else None
                contact = Contact(
                    uuid4(),
                    user,
                    lead,
                    assigned,
                    frozenset(own if wanders else [assigned or lead_device]),
                    wanders,
                )
                world.contacts[contact.id] = contact
                due = timedelta(seconds=rng.uniform(60, 3 * 86_400))
                rows.append((contact.id, sequence, step, phone, assigned, due))
            remaining -= len(steps)
    rng.shuffle(rows)
    connection = host.connection
    with connection.cursor() as cursor:
        with cursor.copy("copy leads (id, user_id, device_id, phone, trigger) from stdin") as copy:
            for row in leads:
                copy.write_row(row)
        now = host.value("select now() at time zone 'UTC'")
        with cursor.copy(
            "copy sequence_contacts"
            " (id, sequence_id, sequence_stepid, contact_phone, assigned_device_id, next_trigger_time)"
            " from stdin"
        ) as copy:
            for *columns, due in rows:
                copy.write_row([*columns, now - due])
    # Whether the planner knows the tables is not the question here; test_starvation.py asks it.
    host.rows("analyze")
    return world


def reconcile(host: Host, world: World) -> int:
    """Hold every row against what must have become of it; the number of contacts not done yet.

    Every done contact has one message, with its own id, from the right device and user, and there is no
    other message; what is not done has none. Every ended person's trigger list has lost what it must lose.
    """
    assert host.broken_promises() == []
    messages = {
        message.id: message
        for message in host.rows("select id, user_id, device_id, status from broadcast_messages")
    }
    rows = host.rows(
        f"select sc.*, {MESSAGE_ID} as message_id, st.next_trigger, st.day_number, s.user_id as owner, l.id as lead"
        " from sequence_contacts as sc join sequence_steps as st on st.id = sc.sequence_stepid"
        " join sequences as s on s.id = sc.sequence_id"
        " join leads as l on l.user_id = s.user_id and l.phone = sc.contact_phone"
    )
    done = {row.message_id: row for row in rows if row.status in ("completed", "failed")}
    assert set(done) == set(messages), "messages and done contacts are not the same"
    for identity, row in done.items():
        message, expected = messages[identity], world.contacts.get(row.id)
        assert message.user_id == row.owner
        assert row.processing_device_id == message.device_id
        if row.assigned_device_id:
            assert message.device_id == row.assigned_device_id, "not the device the contact is assigned to"
        if expected:
            assert message.user_id == expected.user
            assert message.device_id in expected.devices, "not the device of the contact"
            assert expected.wanders or row.assigned_device_id == expected.assigned, "the assignment changed"
    made = [row for row in rows if row.id not in world.contacts]
    assert len(rows) - len(made) == len(world.contacts), "contacts are gone"
    first_steps = {
        (row.sequence_id, row.contact_phone): row for row in done.values() if row.next_trigger == "TWICE_2"
    }
    assert len(made) == len(first_steps), "not one next step for every first step done"
    for row in made:
        before = first_steps[row.sequence_id, row.contact_phone]
        assert row.day_number == 2
        assert row.next_trigger_time == before.completed_at, "a delay of 0 is no delay"
        moved = before.id in world.contacts and world.contacts[before.id].wanders
        assert moved or row.assigned_device_id == before.assigned_device_id
    # A lead whose contacts are all done shows it, whatever other tick changed it at the same moment.
    unfinished = {row.lead for row in rows if row.status not in ("completed", "failed")}
    wrong = [
        (lead.trigger, world.triggers[lead.id])
        for lead in host.rows("select id, trigger from leads")
        if lead.id not in unfinished and lead.trigger != world.triggers[lead.id]
    ]
    assert not wrong, "trigger lists are not what the ended sequences leave"
    return len(rows) - len(done)


def nothing_due_was_left(host: Host) -> None:
    """Nothing is active that was due when the last run began."""
    assert (
        host.value(
            "select count(*) from sequence_contacts where status = 'active' and next_trigger_time"
            " <= (select max(started_at) from seqdev.run) at time zone 'UTC'"
        )
        == 0
    )


# -- The others who write ------------------------------------------------------------------------------------


class Application:
    """The host application, at work on the same rows: it sees how long it is made to wait."""

    def __init__(
        self, connection: "psycopg.Connection[Any]", world: World, seed: int, flips: bool = True
    ) -> None:
        self._host = Host(connection)
        self._world = world
        self._rng = random.Random(seed + 1)
        self._flips = flips
        self._contacts = list(world.contacts.values())
        self._wanderers = [contact for contact in self._contacts if contact.wanders]
        self.longest = 0.0
        self.updates = 0

    def __call__(self, ended: threading.Event) -> None:
        rng, rows = self._rng, self._host.rows
        while not ended.wait(0.002):
            contact, device = rng.choice(self._contacts), rng.choice(self._world.devices)
            wanderer = rng.choice(self._wanderers or self._contacts)
            began = time.monotonic()
            match rng.randrange(5 if self._wanderers else 3):
                case 0:
                    rows(
                        "update user_devices set last_seen = now(), status = case when %s then %s else status end"
                        " where id = %s",
                        self._flips,
                        rng.choice(["online", "offline"]),
                        device,
                    )
                case 1:
                    rows("update leads set name = %s where id = %s", f"Name {rng.random()}", contact.lead)
                case 2:
                    rows(
                        "update sequence_contacts set contact_name = %s where id = %s",
                        f"Name {rng.random()}",
                        contact.id,
                    )
                case 3:
                    rows(
                        "update sequence_contacts set assigned_device_id = %s"
                        " where id = %s and status = 'active' and assigned_device_id is not null",
                        rng.choice(sorted(wanderer.devices)),
                        wanderer.id,
                    )
                case 4:
                    rows(
                        "update leads set device_id = %s where id = %s",
                        rng.choice(sorted(wanderer.devices)),
                        wanderer.lead,
                    )
            self.longest = max(self.longest, time.monotonic() - began)
            self.updates += 1


def foreign_processor(connection: "psycopg.Connection[Any]", seed: int) -> Callable[[threading.Event], None]:
    """Another processor, which claims a few contacts under row locks and makes them its own."""
    rng, host = random.Random(seed + 2), Host(connection)

    def loop(ended: threading.Event) -> None:
        while not ended.wait(0.02):
            with connection.transaction():
                contacts = host.rows(
                    "select id from sequence_contacts where status = 'active'"
                    " order by md5(id::text || %s) limit 3 for update skip locked",
                    str(rng.random()),
                )
                time.sleep(rng.uniform(0, 0.03))
                host.rows(
                    "update sequence_contacts set status = 'taken' where id = any(%s)",
                    [row.id for row in contacts],
                )

    return loop


def breaker(
    connection: "psycopg.Connection[Any]", seed: int, breaks: int
) -> Callable[[threading.Event], None]:
    """An administrator who ends the sessions of ticks, whatever they are doing."""
    rng, host = random.Random(seed + 3), Host(connection)

    def loop(ended: threading.Event) -> None:
        left = breaks
        while left and not ended.wait(rng.uniform(0.05, 0.2)):
            left -= len(
                host.rows(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
                    " and application_name ~ '^seqdev tick' and state <> 'idle' order by random() limit 1"
                )
            )

    return loop


@dataclass(frozen=True)
class Capacity:
    """The limits of a device, and how to tell a tick."""

    flying: int = 50
    hour: int = 80
    day: int = 800

    def environment(self) -> Mapping[str, int]:
        return {
            "SEQDEV_MAX_IN_FLIGHT": self.flying,
            "SEQDEV_MAX_PER_HOUR": self.hour,
            "SEQDEV_MAX_PER_DAY": self.day,
        }

    def exceeded(self, host: Host) -> list[Any]:
        """The devices over a limit, at this moment."""
        return [
            load
            for load in host.rows(LOAD)
            if load.flying > self.flying or load.hour > self.hour or load.day > self.day
        ]

    def room(self, load: Any) -> int:
        return int(min(self.flying - load.flying, self.hour - load.hour, self.day - load.day))


class Watcher:
    """Looks at every device all the time, and keeps what it saw over a limit."""

    def __init__(self, connection: "psycopg.Connection[Any]", capacity: Capacity) -> None:
        self._host = Host(connection)
        self._capacity = capacity
        self.seen: list[Any] = []
        self.looks = 0

    def __call__(self, ended: threading.Event) -> None:
        while True:
            last = ended.is_set()
            self.seen += self._capacity.exceeded(self._host)
            self.looks += 1
            if last:
                return
            ended.wait(0.005)


def broadcast_worker(
    connection: "psycopg.Connection[Any]", seed: int, some: int
) -> Callable[[threading.Event], None]:
    """Sends what is in the queue: some just now, some an hour ago, some a day ago, as time would have it."""
    rng, host = random.Random(seed + 4), Host(connection)

    def loop(ended: threading.Event) -> None:
        while not ended.wait(0.02):
            host.rows(
                "update broadcast_messages set status = 'sent', sent_at = now() at time zone 'UTC' - %s::interval"
                " where id in (select id from broadcast_messages where status in ('pending', 'processing')"
                " order by random() limit %s)",
                rng.choice(["0", "0", "61 minutes", "25 hours"]),
                some,
            )
            host.rows(
                "update broadcast_messages set status = 'processing' where id in (select id from broadcast_messages"
                " where status = 'pending' order by random() limit %s)",
                some,
            )

    return loop


# -- The storm -----------------------------------------------------------------------------------------------


def storm(
    host: Host, ticks: Ticks, rng: random.Random, kill_at: list[int], survivors: int, options: list[object]
) -> None:
    """Start ticks at once; kill -9 one each time so many more messages are there, and then a random moment on.

    The survivors stop after a twentieth of the work, so that the killed leave the most of it undone.
    """
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
    killed = sum(victim.wait() == -9 for victim in victims)
    assert killed > len(victims) / 2, "the killed were done too soon to prove anything"


def overlap_under_queue(
    host: Host,
    connect: Connect,
    ticks: Ticks,
    seed: int,
    *,
    contacts: int,
    processes: int,
    batch: int,
    users: int,
    devices: int,
    breaks: int = 0,
    longest_wait: float,
) -> None:
    """The whole proof for ``queue``."""
    world = populate(host, seed, contacts, users, devices)
    total, killed = len(world.contacts), processes // 2
    application = Application(connect(host_url(host)), world, seed)
    others: list[Callable[[threading.Event], None]] = [
        application,
        foreign_processor(connect(host_url(host)), seed),
    ]
    if breaks:
        others.append(breaker(connect(host_url(host)), seed, breaks))
    with in_background(*others):
        storm(
            host,
            ticks,
            world.rng,
            [int(total * world.rng.uniform(0.02, 0.6)) for _ in range(killed)],
            processes - killed,
            ["--policy", "queue", "--batch-size", batch],
        )
    assert host.value("select count(*) from sequence_contacts where status = 'active'") > 0, (
        "nothing was left to do"
    )
    summary = ticks.run("--policy", "queue")
    assert summary["waiting"] == {}
    nothing_due_was_left(host)
    reconcile(host, world)
    assert (
        host.rows(
            "select id from sequence_contacts where id = any(%s) and status not in ('completed', 'taken')",
            list(world.contacts),
        )
        == []
    ), "due contacts were left"

    ticks.run("--policy", "queue")
    host.rows("update sequence_contacts set status = 'active' where status = 'taken'")
    ticks.run("--policy", "queue")
    ticks.run("--policy", "queue")
    assert reconcile(host, world) == 0
    assert application.updates > 10
    print("longest wait of the host:", application.longest, "deadlocks:", deadlocks(host))
    assert application.longest < longest_wait, "the host application waited longer than a batch takes"


def deadlocks(host: Host) -> int:
    return int(host.value("select deadlocks from pg_stat_database where datname = current_database()"))


def host_url(host: Host) -> str:
    info = host.connection.info
    return psycopg.conninfo.make_conninfo(host=info.host, user=info.user, dbname=info.dbname)


def test_overlapping_and_killed_ticks_send_everything_exactly_once(
    host: Host, connect: Connect, ticks: Ticks, seed: int
) -> None:
    overlap_under_queue(
        host, connect, ticks, seed,
        contacts=3_000, processes=4, batch=50, users=3, devices=5, breaks=3, longest_wait=3.0,
    )  # fmt: skip


@pytest.mark.load
def test_eight_ticks_on_fifty_thousand_contacts_send_everything_exactly_once(
    host: Host, connect: Connect, ticks: Ticks, seed: int
) -> None:
    overlap_under_queue(
        host, connect, ticks, seed,
        contacts=50_000, processes=8, batch=200, users=5, devices=8, breaks=12, longest_wait=3.0,
    )  # fmt: skip


def overlap_under_strict(
    host: Host,
    connect: Connect,
    ticks: Ticks,
    seed: int,
    *,
    contacts: int,
    processes: int,
    waves: int,
    batch: int,
    devices: int,
    capacity: Capacity,
    sends: int,
) -> None:
    """The whole proof for ``strict``: I1, I2 and the limits, in every moment and in the end."""
    world = populate(host, seed, contacts, users=2, devices=devices, offline=0.2)
    rng = world.rng
    watcher = Watcher(connect(host_url(host)), capacity)
    application = Application(connect(host_url(host)), world, seed, flips=False)
    options = ["--policy", "strict", "--batch-size", batch]
    limits = capacity.environment()
    cut_off = 0
    with in_background(watcher):
        with in_background(application, broadcast_worker(connect(host_url(host)), seed, sends)):
            for _ in range(waves):
                before = host.value("select count(*) from broadcast_messages")
                running = [ticks.start(*options, **limits) for _ in range(processes)]
                until(
                    lambda before=before, running=running: (  # type: ignore[misc]
                        host.value("select count(*) from broadcast_messages") > before
                        or all(process.poll() is not None for process in running)
                    ),
                    "a message",
                )
                for victim in running[: processes // 2]:
                    time.sleep(rng.uniform(0, 0.05))
                    victim.kill()
                for survivor in running[processes // 2 :]:
                    ticks.end(survivor)
                cut_off += sum(victim.wait() == -9 for victim in running[: processes // 2])
        summary = ticks.run("--policy", "strict", **limits)
    assert cut_off > 0, "the killed were done too soon to prove anything"
    assert watcher.looks > 10
    assert watcher.seen == []
    assert summary["waiting"].keys() <= {"device_offline", "device_full"}
    reconcile(host, world)

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


def test_strict_never_exceeds_a_limit_whoever_overlaps_or_is_killed(
    host: Host, connect: Connect, ticks: Ticks, seed: int
) -> None:
    overlap_under_strict(
        host, connect, ticks, seed,
        contacts=2_000, processes=4, waves=2, batch=10, devices=5, capacity=Capacity(8, 14, 40), sends=4,
    )  # fmt: skip


@pytest.mark.load
def test_eight_strict_ticks_on_fifty_thousand_contacts_never_exceed_a_limit(
    host: Host, connect: Connect, ticks: Ticks, seed: int
) -> None:
    overlap_under_strict(
        host, connect, ticks, seed,
        contacts=50_000, processes=8, waves=8, batch=60, devices=20, capacity=Capacity(), sends=100,
    )  # fmt: skip


# -- One moment at a time ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Small:
    """A user with a sequence of one step, and devices with some due contacts each."""

    user: UUID
    sequence: UUID
    step: UUID
    devices: list[UUID]
    leads: list[UUID]


def small(host: Host, devices: int, contacts: int) -> Small:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    own = [host.device(user) for _ in range(devices)]
    leads = []
    for place, device in enumerate(own):
        for number in range(contacts):
            phone = f"6012{place:03}{number:04}"
            leads.append(host.lead(user, device, phone, "WARM"))
            host.contact(sequence, step, phone, device)
    return Small(user, sequence, step, own, leads)


@contextmanager
def stuck_tick(
    host: Host, connect: Connect, ticks: Ticks, lead: UUID, *options: object, **environment: object
) -> Iterator[Any]:
    """A tick stopped in the middle of its batch, by somebody who holds a lead until the block ends."""
    holder = Host(connect(host_url(host)))
    with holder.connection.transaction():
        holder.rows("select from leads where id = %s for update", lead)
        process = ticks.start(*options, **environment)
        until(lambda: waiting_for_a_lock(host) == 1, "the tick to be in its batch")
        yield process


def test_a_tick_killed_in_its_batch_leaves_nothing_and_the_next_waits_for_its_locks(
    host: Host, connect: Connect, ticks: Ticks
) -> None:
    world = small(host, devices=1, contacts=20)
    with stuck_tick(host, connect, ticks, world.leads[0], SEQDEV_LOCK_TIMEOUT="60s") as process:
        following = ticks.start()
        # The following one has seen that the device is taken, and has begun to wait for it.
        until(lambda: host.value("select count(*) from seqdev.run") == 2, "the following tick to begin")
        time.sleep(0.3)
        process.kill()
        # Its session notices, though it is waiting for a lock, and not for its client.
        until(lambda: host.value(TICKING) == 1, "the locks of the killed tick to go", patience=10)
    assert ticks.end(following)["queued"] == 20
    assert host.broken_promises() == []
    assert host.value("select count(*) from broadcast_messages") == 20


def test_a_tick_killed_in_its_commit_has_done_all_of_its_batch_or_nothing(host: Host, ticks: Ticks) -> None:
    small(host, devices=1, contacts=20)
    host.rows(
        "create function dawdle() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(0.1); return null; end $$"
    )
    # Deferred: it runs when the commit has begun, once for each message.
    host.rows(
        "create constraint trigger dawdle after insert on broadcast_messages deferrable initially deferred"
        " for each row execute function dawdle()"
    )
    # The tick has constraints checked by each statement: this one goes back to the commit.
    host.rows(
        "create function defer() returns trigger language plpgsql as"
        " $$ begin set constraints dawdle deferred; return null; end $$"
    )
    host.rows("create trigger defer before insert on broadcast_messages execute function defer()")
    process = ticks.start("--batch-size", 10)
    until(
        lambda: host.value(TICKING + " and wait_event = 'PgSleep' and lower(query) like 'commit%'"),
        "the tick to commit",
    )
    process.kill()
    process.wait()
    until(lambda: host.value(TICKING) == 0, "the session of the killed tick to end")
    assert host.value("select count(*) from broadcast_messages") in (0, 10)
    assert host.broken_promises() == []
    host.rows("drop trigger defer on broadcast_messages")
    host.rows("drop trigger dawdle on broadcast_messages")
    ticks.run()
    assert host.value("select count(*) from broadcast_messages") == 20
    assert host.broken_promises() == []


def test_two_ticks_that_end_two_sequences_of_a_person_at_once_lose_neither_change(
    host: Host, connect: Connect, ticks: Ticks
) -> None:
    user = host.user()
    devices = [host.device(user), host.device(user)]
    lead = host.lead(user, devices[0], "6012345678", "LEFT,KEEP,RIGHT")
    host.simple_sequence(user, "NEXT")
    holder = Host(connect(host_url(host)))
    with holder.connection.transaction():
        holder.rows("select from leads where id = %s for update", lead)
        both = []
        # Each holds one of the devices, and both have read the same list.
        for device, trigger, then in zip(devices, ("LEFT", "RIGHT"), ("", "NEXT"), strict=True):
            sequence = host.sequence(user)
            host.contact(sequence, host.step(sequence, 1, trigger, then), "6012345678", device)
            both.append(ticks.start())
            until(lambda: waiting_for_a_lock(host) == len(both), "the tick to be about to change the lead")
    summaries = [ticks.end(process) for process in both]
    assert sum(summary["queued"] for summary in summaries) == 2
    assert host.value("select trigger from leads where id = %s", lead) == "KEEP,NEXT"
    assert host.broken_promises() == []


@pytest.mark.parametrize("policy", ["queue", "strict"])
def test_what_another_processor_has_locked_is_neither_waited_for_nor_taken(
    host: Host, connect: Connect, ticks: Ticks, policy: str
) -> None:
    small(host, devices=2, contacts=20)
    other = Host(connect(host_url(host)))
    with other.connection.transaction():
        # All of one device's, some of the other's.
        locked = other.rows(
            "select id from sequence_contacts order by assigned_device_id, contact_phone limit 25 for update"
        )
        process = ticks.start("--policy", policy)
        while process.poll() is None:
            assert not waiting_for_a_lock(host), "the tick waits for row locks"
            time.sleep(0.01)
        summary = ticks.end(process)
        assert (summary["queued"], summary["waiting"]) == (15, {"next_tick": 25})
        assert not other.rows(
            f"select 1 from broadcast_messages as m join sequence_contacts as sc on m.id = {MESSAGE_ID}"
            " where sc.id = any(%s)",
            [row.id for row in locked],
        )
        other.rows(
            "update sequence_contacts set status = 'taken' where id = any(%s)", [row.id for row in locked[:5]]
        )
    assert ticks.run("--policy", policy)["queued"] == 20
    assert host.value("select count(*) from broadcast_messages") == 35
    assert host.broken_promises() == []


@contextmanager
def stopped_statement(host: Host, connect: Connect, statement: str) -> Iterator[None]:
    """Within the block, the first ``statement`` that asks for a sequence's status stops there: after its start,
    when what it sees is settled, and before it comes to its locks. The host's schema has an equality for its
    status that fits better than the server's, and does it.
    """
    host.rows("create sequence stops")
    host.rows("alter table sequences alter status type char(20)")
    host.rows(
        "create function stop_equal(a bpchar, b text) returns boolean language plpgsql as $$ begin"
        f" if current_query() like '%/{statement}%' and nextval('stops') = 1"
        " then perform pg_advisory_xact_lock_shared(42); end if; return a::text = b; end $$"
    )
    host.rows("create operator = (leftarg = bpchar, rightarg = text, function = stop_equal)")
    holder = connect(host_url(host))
    with holder.transaction():
        holder.execute("select pg_advisory_xact_lock(42)")
        yield


def test_a_contact_that_changes_in_the_moment_of_the_claim_is_judged_as_it_is_now(
    host: Host, connect: Connect, ticks: Ticks
) -> None:
    world = small(host, devices=2, contacts=10)
    old, new = world.devices
    # A message for the claim to count, before it comes to the contacts.
    host.rows(
        "insert into broadcast_messages (user_id, device_id, recipient_phone, status, scheduled_at, campaign_id)"
        " select %s, id, '6019', 'pending', now() at time zone 'UTC' - interval '1 minute', 1 from user_devices",
        world.user,
    )
    contacts = host.rows("select id from sequence_contacts where assigned_device_id = %s", old)
    taken, moved, claimed, later = (row.id for row in contacts[:4])
    with stopped_statement(host, connect, "claim.sql"):
        host.rows("update sequence_contacts set next_trigger_time = next_trigger_time - interval '1 day'"
                  " where assigned_device_id = %s", old)  # fmt: skip
        process = ticks.start("--policy", "strict", SEQDEV_LOCK_TIMEOUT="60s")
        until(lambda: waiting_for_a_lock(host) == 1, "the claim to have begun")
        for change, contact in (
            ("status = 'taken'", taken),
            (f"assigned_device_id = '{new}'", moved),
            ("processing_started_at = now() at time zone 'UTC'", claimed),
            ("next_trigger_time = now() at time zone 'UTC' + interval '1 day'", later),
        ):
            host.rows(f"update sequence_contacts set {change} where id = %s", contact)
    ticks.end(process)
    ticks.run("--policy", "strict")
    assert host.broken_promises() == []
    sent = dict(
        host.rows(
            "select sc.id, m.device_id from sequence_contacts as sc"
            f" join broadcast_messages as m on m.id = {MESSAGE_ID}"
        )
    )
    assert len(sent) == 17
    assert not sent.keys() & {taken, claimed, later}
    assert sent[moved] == new, "the message went from the device the contact was moved away from"


def test_capacity_is_counted_only_once_the_device_is_held(host: Host, connect: Connect, ticks: Ticks) -> None:
    small(host, devices=1, contacts=60)
    options = ("--policy", "strict", "--budget", "20s")
    limits = {"SEQDEV_MAX_IN_FLIGHT": 5, "SEQDEV_LOCK_TIMEOUT": "60s"}
    with stopped_statement(host, connect, "lock_devices.sql"):
        first = ticks.start(*options, **limits)
        until(lambda: waiting_for_a_lock(host) == 1, "the first to be about to lock the device")
        # It has begun, and sees an empty queue; the second fills it.
        assert ticks.run(*options, **limits)["queued"] == 5
    assert ticks.end(first)["queued"] == 0
    assert host.value("select count(*) from broadcast_messages") == 5


def test_a_tick_counts_nothing_on_a_device_that_another_one_is_filling(
    host: Host, connect: Connect, ticks: Ticks
) -> None:
    world = small(host, devices=1, contacts=60)
    oldest = host.value("select contact_phone from sequence_contacts order by next_trigger_time limit 1")
    lead = host.value("select id from leads where phone = %s", oldest)
    options = ("--policy", "strict")
    with stuck_tick(host, connect, ticks, lead, *options) as first:
        second = ticks.start(*options)
        until(lambda: host.value("select count(*) from seqdev.run") == 2, "the second tick to begin")
        time.sleep(0.3)
    assert ticks.end(first)["queued"] + ticks.end(second)["queued"] == 50
    assert host.rows("select device_id, count(*) from broadcast_messages group by 1") == [
        (world.devices[0], 50)
    ]


def test_the_host_never_waits_longer_for_a_row_than_a_batch_takes(
    host: Host, connect: Connect, ticks: Ticks
) -> None:
    small(host, devices=1, contacts=200)
    # A slow server: a batch of 10 takes a tenth of a second, all of it two seconds.
    host.rows(
        "create function dawdle() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(0.01); return null; end $$"
    )
    host.rows(
        "create trigger dawdle after insert on broadcast_messages for each row execute function dawdle()"
    )
    process = ticks.start("--batch-size", 10)
    longest, updates = 0.0, 0
    other = Host(connect(host_url(host)))
    until(lambda: host.value(TICKING), "the tick to begin")
    while process.poll() is None:
        for statement in (
            "update sequence_contacts set contact_name = 'Ana' where id ="
            " (select id from sequence_contacts where status = 'active' order by next_trigger_time limit 1)",
            "update leads set name = 'Ana' where id ="
            " (select l.id from leads as l join sequence_contacts as sc on sc.contact_phone = l.phone"
            " where sc.status = 'active' order by sc.next_trigger_time limit 1)",
            "update user_devices set last_seen = now(), status = 'online'",
        ):
            began = time.monotonic()
            other.rows(statement)
            longest, updates = max(longest, time.monotonic() - began), updates + 1
    assert ticks.end(process)["queued"] == 200
    assert updates > 20
    assert longest < 1.5, f"an update of the host waited {longest} s"
    assert host.broken_promises() == []


# -- Through PgBouncer ---------------------------------------------------------------------------------------

PGBOUNCER = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


@pytest.fixture
def pgbouncer(database: str) -> Iterator[str]:
    """A PgBouncer in transaction pooling before the database, with fewer connections than clients: its URL."""
    if PGBOUNCER is None:
        pytest.skip("PGBOUNCER IS MISSING: nothing was shown about poolers (apt-get install pgbouncer)")
    user = "nobody" if os.geteuid() == 0 else getpass.getuser()
    folder = Path(tempfile.mkdtemp(prefix="seqdev-pgbouncer-"))
    info = psycopg.conninfo.conninfo_to_dict(database)
    (folder / "users.txt").write_text(f'"{info["user"]}" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"""
        [databases]
        {info["dbname"]} = host={info["host"]} user={info["user"]}
        [pgbouncer]
        listen_addr =
        listen_port = 6432
        unix_socket_dir = {folder}
        auth_type = trust
        auth_file = {folder}/users.txt
        pool_mode = transaction
        default_pool_size = 4
        max_client_conn = 100
        logfile = {folder}/log
        """.replace("\n        ", "\n")
    )
    if os.geteuid() == 0:
        account = pwd.getpwnam(user)
        for path in (folder, *folder.iterdir()):
            os.chown(path, account.pw_uid, account.pw_gid)
    as_user = ["-u", user] if os.geteuid() == 0 else []
    server = subprocess.Popen([PGBOUNCER, "-q", *as_user, str(folder / "pgbouncer.ini")])
    try:
        until(lambda: (folder / ".s.PGSQL.6432").exists(), "PgBouncer to start")
        yield psycopg.conninfo.make_conninfo(
            host=str(folder), port=6432, user=info["user"], dbname=info["dbname"]
        )
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder)


def test_ticks_through_a_transaction_pooler_send_everything_exactly_once(
    pgbouncer: str, host: Host, connect: Connect, ticks: Ticks, seed: int
) -> None:
    ticks.database = pgbouncer
    overlap_under_queue(
        host, connect, ticks, seed,
        contacts=1_000, processes=8, batch=20, users=2, devices=5, longest_wait=3.0,
    )  # fmt: skip


def test_a_backlog_goes_through_a_transaction_pooler_once(pgbouncer: str, host: Host, ticks: Ticks) -> None:
    ticks.database = pgbouncer
    fill(host, 12_000)
    assert ticks.run("--batch-size", BACKLOG)["queued"] == 12_000 == host.value(MESSAGES)
    assert host.broken_promises() == []


@pytest.mark.load
def test_strict_limits_hold_through_a_transaction_pooler(
    pgbouncer: str, host: Host, connect: Connect, ticks: Ticks, seed: int
) -> None:
    ticks.database = pgbouncer
    overlap_under_strict(
        host, connect, ticks, seed,
        contacts=3_000, processes=8, waves=4, batch=10, devices=4, capacity=Capacity(8, 14, 40), sends=4,
    )  # fmt: skip
