"""A real server for the session, a database from a template for each test, the command line as a function."""

import os
import random
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
import typer.main
from psycopg.rows import namedtuple_row

from seqdev import cli
from seqdev.cli import main
from seqdev.output import progress
from seqdev.postgres import binaries as server_binaries
from seqdev.postgres import embedded
from seqdev.postgres.conninfo import LIBPQ_VARIABLES
from tests.world import citus, worker
from tests.world.cases import pytest_collection_modifyitems as pytest_collection_modifyitems
from tests.world.citus import pytest_runtest_setup as pytest_runtest_setup
from tests.world.citus import pytest_terminal_summary as pytest_terminal_summary
from tests.world.command import Cli, Ran, Start, url
from tests.world.folders import folder_in_memory
from tests.world.forked import Forked
from tests.world.generations import GENERATIONS
from tests.world.generations import pytest_runtest_call as pytest_runtest_call
from tests.world.host import Host
from tests.world.parked import Sessions, parked
from tests.world.tcp import tcp as tcp

# As the fixture `seed` says: the same examples in each run.
hypothesis.settings.register_profile("same", derandomize=os.environ.get("SEQDEV_TEST_SEED") != "new")
hypothesis.settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> Iterator[None]:
    """Nothing of the person's own: no database, no configuration, no umask."""
    os.umask(0o022)
    with pytest.MonkeyPatch.context() as patch:
        for name in (*LIBPQ_VARIABLES, *(name for name in os.environ if name.startswith("SEQDEV_"))):
            if not name.startswith("SEQDEV_TEST_"):
                patch.delenv(name, raising=False)
        patch.setenv("XDG_CONFIG_HOME", "/nonexistent")
        if citus.URL:
            # What takes a moment elsewhere may take long there, and says so.
            patch.setattr(progress, "_EVERY", 3600.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def _commands_made_once() -> Iterator[None]:
    """A process makes the commands from their functions as it starts; this one starts thousands of times."""
    make, make_one = typer.main.get_command, cli.Commands.get_command
    root = make(cli.app)
    made: dict[str, Any] = {}

    def get_command(self: cli.Commands, context: object, name: str) -> Any:
        if name not in made:
            made[name] = make_one(self, context, name)
        return made[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", lambda app: root if app is cli.app else make(app))
        patch.setattr(cli.Commands, "get_command", get_command)
        yield


@pytest.fixture(scope="session", autouse=True)
def _statements_read_once() -> Iterator[None]:
    """The driver keeps what it has made of a statement, but not of a long one: most of a process's are sent once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("psycopg._queries.MAX_CACHED_STATEMENT_LENGTH", 1 << 17)
        yield


@pytest.fixture(scope="session")
def server(_clean_environment: None) -> Iterator[str]:
    """The conninfo of a server that is quick because it need not survive a power cut.

    SEQDEV_TEST_BINARIES names the folder of another server's binaries, to test on that version;
    SEQDEV_TEST_CITUS_URL a Citus that runs already, of one node or more.
    """
    if citus.URL:
        yield citus.server()
        return
    home = folder_in_memory("seqdev-tests-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEQDEV_HOME", str(home / "home"))
        with pytest.MonkeyPatch.context() as other:
            if binaries := os.environ.get("SEQDEV_TEST_BINARIES"):
                other.setattr(server_binaries, "find", lambda: Path(binaries))
            conninfo = embedded.start()
        with psycopg.connect(conninfo, dbname="postgres", autocommit=True) as connection:
            for setting in ("fsync = off", "full_page_writes = off", "synchronous_commit = off"):
                connection.execute(f"alter system set {setting}".encode())
            connection.execute("select pg_reload_conf()")
        yield conninfo
        embedded.stop()
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def template(server: str) -> Iterator[str]:
    """The name of a database with the host's tables, as ``seqdev db init`` makes them; on Citus, distributed."""
    with psycopg.connect(server, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"create database {_TEMPLATE}".encode())
    made = url(server, _TEMPLATE)
    if citus.URL:
        citus.extend(made)
    code = main(["--database-url", made, "db", "init", *(["--distributed"] if citus.URL else [])])
    assert code == 0
    if generation := os.environ.get("SEQDEV_TEST_GENERATION"):
        with psycopg.connect(made, autocommit=True) as connection:
            connection.execute(GENERATIONS[generation].encode())
    if citus.URL:
        citus.leave(server, _TEMPLATE)
    yield _TEMPLATE
    if citus.URL:
        with psycopg.connect(server, dbname="postgres", autocommit=True) as connection:
            connection.execute(f"drop database {_TEMPLATE} with (force)".encode())


_TEMPLATE = f"host_template{citus.OWN}"
_numbers = count(1)


@pytest.fixture(scope="session")
def manage(server: str) -> Iterator[Callable[[str], object]]:
    """Runs a statement about databases, over a connection that is kept: each new one costs as much as a small test."""
    connection: psycopg.Connection[Any] | None = None

    def run(statement: str) -> None:
        nonlocal connection
        # A test may have ended all sessions of the server.
        if connection is None or connection.closed:
            connection = psycopg.connect(server, dbname="postgres", autocommit=True)
        try:
            citus.manage(connection, statement)
        except psycopg.OperationalError:
            if not connection.closed:
                raise
            run(statement)

    yield run
    if connection:
        connection.close()


@pytest.fixture(autouse=True)
def _sessions(request: pytest.FixtureRequest) -> Iterator[Sessions]:
    """Commands in this process take each other's sessions, where the test is not about these."""
    with parked(request.path) as sessions:
        yield sessions


@pytest.fixture
def make_database(
    server: str, manage: Callable[[str], object], _sessions: Sessions
) -> Iterator[Callable[[str], str]]:
    """Makes databases from a template, and drops them in the end; returns their URL."""
    made: list[str] = []

    def make(template: str = "template1") -> str:
        name = f"test{citus.OWN}_{next(_numbers)}"
        if copied := bool(citus.URL) and template in made:
            citus.leave(server, template)
        manage(f"create database {name} template {template} strategy file_copy")
        if copied:
            manage(f"alter database {template} with allow_connections true")
        made.append(name)
        return url(server, name)

    yield make
    _sessions.end()
    for name in made:
        manage(f"drop database {name} with (force)")


@pytest.fixture
def database(make_database: Callable[[str], str], template: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a database with the host's tables, which every command of the test works on."""
    made = make_database(template)
    monkeypatch.setenv("SEQDEV_DATABASE_URL", made)
    return made


@pytest.fixture
def empty_database(make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a database without any table, which every command of the test works on."""
    made = make_database("template1")
    monkeypatch.setenv("SEQDEV_DATABASE_URL", made)
    return made


@pytest.fixture
def host(database: str) -> Iterator[Host]:
    """The host application: its tables, and what it writes to them."""
    with psycopg.connect(database, autocommit=True, row_factory=namedtuple_row) as connection:
        if citus.URL:
            # What some hosts have, and no Citus has unless it is told to.
            connection.execute("set citus.enable_unsafe_triggers = on")
        host = Host(connection)
        yield host
        # A test may have taken the tables away, or the connection.
        if not connection.closed and host.value("select to_regclass('broadcast_messages') is not null"):
            assert worker.passed_over(host.rows) == [], "messages that the host's worker cannot read"


@pytest.fixture
def connect() -> Iterator[Callable[[str], "psycopg.Connection[Any]"]]:
    """Connections of the test's own, in autocommit mode, closed in the end."""
    opened: list[psycopg.Connection[Any]] = []

    def open_(database: str) -> "psycopg.Connection[Any]":
        connection = psycopg.connect(database, autocommit=True, row_factory=namedtuple_row)
        opened.append(connection)
        return connection

    yield open_
    for connection in opened:
        connection.close()


@pytest.fixture
def seqdev(capfd: pytest.CaptureFixture[str]) -> Cli:
    """The command line, through its entry point, in this process."""

    def run(*argv: str) -> Ran:
        capfd.readouterr()
        code = main([str(argument) for argument in argv])
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture
def without_delay(host: Host) -> None:
    """A step whose trigger_delay_hours is zero is due at once."""
    host.rule("default_delay", "0s")


@pytest.fixture
def process() -> Cli:
    """The command line as a process of its own."""

    def run(*argv: str, stdin: str = "", **environment: str) -> Ran:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        ended = Forked([str(argument) for argument in argv], **pipes, env=os.environ | environment)
        try:
            out, err = ended.communicate(stdin, timeout=120)
        finally:
            ended.kill()
        return Ran(ended.returncode, out, err)

    return run


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of everything random in the test, printed, which pytest shows when the test fails.

    Always the same one, so that a change is not refused for what it has not touched; a new one under the mark `load`
    and where SEQDEV_TEST_SEED is `new`.
    """
    given = os.environ.get("SEQDEV_TEST_SEED", "")
    if given.isdigit():
        chosen = int(given)
    elif given == "new" or request.node.get_closest_marker("load"):
        chosen = random.randrange(2**32)
    else:
        chosen = zlib.crc32(request.node.nodeid.encode())
    print(f"SEQDEV_TEST_SEED={chosen} repeats {request.node.name}")
    return chosen


@pytest.fixture
def start(database: str) -> Iterator[Start]:
    """Starts seqdev as a process of its own; ends it with the test."""
    started = []

    def run(*argv: str, **environment: str) -> "subprocess.Popen[str]":
        process = Forked(
            [str(argument) for argument in argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"SEQDEV_DATABASE_URL": database} | environment,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()
