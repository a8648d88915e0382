"""Processes and sessions ended, stopped and cancelled at random moments, and the server itself restarted."""

import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.rows import namedtuple_row

from seqdev.settings import Policy
from tests.faults.databases import world_of
from tests.faults.processes import Forks, ended, start
from tests.faults.record import Held, fault
from tests.faults.servers import Server
from tests.faults.world import LOCKS, SESSIONS, World, scale, wait
from tests.world.host import Host
from tests.world.waiting import in_background

pytestmark = pytest.mark.thorough

Worlds = Callable[..., World]

RUNS = "select count(*) from seqdev.run"

COMMANDS: list[tuple[int, list[str]]] = [
    *((4, ["tick", "--policy", policy.value, "--batch-size", "5"]) for policy in Policy),
    (2, ["enroll", "--yes"]),
    (2, ["repair", "device", "device 11", "--to", "device 12", "--yes", "--batch-size", "10"]),
    (2, ["repair", "device", "device 12", "--to", "device 11", "--yes", "--batch-size", "10"]),
    (1, ["repair", "device", "device 21", "--spread", "--yes", "--batch-size", "10"]),
    (1, ["repair", "assigned", "--since", "1d", "--yes", "--batch-size", "3"]),
    (1, ["repair", "missing", "--yes", "--batch-size", "10"]),
    (1, ["repair", "undo", "RUN", "--yes", "--batch-size", "10"]),
    (1, ["leads", "assign", "--rebalance", "--yes", "--batch-size", "20"]),
]
"""What runs while everything is killed, and how often."""

_SAID = ["--why", "x", "--yes"]
UNDER_RULES: list[tuple[int, list[str]]] = [
    *((4, ["tick", "--policy", policy.value, "--batch-size", "5"]) for policy in Policy),
    (2, ["enroll", "--yes"]),
    *(
        (1, ["rules", "set", *rule, *_SAID])
        for rule in (
            ["max_in_flight", "9", "--device", "device 11"],
            ["max_per_hour", "30"],
            ["warm_up", "20 +10", "--device", "device 12"],
            ["new_chats_per_day", "15"],
            ["window", "00:00-24:00", "--sequence", "warm 1"],
            ["window", "00:00-00:01", "--sequence", "solo 1"],
            ["zone", "recipient"],
            ["grace", "1h"],
            ["return_home", "true"],
        )
    ),
    *((1, ["rules", "unset", name, *_SAID]) for name in ("max_per_hour", "new_chats_per_day", "zone")),
    *((1, ["pause", *part, "--why", "x"]) for part in (["--device", "device 12"], ["--sequence", "chain 2"])),
    *((1, ["resume", *part, "--yes"]) for part in (["--device", "device 12"], ["--sequence", "chain 2"])),
]
"""The same under rules, which change meanwhile, and whose changes are ended, too."""

_KEEP_DUE = """
    update sequence_contacts set next_trigger_time = now() at time zone 'UTC' - interval '1 minute'
    where id in (select id from sequence_contacts where status = 'active' and next_trigger_time > now() at time zone 'UTC'
        limit 50)
"""


def newcomers(world: World) -> Callable[[threading.Event], None]:
    """The host, whose leads sign up all the time: there is always something to enrol, to send and to repair."""
    info = world.host.connection.info
    connection = psycopg.connect(
        host=info.host, user=info.user, dbname=info.dbname, autocommit=True, row_factory=namedtuple_row
    )
    number = 0

    def loop(over: threading.Event) -> None:
        nonlocal number
        with connection:
            host = Host(connection)
            while not over.wait(0.05):
                if host.value("select count(*) from sequence_contacts where status = 'active'") > 400:
                    continue
                number += 1
                # In the copy as well: these rows are the host's doing, not seqdev's.
                host.rows(
                    "with l as (insert into leads (user_id, device_id, phone, name, trigger)"
                    " select md5('user ' || u)::uuid, md5('device ' || u || 1 + i %% 4)::uuid,"
                    " '601995' || lpad((%(n)s * 30 + i)::text, 6, '0'), 'CANARY-NAME new', 'WARM,KEEP'"
                    " from generate_series(1, 2) u, generate_series(1, 30) i returning *)"
                    " insert into was.leads select * from l",
                    {"n": number},
                )

    return loop


