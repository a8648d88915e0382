"""Connections, transactions and their settings, retries.

The one way to run SQL: a :class:`Database` opens transactions, a :class:`Transaction` runs queries.
Everything a transaction needs is set with SET LOCAL, and nothing is prepared on the server, so that
all of it holds behind PgBouncer in transaction pooling.
"""

import logging
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from seqdev import signals
from seqdev.errors import Refused
from seqdev.postgres import conninfo
from seqdev.postgres.errors import CONFLICT, is_lost, is_refusal, reason, translate
from seqdev.postgres.queries import Query, Row
from seqdev.settings import Settings

if TYPE_CHECKING:
    from psycopg import Connection, Copy, Cursor
    from psycopg.abc import Buffer, Loader

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
IMMEDIATE: Query[None] = Query("postgres/immediate.sql", type(None))


class Transaction:
    """An open transaction. ``now`` is its one instant, by the server's clock; ``session`` its name."""

    def __init__(self, connection: "Connection[Any]", session: str) -> None:
        self._connection = connection
        self.session = session
        self.now = datetime.min

    def rows(self, query: Query[Row], **given: object) -> list[Row]:
        """All rows of ``query``. Raises StatementError for parameters that the file does not have."""
        with self._run(query, given) as cursor:
            return cursor.fetchall()

    def one(self, query: Query[Row], **given: object) -> Row:
        """The single row of ``query``."""
        (row,) = self.rows(query, **given)
        return row

    def stream(self, query: Query[Row], **given: object) -> Iterator[Row]:
        """The rows of ``query`` through a cursor on the server: memory does not grow with them."""
        from psycopg.rows import class_row

        statement = query.statement
        with self._connection.cursor(name="seqdev", row_factory=class_row(query.row)) as cursor:
            cursor.itersize = 5000
            cursor.execute(statement.text.encode(), statement.bind(given))
            yield from cursor

    def execute(self, query: Query[None], **given: object) -> int:
        """Run a statement that returns no rows; the number of rows it touched."""
        statement = query.statement
        return self._connection.execute(statement.text.encode(), statement.bind(given)).rowcount

    def constraints_immediate(self) -> None:
        """Check deferred constraints at each statement from now on, so that a refusal names its row."""
        self.execute(IMMEDIATE)

    @property
    def backend_pid(self) -> int:
        """The process of the server as the connection knows it: behind a pooler, none that there is."""
        return self._connection.info.backend_pid

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part of the transaction that is undone alone when the server refuses its data: raises Refused."""
        import psycopg

        try:
            with self._connection.transaction():
                yield
        except psycopg.Error as error:
            if is_refusal(error.sqlstate or ""):
                raise Refused(reason(error)) from error
            raise

    @contextmanager
    def cancellable(self) -> Iterator[None]:
        """A part of the transaction whose cancellation by the server is raised as Cancelled here and now."""
        import psycopg

        try:
            yield
        except psycopg.errors.QueryCanceled as error:
            raise translate(error) from error

    def ddl(self, text: str) -> None:
        """Run a statement that another statement has made, as the upgrade's plan does."""
        self._connection.execute(text.encode())

    @contextmanager
    def copy(self, query: Query[None]) -> "Iterator[Copy]":
        """A COPY … FROM STDIN to write rows to."""
        with self._connection.cursor() as cursor, cursor.copy(query.statement.text.encode()) as copy:
            yield copy

    @contextmanager
    def _run(self, query: Query[Row], given: Mapping[str, object]) -> "Iterator[Cursor[Row]]":
        from psycopg.rows import class_row

        statement = query.statement
        with self._connection.cursor(row_factory=class_row(query.row)) as cursor:
            cursor.execute(statement.text.encode(), statement.bind(given))
            yield cursor


