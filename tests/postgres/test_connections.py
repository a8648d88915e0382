"""Connections: what they ask the server, what is kept of them, and what is said where none is made."""

import re
import signal
import time
from pathlib import Path

import psycopg
import pytest

from seqdev.errors import Refused
from seqdev.postgres import embedded, engine
from seqdev.postgres.engine import Database
from seqdev.settings import Settings
from tests.world.command import Cli, Start, url
from tests.world.host import Host

SECRET = "CANARY-password"

STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]*): (.*)")


def place(server: str) -> str:
    """Where a server is, as messages say it."""
    at = psycopg.conninfo.conninfo_to_dict(server)
    return f"the server at {at['host']}, port {at.get('port', 5432)},"


@pytest.mark.plain("it reads the log of the server, which is the embedded one's only")
def test_a_tick_asks_for_nothing_but_its_own_statements(host: Host, seqdev: Cli) -> None:
    log = embedded.status().log
    host.rows(f"alter database {host.value('select current_database()')} set log_statement = 'all'")
    begun = log.stat().st_size
    assert seqdev("tick").code == 0
    asked = STATEMENT.findall(log.read_bytes()[begun:].decode())
    assert any("/* seqdev postgres/check.sql */" in one for one in asked)
    own = ("/* seqdev ", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")
    assert [one for one in asked if not one.startswith(own)] == []
    assert {one for one in asked if one.startswith("BEGIN")} == {
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
    }


@pytest.mark.thorough
def test_a_statement_that_a_signal_ends_costs_no_new_connection(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    logins = tmp_path / "logins"
    script = tmp_path / "password"
    script.write_text(f"#!/bin/sh\necho >>{logins}\necho none\n")
    script.chmod(0o700)
    with host.connection.transaction():
        host.rows("lock table sequence_contacts")
        process = start("tick", SEQDEV_PASSWORD_COMMAND=str(script), SEQDEV_LOCK_TIMEOUT="30s")
        while not host.value("select count(*) from pg_locks where not granted"):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        process.wait(10)
    assert process.returncode == 143
    assert host.rows("select exit_code, reason from seqdev.run") == [(143, "ended by SIGTERM")]
    assert len(logins.read_text()) == 1


def test_savepoints_that_were_rolled_back_are_gone(database: str) -> None:
    """Those that stay would nest, and each hold a transaction id of its own."""
    tried = Database(Settings(database_url=database), "test", print)
    with tried.transaction(rollback=True) as tx:
        with pytest.raises(Refused), tx.savepoint():
            tx.ddl("select 1 / 0")
        with pytest.raises(psycopg.errors.InvalidSavepointSpecification):
            tx.ddl("release savepoint sa_savepoint_1")


@pytest.mark.parametrize("arguments", [["db", "check"], ["tick"], ["audit", "leads"]])
def test_a_database_that_does_not_exist_is_named_with_all_that_was_tried(
    arguments: "list[str]", server: str, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQDEV_DATABASE_URL", f"{url(server, 'nowhere')} password={SECRET}")
    # As long as any other connection is tried: beyond what a busy machine takes for the commands themselves.
    monkeypatch.setattr(engine, "FIRST_CONNECTION", engine.RETRY_PATIENCE)
    began = time.monotonic()
    for options in ([], ["--debug"]):
        ran = seqdev(*options, *arguments)
        assert (ran.code, ran.out) == (12, "")
        assert SECRET not in ran.err
        assert ran.err.endswith(
            f'seqdev: {place(server)} has no database "nowhere"'
            ' (tried with role "postgres")\n'
            "seqdev: check the database URL or PGDATABASE; a new one is made with createdb\n"
        )
    # Not tried again: that would take so long each time.
    assert time.monotonic() - began < 1.75 * engine.RETRY_PATIENCE.total_seconds()


def test_a_role_that_does_not_exist_is_named_with_all_that_was_tried(
    server: str, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "SEQDEV_DATABASE_URL", server.replace("user=postgres", f"user=nobody dbname=x password={SECRET}")
    )
    ran = seqdev("tick")
    assert (ran.code, ran.out) == (12, "")
    assert ran.err == (
        f'seqdev: {place(server)} has no role "nobody"'
        ' (tried with database "x")\n'
        "seqdev: check the database URL or PGUSER; without them the role is the system user's name\n"
    )


def test_names_in_an_error_do_not_reach_the_terminal_as_they_are(
    server: str, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQDEV_DATABASE_URL", f"{server} dbname='\033[31mred'")
    ran = seqdev("db", "check")
    assert ran.code == 12
    assert "red" in ran.err
    assert "\033" not in ran.err
