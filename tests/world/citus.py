"""Tests on Citus, the distributed Postgres: on one that runs already, never on an imitation of it.

``SEQDEV_TEST_CITUS_URL=postgresql://postgres@127.0.0.1:5432/postgres pytest tests/tick`` runs them there: each database
has the host's tables, distributed. One node is enough; it needs ``citus`` in ``shared_preload_libraries``, a superuser,
and ``max_worker_processes`` for a process of Citus's own in each database.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

URL = os.environ.get("SEQDEV_TEST_CITUS_URL", "")
"""Of the Citus that tests run on; empty: they run on plain Postgres."""

SHARDS = 4

OWN = f"_{os.getpid()}" if URL else ""
"""In the names of databases, on a server that is not this process's alone."""


def server() -> str:
    """The conninfo of the server, to which a database's name is added."""
    parts = {name: str(value) for name, value in conninfo_to_dict(URL).items() if name != "dbname"}
    return make_conninfo("", **parts)


def version() -> str:
    """Of the Citus that tests run on."""
    with psycopg.connect(URL) as connection:
        row = connection.execute("select split_part(citus_version(), ' ', 2)").fetchone()
        return str(row[0]) if row else ""


def extend(database: str) -> None:
    """Make Citus of an empty database, of one node that holds all shards."""
    with psycopg.connect(database, autocommit=True) as connection:
        info = connection.info
        connection.execute("create extension citus")
        connection.execute(f"alter database {info.dbname} set citus.shard_count = {SHARDS}".encode())
        connection.execute("select citus_set_coordinator_host(%s, %s)", [info.host, info.port])
        connection.execute(
            "select citus_set_node_property(%s, %s, 'shouldhaveshards', true)", [info.host, info.port]
        )


def distributing(run: Callable[[list[str]], int]) -> Callable[[list[str]], int]:
    """Runs command lines, and where they make the host's tables, makes them distributed on Citus."""

    def on_citus(arguments: list[str]) -> int:
        return run([*arguments, "--distributed"] if arguments[:2] == ["db", "init"] else arguments)

    return on_citus if URL else run


def manage(connection: "psycopg.Connection[Any]", statement: str) -> None:
    """A statement about a database that nobody is in: Citus's own process may have come back at that moment."""
    for left in range(9, -1, -1):
        try:
            connection.execute(statement.encode())
            return
        except psycopg.errors.ObjectInUse:
            if not left:
                raise
            time.sleep(0.2)


def leave(server: str, name: str) -> None:
    """End all sessions in a database, also Citus's own, so that it can be a template."""
    with psycopg.connect(server, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"alter database {name} with allow_connections false".encode())
        connection.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s", [name]
        )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """On Citus, a test that is marked as one of plain Postgres is skipped, with its reason."""
    if URL and (marker := item.get_closest_marker("plain")):
        pytest.skip(f"not on Citus: {marker.args[0]}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say that there was no Citus, where there was none."""
    if not URL:
        terminalreporter.write_line("NOT TESTED: Citus; SEQDEV_TEST_CITUS_URL names none", yellow=True)
