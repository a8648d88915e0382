"""Transactions and their settings, retries.

The one way to run SQL: a :class:`Database` opens transactions, a :class:`Transaction` runs queries.
Everything a transaction needs is set with SET LOCAL, and nothing is prepared on the server, so that
all of it holds behind PgBouncer in transaction pooling.
"""

import gc
import os
import random
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from seqdev import signals
from seqdev.postgres import citus, conninfo, replica, rules, stand_ins, strange, zone
from seqdev.postgres.errors import CONFLICT, driver_errors, is_lost, translate
from seqdev.postgres.queries import Query
from seqdev.postgres.replica import CANCELLED, Replica, is_conflict
from seqdev.postgres.transaction import Transaction, run_made
from seqdev.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, RootTransaction

T = TypeVar("T")

RETRY_PATIENCE = timedelta(seconds=20)
"""How long a transaction is tried again, unless the caller has less time."""

FIRST_CONNECTION = timedelta(seconds=3)
"""How long a server is tried that this process has not met yet."""

_IDLE = timedelta(seconds=15)
_ALIVE_CHECK = timedelta(milliseconds=200)


@dataclass(frozen=True)
class Began:
    """The row of ``postgres/begin.sql``: the instant of the transaction."""

    now: datetime


BEGIN = Query("postgres/begin.sql", Began)


