"""Connections that break: delayed, cut, truncated, black-holed at any byte, and COMMIT's answer lost."""

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest

from tests.faults.databases import world_of
from tests.faults.network import Network
from tests.faults.processes import Forks, ended, start
from tests.faults.proxy import DOWN, UP, Break, Proxy
from tests.faults.reconcile import outcome
from tests.faults.record import Held, fault
from tests.faults.servers import PgBouncer, Server
from tests.faults.world import LEFT, LOCKS, SESSIONS, World, scale, wait
from tests.world.command import Ran

pytestmark = pytest.mark.thorough

Worlds = Callable[..., World]

TICK = ["tick", "--batch-size", 25]


@contextmanager
def proxied(world: World, *breaks: Break, socket: str = "") -> Iterator[Proxy]:
    """The world's commands go through a proxy, whose connections break in turn."""
    info = world.host.connection.info
    direct = world.url
    with Proxy(socket or f"{info.host}/.s.PGSQL.5432", list(breaks)) as proxy:
        world.url = f"host=127.0.0.1 port={proxy.port} user={info.user} dbname={info.dbname}"
        yield proxy
        world.url = direct


@pytest.fixture
def through_pgbouncer() -> Iterator[Callable[[World], PgBouncer]]:
    """Makes a PgBouncer before the database of a world."""
    made: list[PgBouncer] = []

    def make(world: World) -> PgBouncer:
        made.append(PgBouncer(world.url))
        return made[-1]

    yield make
    for bouncer in made:
        bouncer.end()


def lose_every_commit(
    make_world: Worlds, held: Held, argv: list[object], hits: list[int], socket: Callable[[World], str]
) -> None:
    world = make_world()
    world.run(*argv, shows=True)
    world.account()
    expected = outcome(world.host)
    for hit in hits:
        world = make_world()
        with proxied(world, Break("lost_commit", hit), socket=socket(world)) as proxy:
            ran = world.run(*argv, shows=True)
            assert proxy.broken == 1, "the COMMIT was not met"
        assert ran.code == 0, ran.err
        world.nothing_left_behind()
        world.account(expected)
        held.tries += 1


def direct(world: World) -> str:
    return f"{world.host.connection.info.host}/.s.PGSQL.5432"


@pytest.mark.thorough
@pytest.mark.fault("COMMIT's answer dropped, one COMMIT of a tick")
def test_a_tick_whose_commit_is_not_answered_goes_on(make_world: Worlds, held: Held) -> None:
    lose_every_commit(make_world, held, list(TICK), [5], direct)


@fault("COMMIT's answer dropped, each COMMIT of a tick")
def test_a_tick_goes_on_whichever_commit_is_not_answered(make_world: Worlds, held: Held) -> None:
    commits = make_world().trace(*TICK).count("commit:before")
    lose_every_commit(make_world, held, list(TICK), list(range(1, commits + 1)), direct)


@fault("COMMIT's answer dropped, each COMMIT of a tick through PgBouncer")
def test_a_tick_goes_on_whichever_commit_is_not_answered_by_pgbouncer(
    make_world: Worlds, held: Held, through_pgbouncer: Callable[[World], PgBouncer]
) -> None:
    commits = make_world().trace(*TICK).count("commit:before")
    lose_every_commit(
        make_world,
        held,
        list(TICK),
        list(range(1, commits + 1)),
        lambda world: through_pgbouncer(world).socket,
    )


@fault("COMMIT's answer dropped, each COMMIT of {which}", which=["enroll", "repair"])
def test_a_command_goes_on_whichever_commit_is_not_answered(
    make_world: Worlds, held: Held, which: str
) -> None:
    argv: dict[str, list[object]] = {
        "enroll": ["enroll", "--yes"],
        "repair": ["repair", "device", "device 11", "--to", "device 12", "--yes", "--batch-size", 5],
    }
    commits = make_world().trace(*argv[which]).count("commit:before")
    lose_every_commit(make_world, held, argv[which], list(range(1, commits + 1)), direct)


def traffic(make_world: Worlds) -> dict[str, int]:
    """The bytes of a whole tick, each way."""
    world = make_world()
    with proxied(world) as proxy:
        world.ok(*TICK)
        return dict(proxy.passed)


def broken_at_random(
    make_world: Worlds, held: Held, chance: random.Random, expected: list[str], kind: str, tries: int
) -> None:
    """One connection breaks at any byte; the tick itself comes to its end over the next one."""
    total = traffic(make_world)
    met = 0
    for _ in range(scale(tries)):
        way = chance.choice([UP, DOWN])
        # No server that has never answered is tried for long: that is a name misspelt. It may say so.
        at = chance.randrange(total[way])
        world = make_world()
        with proxied(world, Break(kind, at, way, whole=chance.random() < 0.5)) as proxy:
            ran = world.run(*TICK)
            met += proxy.broken
        assert ran.code == 0, (kind, way, at, ran)
        world.nothing_left_behind()
        world.account(expected)
        held.tries += 1
    assert met > 0.7 * held.tries, "the connections were hardly broken"