class Database:
    """The database of one command: one connection, opened when first needed, opened again when lost."""

    def __init__(self, settings: Settings, command: str, say: Callable[[str], None]) -> None:
        self.settings = settings
        self.mark = os.urandom(4).hex()
        self.session = f"seqdev {command} {self.mark}"
        """The application name: others find this very process by it, whatever its connection is."""
        self.guard: Callable[[Transaction], None] | None = None
        """What each transaction that writes has to pass: it is a batch, and raises to end here."""
        self._say = say
        self._conninfo: str | None = None
        self._connection: Connection[Any] | None = None
        self._password: str | None = None
        """Found beforehand; None: it is found when a connection is opened."""
        self._met = False

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
        patience: timedelta = RETRY_PATIENCE,
        statement_timeout: timedelta | None = None,
    ) -> T:
        """``work`` in a transaction of its own, tried again as a whole when the server asks for that.

        Conflicts (serialization, deadlock, lock timeout) and lost connections are tried again for
        ``patience``. ``statement_timeout`` stands in for the configured one. ``work`` must decide everything
        from the state it finds: a commit whose answer was lost may have happened.
        """
        import psycopg

        started = time.monotonic()
        attempt = 0
        while True:
            # A server that never answered is more likely misspelt than about to come back.
            allowed = patience if self._met else min(patience, FIRST_CONNECTION)
            begun = False
            try:
                with self._transaction(read_only, False, statement_timeout) as transaction:
                    begun = True
                    return work(transaction)
            except psycopg.Error as error:
                lost = is_lost(error)
                # Until the first statement has set our own, the time limit is the role's.
                cut_short = error.sqlstate == "57014" and not begun
                if not (lost or cut_short or error.sqlstate in CONFLICT):
                    raise translate(error) from error
                if lost:
                    self.close()
                attempt += 1
                pause = random.uniform(0.5, 1.0) * min(2.0, 0.05 * 2**attempt)
                # At least once more: a process that was stopped all the while has not tried at all.
                late = time.monotonic() + pause > started + allowed.total_seconds()
                if late and (attempt > 1 or not self._met):
                    raise translate(error) from error
                signals.sleep(pause)

    def autocommit(self, text: str) -> None:
        """Run one statement outside any transaction, as CREATE INDEX CONCURRENTLY demands."""
        import psycopg

        try:
            self._open().execute(text.encode())
        except psycopg.Error as error:
            raise translate(error) from error

    def conninfo(self) -> str:
        """The libpq conninfo of the database: the one named, libpq's own, else the embedded server's."""
        if self._conninfo is None:
            self._conninfo = conninfo.find(self.settings.database_url, self._say)
        return self._conninfo

    @property
    def connected(self) -> bool:
        """Whether there is a connection that is not known to be lost."""
        return self._connection is not None and not self._connection.closed

    def another(self) -> "Database":
        """The same database for another thread, through a connection of its own, which is not yet open.

        Raises PermissionRefused where the password command fails: it is run here and now.
        """
        self.conninfo()
        other = copy(self)
        other._connection = None
        other._password = self._find_password()
        return other

    def close(self) -> None:
        """Drop the connection; the next transaction opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(
        self, read_only: bool, rollback: bool = False, statement_timeout: timedelta | None = None
    ) -> Iterator[Transaction]:
        if statement_timeout is None:
            statement_timeout = self.settings.statement_timeout
        guard = None if read_only else self.guard
        if self.guard:
            signals.check()
        connection = self._open()
        connection.read_only = read_only
        with connection.transaction(force_rollback=rollback):
            transaction = Transaction(connection, self.session)
            transaction.now = transaction.one(
                BEGIN,
                schema=self.settings.schema,
                timezone=self.settings.timezone,
                lock_timeout=_milliseconds(self.settings.lock_timeout),
                statement_timeout=_milliseconds(statement_timeout),
                idle_timeout=_milliseconds(_IDLE),
                alive_check=_milliseconds(_ALIVE_CHECK),
                batch=guard is not None,
            ).now
            if guard:
                guard(transaction)
            yield transaction

    def _find_password(self) -> str | None:
        return conninfo.password(self.settings.database_url, self.settings.password_command)

    def _open(self) -> "Connection[Any]":
        import psycopg

        idle = psycopg.pq.TransactionStatus.IDLE
        if self._connection is not None and self._connection.info.transaction_status is not idle:
            # Even the ROLLBACK was cancelled, or the connection is lost: nothing of it is taken along.
            self.close()
        if self._connection is None:
            # What the driver has to say (a rollback on a lost connection) is said by the error that follows.
            logging.getLogger("psycopg").setLevel(logging.CRITICAL)
            connection = psycopg.connect(
                self.conninfo(),
                autocommit=True,
                prepare_threshold=None,
                application_name=self.session,
                client_encoding="utf8",
                connect_timeout=10,
                password=self._password or self._find_password(),
            )
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            connection.adapters.register_loader("timestamptz", _instants())
            self._connection = connection
            self._met = True
        return self._connection


def _instants() -> "type[Loader]":
    """Reads instants; those outside Python's calendar, which hosts write for "never", as its ends."""
    from psycopg import DataError
    from psycopg.types.datetime import TimestamptzLoader

    class Instants(TimestamptzLoader):
        def load(self, data: "Buffer") -> datetime:
            try:
                return super().load(data)
            except DataError:
                before = bytes(data).endswith(b"BC") or bytes(data).startswith(b"-")
                return (datetime.min if before else datetime.max).replace(tzinfo=UTC)

    return Instants


def _milliseconds(duration: timedelta) -> str:
    return f"{int(duration.total_seconds() * 1000)}ms"