def random_kills(
    world: World, chance: random.Random, kills: int, at_once: int, names: list[list[str]]
) -> Counter[str]:
    """Commands at random, ended with SIGKILL at random moments of their life; how many, by command."""
    killed = Counter[str]()
    one_at_a_time = threading.Lock()
    reach = 1.0

    def kill(_: int) -> None:
        nonlocal reach
        forks = Forks()
        try:
            while True:
                with one_at_a_time:
                    if killed.total() >= kills:
                        return
                    argv = chance.choice(names)
                    if "RUN" in argv:
                        rows = world.host.rows(
                            "select id from seqdev.run where command ~ '^repair' order by random() limit 1"
                        )
                        if not rows:
                            continue
                        argv = [str(rows[0].id) if word == "RUN" else word for word in argv]
                    after = chance.uniform(0, reach)
                ran = forks.run(argv, {"SEQDEV_DATABASE_URL": world.url}, kill_after=after)
                with one_at_a_time:
                    # 14: another of these runners changed the same rule or rows between plan and write.
                    assert ran.code in (-9, 0, 3, 13, 14), (argv, ran)
                    world.look(ran, shows=True)
                    # Who comes to an end was given too much time: the others are killed sooner.
                    reach = min(2.0, reach * 1.05) if ran.code == -9 else max(0.05, reach * 0.8)
                    killed[" ".join(argv[:2]).split(" --")[0]] += ran.code == -9
        finally:
            forks.end()

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(kill, range(at_once)))
    return killed


def lift_rules(world: World) -> None:
    """Take away every rule and pause, so that all who are due may go."""
    for rule in world.ok("rules", "list"):
        if rule["source"] != "rule":
            continue
        part = [f"--{rule['scope']}", rule["scope_id"]] if rule["scope_id"] else []
        if rule["name"] == "paused":
            world.ok("resume", *part, "--yes")
        else:
            world.ok("rules", "unset", rule["name"], *part, "--why", "x", "--yes")


def kill_at_random(
    world: World,
    held: Held,
    chance: random.Random,
    kills: int,
    commands: Sequence[tuple[int, list[str]]] = COMMANDS,
) -> int:
    """Kill so many, and account for every row; how many of them were in the middle of a run."""
    names = [argv for weight, argv in commands for _ in range(weight)]
    with in_background(newcomers(world)):
        killed = random_kills(world, chance, kills, 3, names)
    world.nothing_left_behind()
    lift_rules(world)
    begun, finished = (world.host.value(RUNS + where) for where in ("", " where finished_at is not null"))
    assert begun - finished >= kills / 20, "hardly any was killed at work"
    world.account()
    held.tries += killed.total()
    held.killed += killed.total()
    return int(begun - finished)


@fault("random SIGKILL of ticks, enrolments, repairs, undo")
def test_whatever_is_killed_whenever_nothing_is_lost_or_twice(
    make_world: Worlds, held: Held, chance: random.Random
) -> None:
    at_work = kill_at_random(make_world(100), held, chance, scale(300))
    held.note(f"{at_work} of them in the middle of a run")


@fault("random SIGKILL of ticks and enrolments under rules, and of those who set rules and pauses")
def test_under_rules_that_change_nothing_is_lost_or_twice(
    make_world: Worlds, held: Held, chance: random.Random
) -> None:
    world = make_world(100)
    at_work = kill_at_random(world, held, chance, scale(200), UNDER_RULES)
    held.note(f"{at_work} of them in the middle of a run")
    assert world.host.value("select count(distinct name) from seqdev.rule") >= 5, (
        "hardly any rule was ever set"
    )


@pytest.mark.thorough
@pytest.mark.fault("5 random SIGKILLs")
def test_five_random_kills_lose_nothing(make_world: Worlds, held: Held, chance: random.Random) -> None:
    world = make_world()
    killed = random_kills(world, chance, 5, 2, [["tick", "--batch-size", "2"]])
    world.nothing_left_behind()
    world.account()
    held.tries += killed.total()


@fault("random SIGKILL, 10,000", run="long")
def test_ten_thousand_random_kills_lose_nothing(
    make_world: Worlds, held: Held, chance: random.Random
) -> None:
    at_work = sum(kill_at_random(make_world(400), held, chance, scale(1000)) for _ in range(10))
    held.note(f"{at_work:,} of them in the middle of a run")


@fault("a million messages, under kill", run="long")
def test_a_million_messages_are_sent_exactly_once(
    make_world: Worlds, held: Held, chance: random.Random
) -> None:
    world = make_world(scale(450_000))
    killed = random_kills(world, chance, scale(200), 4, [["tick", "--batch-size", "2000"]])
    world.nothing_left_behind()
    world.account()
    held.tries += killed.total()
    held.killed += killed.total()
    assert world.host.value("select count(*) from broadcast_messages") >= scale(1_000_000)


def in_a_batch(world: World, *options: object, **environment: object) -> "subprocess.Popen[str]":
    """A tick that has begun to work, in small batches, and takes a while."""
    process = start(world.url, "tick", "--batch-size", 3, *options, **environment)
    wait(lambda: world.host.value(LOCKS) > 2 and world.host.value(RUNS) > 0)
    return process


