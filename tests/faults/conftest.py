"""A world for each scenario, processes to break, the seed, and the record of what held."""

import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import namedtuple_row

from tests.faults.databases import build
from tests.faults.processes import Forks, ended, start
from tests.faults.reconcile import outcome
from tests.faults.record import Held
from tests.faults.servers import Server
from tests.faults.world import World
from tests.world import citus
from tests.world.command import url
from tests.world.host import Host

_numbers = count(1)


@pytest.fixture
def chance(seed: int) -> random.Random:
    return random.Random(seed)


@pytest.fixture
def held(request: pytest.FixtureRequest, server: str) -> Iterator[Held]:
    """What held, to be counted; recorded when the test was green."""
    (name,) = request.node.get_closest_marker("fault").args
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    counted = Held(name.format(**parameters))
    failed = request.session.testsfailed
    yield counted
    if request.session.testsfailed == failed and counted.tries:
        with psycopg.connect(server, dbname="postgres") as connection:
            counted.server = str(connection.info.server_version // 10000)
            if citus.URL:
                counted.server += f", Citus {citus.version()}"
        counted.save()


@pytest.fixture(scope="session")
def forks(_clean_environment: None) -> Iterator[Forks]:
    """Starts processes of seqdev quickly."""
    started = Forks()
    yield started
    started.end()


@pytest.fixture(scope="session")
def world_template(server: str, template: str) -> Callable[[int], str]:
    """The name of a database with a world of so many people a user."""
    made: set[int] = set()

    def make(people: int) -> str:
        name = f"faults_world_{people}"
        if people not in made:
            with psycopg.connect(server, dbname="postgres", autocommit=True) as connection:
                connection.execute(f"create database {name} template {template} strategy file_copy".encode())
            build(url(server, name), people)
            made.add(people)
        return name

    return make


@pytest.fixture
def make_world(
    make_database: Callable[[str], str],
    world_template: Callable[[int], str],
    forks: Forks,
    held: Held,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., World]]:
    """Makes worlds: databases of their own with the host's tables filled."""
    opened: list[psycopg.Connection[object]] = []

    def make(people: int = 40) -> World:
        database = make_database(world_template(people))
        monkeypatch.setenv("SEQDEV_DATABASE_URL", database)
        connection = psycopg.connect(database, autocommit=True, row_factory=namedtuple_row)
        opened.append(connection)
        return World(database, Host(connection), forks, held)

    yield make
    for connection in opened:
        connection.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


@pytest.fixture(scope="session")
def stopped_server(server: str) -> Server:
    """A server with the world of 200 people a user, stopped, to be copied."""
    folder = Path(os.environ["SEQDEV_HOME"]).parent / "faults-servers"
    folder.mkdir(mode=0o711)
    made = Server(folder / "template")
    made.make()
    made.start()
    made.execute("create database service")
    assert ended(start(made.url("service"), "db", "init")).code == 0
    build(made.url("service"), 200)
    made.stop()
    return made


@pytest.fixture
def make_server(stopped_server: Server) -> Iterator[Callable[..., Server]]:
    """Makes running servers with a world in them."""
    made: list[Server] = []

    def make(**settings: str) -> Server:
        made.append(stopped_server.copy(f"server{next(_numbers)}"))
        made[-1].start(**settings)
        return made[-1]

    yield make
    for one in made:
        one.stop(signal.SIGQUIT)
        shutil.rmtree(one.folder)


@pytest.fixture
def expected(make_world: Callable[..., World]) -> list[str]:
    """The outcome of a tick that nothing befalls."""
    world = make_world()
    world.ok("tick")
    world.account()
    return outcome(world.host)
