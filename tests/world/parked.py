"""Sessions that wait for the next command of their test, instead of being ended: a new one costs a third of a command.

Each process of seqdev begins a session of its own, which learns anew what the tables are. Where a test runs command
after command in its own process, the session that one has closed is taken by the next, after ``DISCARD ALL``, which
leaves nothing of the command before but what the server remembers of the tables. The connection itself is a new one.

A new session is begun where it would be another one: with another conninfo, password or environment; after ``alter
role … set``, ``alter database … set`` and the like have changed what a session is given at its start; where the one that
waited has been ended, or was left in a transaction. So it is in the tests of ``ABOUT_SESSIONS``, and in all with
SEQDEV_TEST_NEW_SESSIONS=1, as ``make thorough`` runs them: what passes only because of this fails there.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import pq

from seqdev.postgres import connections
from tests.world import citus
from tests.world.command import ROOT

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

NEW_SESSIONS = bool(os.environ.get("SEQDEV_TEST_NEW_SESSIONS") or citus.URL)
"""Also on Citus, whose sessions have sessions of their own on other nodes."""

ABOUT_SESSIONS = {
    "concurrency": "what sessions do to each other",
    "demo": "it drops its database in the end, which no session may be in",
    "faults": "sessions and servers are broken",
    "postgres/test_citus.py": "sessions on several nodes",
    "postgres/test_connections.py": "how sessions are begun, lost and counted",
    "postgres/test_embedded.py": "its server comes and goes",
    "postgres/test_embedded_versions.py": "its servers come and go",
    "postgres/test_passwords.py": "each session is let in by a password",
    "postgres/test_standby.py": "its servers change their part",
    "postgres/test_tls.py": "each session is let in by a certificate",
    "tick/test_backlog.py": "how many sessions a tick has",
}
"""By folder or file of ``tests``: why each command there begins a session of its own."""

_TAKE = b"""
    select
        pg_catalog.set_config('application_name', $1, false),
        pg_catalog.concat_ws(
            ' ', pg_catalog.pg_conf_load_time(), d::text, r::text,
            (select pg_catalog.string_agg(s::text, ' ' order by s::text) from pg_catalog.pg_db_role_setting as s)
        )
    from pg_catalog.pg_database as d, pg_catalog.pg_roles as r
    where d.datname = pg_catalog.current_database() and r.rolname = session_user
"""
"""Names the session; returns what a new one would be given at its start."""

_LEAVE = (b"discard all", b"set application_name = 'parked'")

Key = tuple[object, ...]


class Sessions:
    """Sessions that wait, by what they were begun with, each with what it was given."""

    def __init__(self) -> None:
        self._waiting: dict[Key, list[tuple[PGconn, bytes]]] = {}
        self._lock = Lock()

    def connect(
        self, conninfo: str, *, application_name: str, prepare_threshold: None, **options: Any
    ) -> "Parking":
        """What ``psycopg.connect`` makes; on a session that waits, if there is one like a new one."""
        environment = [(name, value) for name, value in os.environ.items() if name.startswith("PG")]
        key = (conninfo, *sorted(options.items()), *sorted(environment))
        while waiting := self._next(key):
            session, given = waiting
            if _take(session, application_name) == given:
                connection = Parking(session)
                break
            session.finish()
        else:
            connection = Parking.connect(
                conninfo, application_name=application_name, prepare_threshold=None, **options
            )
            begun_with = _take(connection.pgconn, application_name)
            if begun_with is None:
                return connection
            given = begun_with
        connection.prepare_threshold = None
        connection.park = lambda session: self._park(key, session, given)
        return connection

    def end(self) -> None:
        """End those that wait."""
        with self._lock:
            for waiting in self._waiting.values():
                for session, _ in waiting:
                    session.finish()
            self._waiting.clear()

    def _next(self, key: Key) -> "tuple[PGconn, bytes] | None":
        with self._lock:
            waiting = self._waiting.get(key)
            return waiting.pop() if waiting else None

    def _park(self, key: Key, session: "PGconn", given: bytes) -> None:
        if all(session.exec_(statement).status == pq.ExecStatus.COMMAND_OK for statement in _LEAVE):
            with self._lock:
                self._waiting.setdefault(key, []).append((session, given))
        else:
            session.finish()


class Parking(psycopg.Connection[Any]):
    """A connection whose session outlives it: once closed, it has none any more."""

    park: "Callable[[PGconn], None] | None" = None

    def close(self) -> None:
        if self.closed or self.park is None or self.info.transaction_status is not pq.TransactionStatus.IDLE:
            super().close()
            return
        session, self.pgconn = self.pgconn, pq.PGconn()
        super().close()
        self.park(session)


def _take(session: "PGconn", name: str) -> bytes | None:
    """What a new session would be given, by one that has the name from now on; None: it has ended."""
    result = session.exec_params(_TAKE, [name.encode()])
    return result.get_value(0, 1) if result.status == pq.ExecStatus.TUPLES_OK else None


class _Driver:
    """``psycopg`` as ``connections`` knows it, but for ``connect``."""

    def __init__(self, connect: Callable[..., Parking]) -> None:
        self.connect = connect

    def __getattr__(self, name: str) -> Any:
        return getattr(psycopg, name)


def is_about_sessions(file: Path) -> bool:
    """Whether the tests of the file begin each session anew."""
    place = file.relative_to(ROOT / "tests")
    return not ABOUT_SESSIONS.keys().isdisjoint(str(part) for part in (place, *place.parents))


@contextmanager
def parked(file: Path) -> Iterator[Sessions]:
    """The sessions that wait, for a test in ``file``."""
    sessions = Sessions()
    with pytest.MonkeyPatch.context() as patch:
        if not (NEW_SESSIONS or is_about_sessions(file)):
            patch.setattr(connections, "psycopg", _Driver(sessions.connect))
        yield sessions
    sessions.end()