SENDING = (
    "select count(*) from pg_stat_activity where datname = current_database() and application_name ~ '^seqdev'"
    " and state = 'active' and wait_event = 'ClientRead'"
)
"""Of a statement, a part has come: the server is not idle, and no time limit of its own holds until the rest comes."""


@fault("SIGSTOP at a random moment")
def test_a_stopped_tick_holds_its_locks_for_16_seconds_at_most(
    make_world: Worlds, held: Held, chance: random.Random
) -> None:
    stopped = []
    for _ in range(scale(8)):
        world = make_world(200)
        process = in_a_batch(world)
        time.sleep(chance.uniform(0, 0.15))
        process.send_signal(signal.SIGSTOP)
        stopped.append((world, process))
    began = time.monotonic()
    slowest, held_up, sending = 0.0, 0, 0
    for world, process in stopped:
        held_up += world.host.value(LOCKS) > 0
        wait(lambda world=world: not world.host.value(LOCKS) or world.host.value(SENDING), 20)  # type: ignore[misc]
        slowest = max(slowest, time.monotonic() - began)
        if world.host.value(LOCKS) and world.host.value(SENDING):
            # The server cannot know that the rest will not come: only who stopped the client can help.
            sending += 1
            process.send_signal(signal.SIGCONT)
    assert slowest < 16, f"locks of a stopped client were there for {slowest:.1f} s"
    for world, process in stopped:
        # Another one does the work meanwhile; woken up, the stopped one finds its connection gone, or goes on.
        world.account()
        process.send_signal(signal.SIGCONT)
        ran = ended(process)
        world.look(ran)
        assert ran.code == 0, ran.err
        world.account()
        held.tries += 1
    assert held_up, "none was stopped in a transaction"
    assert sending < held_up, "all were stopped within the sending of a statement"
    within = f"; {sending} within the sending of a statement, and woken up" if sending else ""
    held.note(f"{held_up} held locks, gone within {slowest:.0f} s{within}")


@fault("SIGKILL of a tick that waits for a lock")
def test_a_killed_tick_that_waits_for_a_lock_gives_up_its_own(make_world: Worlds, held: Held) -> None:
    slowest = 0.0
    for _ in range(scale(5)):
        world = make_world()
        with psycopg.connect(world.url) as other:
            other.execute("select from leads for update")
            process = start(world.url, "tick", SEQDEV_LOCK_TIMEOUT="60s")
            wait(lambda world=world: world.host.value(SESSIONS + " and wait_event_type = 'Lock'"))  # type: ignore[misc]
            process.kill()
            world.look(ended(process))
            slowest = max(slowest, world.nothing_left_behind())
        world.account()
        held.tries += 1
    held.note(f"locks gone within {slowest:.1f} s")


@fault("{how} at random moments", how=["pg_terminate_backend", "pg_cancel_backend"])
def test_an_administrator_who_ends_sessions_only_delays(
    make_world: Worlds, held: Held, chance: random.Random, how: str
) -> None:
    for _ in range(scale(4)):
        world = make_world(200)
        processes = [start(world.url, "tick", "--batch-size", chance.choice([3, 30])) for _ in range(2)]
        wait(lambda world=world: world.host.value(RUNS) == 2)  # type: ignore[misc]
        hits = 0
        while hits < 5 and any(process.poll() is None for process in processes):
            time.sleep(chance.uniform(0, 0.05))
            hits += len(
                world.host.rows(
                    f"select {how}(pid) from pg_stat_activity where datname = current_database()"
                    " and application_name ~ '^seqdev tick' and state <> 'idle' order by random() limit 1"
                )
            )
        for process in processes:
            ran = ended(process)
            world.look(ran)
            # A cancelled statement may end a run, or its account: then it says so.
            assert ran.code in ((0,) if how == "pg_terminate_backend" else (0, 3, 13)), ran
        world.nothing_left_behind()
        world.account()
        held.tries += hits


# -- The server ------------------------------------------------------------------------------------------------


@fault("{how} restart of the server in mid-run", how=["immediate", "fast"])
def test_ticks_go_on_after_a_restart_of_the_server(
    make_server: Callable[..., Server], forks: Forks, held: Held, chance: random.Random, how: str
) -> None:
    for _ in range(scale(3)):
        server = make_server()
        world = world_of(server, forks, held)
        processes = [start(world.url, "tick", "--batch-size", 3) for _ in range(2)]
        wait(lambda world=world: world.host.value(RUNS) == 2)  # type: ignore[misc]
        for _ in range(2):
            time.sleep(chance.uniform(0.05, 0.3))
            server.stop(signal.SIGQUIT if how == "immediate" else signal.SIGINT)
            server.start()
            held.tries += 1
        for process in processes:
            ran = ended(process)
            assert ran.code == 0, ran.err
        world = world_of(server, forks, held)
        world.look(ran)
        world.nothing_left_behind()
        world.account()
        server.stop()