@fault("connection reset (RST) at a random byte")
def test_a_reset_connection_is_made_anew(
    make_world: Worlds, held: Held, chance: random.Random, expected: list[str]
) -> None:
    broken_at_random(make_world, held, chance, expected, "reset", 16)


@fault("connection closed (FIN both ways) at a random byte")
def test_a_closed_connection_is_made_anew(
    make_world: Worlds, held: Held, chance: random.Random, expected: list[str]
) -> None:
    broken_at_random(make_world, held, chance, expected, "fin", 16)


@fault("connection half closed (FIN one way) at a random byte")
def test_a_half_closed_connection_is_made_anew(
    make_world: Worlds, held: Held, chance: random.Random, expected: list[str]
) -> None:
    broken_at_random(make_world, held, chance, expected, "half", 10)


@fault("every connection cut after fewer bytes than a tick needs")
def test_a_network_that_never_holds_ends_in_13_with_nothing_half_done(
    make_world: Worlds, held: Held, chance: random.Random, expected: list[str]
) -> None:
    total = traffic(make_world)
    for _ in range(scale(1)):
        world = make_world()
        breaks = [Break("reset", chance.randrange(total[DOWN] // 8), DOWN) for _ in range(2000)]
        with proxied(world, *breaks):
            ran = world.run(*TICK, "--budget", "3s")
        assert ran.code in (0, 13), ran
        world.nothing_left_behind()
        world.account(expected)
        held.tries += 1


@fault("each piece delayed by 30 ms each way")
def test_a_slow_network_changes_nothing(make_world: Worlds, held: Held, expected: list[str]) -> None:
    for way in (UP, DOWN):
        world = make_world()
        with proxied(world, Break("delay", 0, way, seconds=0.03)):
            world.ok(*TICK)
        world.account(expected)
        held.tries += 1


@fault("the client's host vanishes at a random byte: what is sent to it is dropped")
def test_a_client_whose_host_has_vanished_holds_no_lock_for_long(
    make_world: Worlds, make_server: Callable[..., Server], forks: Forks, held: Held, chance: random.Random
) -> None:
    tries = scale(6)
    total = traffic(make_world)
    with Network(tries) as network, ExitStack() as proxies:
        server = make_server(listen_addresses=network.server)
        with open(server.data / "pg_hba.conf", "a") as rules:
            rules.write("host all all samenet trust\n")
        server.execute("select pg_reload_conf()")
        for number in range(tries):
            server.execute(f"create database world{number} template service")
        undisturbed = world_of(server, forks, held)
        undisturbed.ok("tick")
        undisturbed.account()
        expected = outcome(undisturbed.host)
        worlds: list[tuple[World, subprocess.Popen[str]]] = []
        slowest = 0.0
        for number, host in enumerate(network.hosts):
            world = world_of(server, forks, held, f"world{number}")
            way = chance.choice([UP, DOWN])
            at = chance.randrange(total[way] // 3, total[way])
            proxy = Proxy(
                partial(network.connect, host, 5432), [Break("hole", at, way)], partial(network.vanish, host)
            )
            proxies.enter_context(proxy)
            process = start(f"host=127.0.0.1 port={proxy.port} user=postgres dbname=world{number}", *TICK)
            worlds.append((world, process))
            wait(lambda proxy=proxy, process=process: proxy.broken or process.poll() is not None)  # type: ignore[misc]
            assert proxy.broken, ended(process)
        began = time.monotonic()
        for world, _ in worlds:
            wait(lambda world=world: not world.host.value(LOCKS), 40)  # type: ignore[misc]
            slowest = max(slowest, time.monotonic() - began)
            # The server asks after 10 s, and gives up after 15 more.
            assert slowest < 33, f"locks were there for {slowest:.1f} s: {world.host.rows(LEFT)[:5]}"
        for world, process in worlds:
            # Others are not held up while the client still waits for an answer.
            world.account(expected)
            process.kill()
            world.look(ended(process))
            wait(lambda world=world: not world.host.value(SESSIONS), 20)  # type: ignore[misc]
            world.account(expected)
            held.tries += 1
    held.note(f"locks gone within {slowest:.0f} s")


@fault("PgBouncer killed and restarted in mid-run")
def test_ticks_survive_a_restart_of_pgbouncer(
    make_world: Worlds,
    held: Held,
    chance: random.Random,
    through_pgbouncer: Callable[[World], PgBouncer],
) -> None:
    for _ in range(scale(3)):
        world = make_world(400)
        bouncer = through_pgbouncer(world)
        processes = [start(bouncer.url, "tick", "--batch-size", 5) for _ in range(2)]
        wait(lambda world=world: world.host.value("select count(*) from seqdev.run") == 2)  # type: ignore[misc]
        for _ in range(2):
            time.sleep(chance.uniform(0, 0.2))
            bouncer.restart(chance.uniform(0, 0.2))
            held.tries += 1
        for process in processes:
            ran: Ran = ended(process)
            world.look(ran)
            assert ran.code == 0, ran.err
        world.nothing_left_behind()
        world.account()