class Database:
    """The database of one command: a connection for each thread, opened when needed, anew when lost.

    ``ruled``: the command decides by the rules that the database keeps: it reads them before all else, and
    anew in each batch. Another one works also where this host and the database disagree about them.
    """

    def __init__(
        self, settings: Settings, command: str, say: Callable[[str], None], ruled: bool = True
    ) -> None:
        self.settings = settings
        """With the rules, as soon as there was a transaction: a transaction has those that hold in it."""
        self._given = settings
        self._ruled = ruled
        self.mark = os.urandom(4).hex()
        self.session = f"seqdev {command} {self.mark}"
        """The application name: others find this very process by it, whatever its connection is."""
        self.guard: Callable[[Transaction], rules.Held] | None = None
        """What each transaction that writes has to pass: it is a batch, and raises to end here; else it
        returns the rules of the database."""
        self._stand_ins: dict[str, str] = {}
        """By table: for a command that only reads."""
        self._say = say
        self.connected = False
        """Whether there is a connection that is not known to be lost."""
        self.name = ""
        """Server, port and name, as soon as there was a transaction."""
        self.replica: Replica | None = None
        """How far the server is behind its primary, where it is a standby."""
        self._conninfo: str | None = None
        self._engine: Engine | None = None
        self._passwords: SimpleQueue[str | None] = SimpleQueue()
        """Found beforehand, for connections of other threads."""
        self._met = False
        self.instants: list[datetime] = []
        """That of the last transaction, by the server's clock. Who shows instants may keep the list."""
        self._zone: str | None = None
        """In which naive timestamps are read; None: not yet known."""
        self.distributed = False
        """Citus has spread the host's tables over its nodes; known as soon as there was a transaction."""

    @contextmanager
    def transaction(
        self, *, read_only: bool = False, rollback: bool = False, statement_timeout: timedelta | None = None
    ) -> Iterator[Transaction]:
        """A READ COMMITTED transaction, committed at the end of the block, or with ``rollback`` undone.

        ``statement_timeout`` stands in for the configured one; zero is none at all.
        Raises the SeqdevError that fits the server's error. For work worth trying again use ``retry``.
        """
        import psycopg

        try:
            with self._transaction(read_only, rollback, statement_timeout) as transaction:
                yield transaction
        except psycopg.Error as error:
            raise translate(error) from error

    def retry(
        self,
        work: Callable[[Transaction], T],
        *,
        read_only: bool = False,
        snapshot: bool = False,
        patience: timedelta = RETRY_PATIENCE,
        statement_timeout: timedelta | None = None,
    ) -> T:
        """``work`` in a transaction of its own, tried again as a whole when the server asks for that.

        ``snapshot``: it is read-only, and all its statements see the database as the first one does
        (REPEATABLE READ). Conflicts (serialization, deadlock, lock timeout) and lost connections are tried
        again for ``patience``. ``statement_timeout`` stands in for the configured one. ``work`` must decide
        everything from the state it finds: a commit whose answer was lost may have happened.
        """
        import psycopg

        started = time.monotonic()
        attempt = 0
        while True:
            # A server that never answered is more likely misspelt than about to come back.
            allowed = patience if self._met else min(patience, FIRST_CONNECTION)
            begun = False
            try:
                with self._transaction(read_only, False, statement_timeout, snapshot) as transaction:
                    begun = True
                    return work(transaction)
            except psycopg.Error as error:
                lost = is_lost(error)
                # Until the first statement has set our own, the time limit is the role's.
                cut_short = error.sqlstate == "57014" and not begun
                if not (lost or cut_short or error.sqlstate in CONFLICT):
                    raise translate(error) from error
                if is_conflict(error):
                    self._say(CANCELLED)
                attempt += 1
                pause = random.uniform(0.5, 1.0) * min(2.0, 0.05 * 2**attempt)
                # At least once more: a process that was stopped all the while has not tried at all.
                late = time.monotonic() + pause > started + allowed.total_seconds()
                if late and (attempt > 1 or not self._met):
                    raise translate(error) from error
                signals.sleep(pause)

    def stand_in(self) -> None:
        """From now on, what the upgrade has not made yet is empty: for commands that only read."""
        # Not once a statement fails: who has written a part of the answer cannot begin anew.
        schema = self.settings.schema
        found = self.retry(lambda tx: tx.rows(stand_ins.STAND_INS, schema=schema), read_only=True)
        self._stand_ins = {one.table_name: one.stand_in for one in found}
        if not found:
            return
        # What is no database of the host's lacks it all, and an upgrade is the last thing that it needs.
        words = self.retry(lambda tx: strange.look(tx, schema), read_only=True)
        self._say(f"{words.what}; {words.help}" if words else stand_ins.said(found))

    def autocommit(self, text: str) -> None:
        """Run one statement outside any transaction, as CREATE INDEX CONCURRENTLY demands."""
        import psycopg

        try:
            with driver_errors(), self._connect() as connection:
                run_made(connection.execution_options(isolation_level="AUTOCOMMIT"), text)
        except psycopg.Error as error:
            raise translate(error) from error

    def conninfo(self) -> str:
        """The libpq conninfo of the database: the one named, libpq's own, else the embedded server's."""
        if self._conninfo is None:
            self._conninfo = conninfo.find(self.settings.database_url, self._say)
        return self._conninfo

    def another(self) -> "Database":
        """The same database for another thread, with its own connection of the same pool, not yet open.

        Raises PermissionRefused where the password command fails: it is run here and now.
        """
        self._pool()
        self._passwords.put(_find_password(self.settings))
        return copy(self)

    def close(self) -> None:
        """Close the connections that are not in a transaction; the next transaction opens a new one."""
        self._pool().dispose()

    @contextmanager
    def _transaction(
        self,
        read_only: bool,
        rollback: bool = False,
        statement_timeout: timedelta | None = None,
        snapshot: bool = False,
    ) -> Iterator[Transaction]:
        if statement_timeout is None:
            statement_timeout = self.settings.statement_timeout
        read_only = read_only or snapshot
        guard = None if read_only else self.guard
        if self.guard:
            signals.check()
        with driver_errors(), self._connect() as connection:
            connection.execution_options(postgresql_readonly=read_only)
            if snapshot:
                connection.execution_options(isolation_level="REPEATABLE READ")
            begun = connection.begin()
            try:
                transaction = Transaction(connection, self.session, self.distributed)
                transaction.stand_ins = self._stand_ins
                begin = {
                    "schema": self.settings.schema,
                    "timezone": self._zone or self.settings.timezone or zone.DEFAULT,
                    "lock_timeout": _milliseconds(self.settings.lock_timeout),
                    "statement_timeout": _milliseconds(statement_timeout),
                    "idle_timeout": _milliseconds(_IDLE),
                    "alive_check": _milliseconds(_ALIVE_CHECK),
                    "batch": guard is not None,
                }
                transaction.now = transaction.one(BEGIN, **begin).now
                self.instants[:] = [transaction.now]
                if self._zone is None:
                    self._look(transaction)
                    if self._zone != begin["timezone"]:
                        transaction.one(BEGIN, **begin | {"timezone": self._zone})
                transaction.propagate()
                if guard:
                    self._hold(guard(transaction))
                transaction.settings = self.settings
                yield transaction
                if rollback:
                    begun.rollback()
                else:
                    begun.commit()
            except BaseException:
                _undo(connection, begun)
                self.connected = not connection.invalidated
                raise

    def _look(self, transaction: Transaction) -> None:
        """At what is kept with the database, in the first transaction."""
        self.name = transaction.database
        readable = transaction.one(zone.READABLE)
        if readable.standby:
            self.replica = replica.look(transaction)
        if readable.rules and self._ruled:
            kept = transaction.one(rules.HELD)
            self._hold(kept)
            for words in rules.overridden(kept, self._given):
                self._say(words)
        if readable.citus:
            self.distributed = transaction.distributed = citus.is_distributed(transaction)
        self._zone = zone.decide(transaction, self.settings, readable.zone)

    def _hold(self, kept: rules.Held) -> None:
        if self._ruled:
            self.settings = rules.decide(kept, self._given)

    def _connect(self) -> "Connection":
        self.connected = False
        connection = self._pool().connect()
        self._met = self.connected = True
        return connection

    def _pool(self) -> "Engine":
        if self._engine is None:
            from seqdev.postgres import connections

            # Not a method: the pool would keep this object alive, and with it the connections.
            password = partial(_next_password, self.settings, self._passwords)
            self._engine = connections.engine(self.conninfo(), self.session, password)
            weakref.finalize(self, self._engine.dispose)
            # All is imported, see __main__: from now on garbage is collected, but not looked for in modules.
            gc.freeze()
            gc.enable()
        return self._engine


def _undo(connection: "Connection", begun: "RootTransaction") -> None:
    """Roll back. What has ended the transaction goes on, not what its end meets on a lost connection."""
    from sqlalchemy.exc import DBAPIError

    try:
        begun.rollback()
    except DBAPIError:
        connection.invalidate()


def _find_password(settings: Settings) -> str | None:
    return conninfo.password(settings.database_url, settings.password_command)


def _next_password(settings: Settings, found: "SimpleQueue[str | None]") -> str | None:
    try:
        return found.get_nowait()
    except Empty:
        return _find_password(settings)


def _milliseconds(duration: timedelta) -> str:
    return f"{int(duration.total_seconds() * 1000)}ms"
