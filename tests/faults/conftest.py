"""A world for each scenario, processes to break, the seed, and the record of what held."""

import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import namedtuple_row

from tests.conftest import url
from tests.faults.processes import Forks, ended, start
from tests.faults.reconcile import outcome
from tests.faults.record import Held
from tests.faults.servers import Server
from tests.faults.world import World
from tests.world.host import Host

HERE = Path(__file__).parent
_numbers = count(1)


def scale(number: int) -> int:
    """``number`` of tries or people, times SEQDEV_TEST_FAULTS_SCALE (default 1), at least 1."""
    return max(1, int(number * float(os.environ.get("SEQDEV_TEST_FAULTS_SCALE") or 1)))


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of everything random in the test, printed, which pytest shows when the test fails."""
    chosen = int(os.environ.get("SEQDEV_TEST_SEED") or random.randrange(2**32))
    print(f"SEQDEV_TEST_SEED={chosen} repeats {request.node.name}")
    return chosen


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


def build(database: str, people: int) -> None:
    """Fill the host's tables in ``database``."""
    with psycopg.connect(database, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute((HERE / "world.sql").read_bytes(), {"people": people})


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


def world_of(server: Server, forks: Forks, held: Held) -> World:
    """The world in a server of its own."""
    url = server.url("service")
    connection = psycopg.connect(url, autocommit=True, row_factory=namedtuple_row)
    return World(url, Host(connection), forks, held)


@contextmanager
def role(world: World, *settings: str, superuser: bool = False) -> Iterator[str]:
    """The world's commands log in as a role with these settings: its name."""
    name = world.host.connection.info.dbname + "_role"
    world.host.rows(f"create role {name} login {'superuser' if superuser else ''}")
    for schema in ("public", "seqdev"):
        world.host.rows(f"grant all on schema {schema} to {name}")
        world.host.rows(f"grant all on all tables in schema {schema} to {name}")
        world.host.rows(f"grant all on all sequences in schema {schema} to {name}")
    for setting in settings:
        world.host.rows(f"alter role {name} set {setting}")
    direct, world.url = world.url, f"{world.url} user={name}"
    try:
        yield name
    finally:
        world.url = direct
        world.host.rows(f"drop owned by {name}")
        world.host.rows(f"drop role {name}")


@pytest.fixture
def expected(make_world: Callable[..., World]) -> list[str]:
    """The outcome of a tick that nothing befalls."""
    world = make_world()
    world.ok("tick")
    world.account()
    return outcome(world.host)
