"""Connections, transactions and their settings, the mapping of server errors, retries.

The one way to run SQL: a :class:`Database` opens transactions, a :class:`Transaction` runs queries.
Everything a transaction needs is set with SET LOCAL, and nothing is prepared on the server, so that
all of it holds behind PgBouncer in transaction pooling.
"""

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from seqdev import embedded
from seqdev.config import Settings
from seqdev.errors import (
    Cancelled,
    PermissionRefused,
    Refused,
    SchemaError,
    SeqdevError,
    Unavailable,
    UsageError,
)
from seqdev.refusals import is_refusal, reason
from seqdev.sql import Query, Row

if TYPE_CHECKING:
    import psycopg
    from psycopg import Connection, Copy, Cursor

T = TypeVar("T")

LIBPQ_VARIABLES = ("PGSERVICE", "PGHOST", "PGHOSTADDR", "PGDATABASE", "PGPORT", "PGUSER")
"""With one of these set, libpq's own rules find the database."""

RETRY_PATIENCE = timedelta(seconds=20)
"""How long a transaction is tried again, unless the caller has less time."""

FIRST_CONNECTION = timedelta(seconds=3)
"""How long a server is tried that this process has not met yet."""

_CONFLICT = {"40001", "40P01", "55P03"}
_LOST = {"57P01", "57P02", "57P03", "53300", "08000", "08001", "08003", "08004", "08006", "08007"}
_IDLE = timedelta(seconds=15)
_ALIVE_CHECK = timedelta(milliseconds=200)


@dataclass(frozen=True)
class Began:
    """The row of ``session/begin.sql``: the instant of the transaction."""

    now: datetime


BEGIN = Query("session/begin.sql", Began)


class Transaction:
    """An open transaction. ``now`` is its one instant, by the server's clock."""

    def __init__(self, connection: "Connection[Any]") -> None:
        self._connection = connection
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
        self._command = command
        self._say = say
        self._conninfo: str | None = None
        self._connection: Connection[Any] | None = None
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
                if not (lost or cut_short or error.sqlstate in _CONFLICT):
                    raise translate(error) from error
                if lost:
                    self.close()
                attempt += 1
                pause = random.uniform(0.5, 1.0) * min(2.0, 0.05 * 2**attempt)
                if time.monotonic() + pause > started + allowed.total_seconds():
                    raise translate(error) from error
                time.sleep(pause)

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
            self._conninfo = self._find()
        return self._conninfo

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
        connection = self._open()
        connection.read_only = read_only
        with connection.transaction(force_rollback=rollback):
            transaction = Transaction(connection)
            transaction.now = transaction.one(
                BEGIN,
                schema=self.settings.schema,
                timezone=self.settings.timezone,
                lock_timeout=_milliseconds(self.settings.lock_timeout),
                statement_timeout=_milliseconds(statement_timeout),
                idle_timeout=_milliseconds(_IDLE),
                alive_check=_milliseconds(_ALIVE_CHECK),
            ).now
            yield transaction

    def _open(self) -> "Connection[Any]":
        import psycopg

        if self._connection is None or self._connection.closed:
            connection = psycopg.connect(
                self.conninfo(),
                autocommit=True,
                prepare_threshold=None,
                application_name=f"seqdev {self._command}",
                client_encoding="utf8",
                connect_timeout=10,
            )
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            self._connection = connection
            self._met = True
        return self._connection

    def _find(self) -> str:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        if self.settings.database_url:
            try:
                return make_conninfo(**conninfo_to_dict(self.settings.database_url))  # type: ignore[arg-type]
            except ProgrammingError as error:
                # libpq's text repeats what it could not read, and that may be part of a password.
                raise UsageError(
                    "the database URL cannot be read",
                    "write postgresql://user@host:5432/name; characters such as @ in a password as %40",
                ) from error
        if any(os.environ.get(name) for name in LIBPQ_VARIABLES):
            return ""
        self._say(f"no database named: working on the embedded server in {embedded.home()}")
        return embedded.start()


def is_lost(error: "psycopg.Error") -> bool:
    """Whether the connection is gone (or never came), so that a new one may help."""
    import psycopg

    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError) and not _is_final(error)
    return error.sqlstate in _LOST


def _is_final(error: "psycopg.Error") -> bool:
    # A refused login comes without a SQLSTATE: libpq only passes the server's words on.
    text = str(error)
    return "authentication failed" in text or "no pg_hba.conf entry" in text or "does not exist" in text


def translate(error: "psycopg.Error") -> SeqdevError:
    """The SeqdevError for a server error, in our own words: the server's may carry data."""
    import psycopg

    state = error.sqlstate or ""
    diag = error.diag
    where = ".".join(name for name in (diag.table_name, diag.column_name or diag.constraint_name) if name)
    if state == "" and isinstance(error, psycopg.OperationalError):
        if "authentication failed" in str(error) or "no pg_hba.conf entry" in str(error):
            return PermissionRefused("the server refused the login", "check user, password and pg_hba.conf")
        if "does not exist" in str(error):
            return PermissionRefused("the server knows no such database or role", "check the database URL")
        return Unavailable("the database cannot be reached", "check host and port, and that the server runs")
    if state.startswith("28"):
        return PermissionRefused("the server refused the login", "check user, password and pg_hba.conf")
    if state == "3D000":
        return PermissionRefused("the server knows no such database", "check the database URL")
    if state == "42501":
        return PermissionRefused(
            "the database role may not do this",
            "grant it the privilege, or use the role made for this command",
        )
    if state == "25006":
        return SchemaError("the server is read-only", "point seqdev at the primary")
    if state in {"42P01", "42703", "3F000", "42883", "42804", "42P10"}:
        return SchemaError("the schema is not one seqdev can work on", "see what is missing: seqdev db check")
    if state == "22023" and "TimeZone" in str(diag.message_primary):
        return UsageError(
            "the server does not know the configured time zone", "write a name such as Asia/Jakarta"
        )
    if state in _CONFLICT:
        return Unavailable(
            f"other sessions held the rows for too long ({_condition(error)})", "run the command again"
        )
    if state == "57014":
        return Cancelled("the server cancelled a statement (time limit or a person)", "run the command again")
    if state in _LOST or state.startswith("53"):
        return Unavailable(f"the database is not available ({_condition(error)})", "run the command again")
    if is_refusal(state):
        return Refused(reason(error))
    place = f" at {where}" if where else ""
    return SeqdevError(
        f"the server refused a statement: {_condition(error)}{place}", "run with --debug for more"
    )


def _condition(error: "psycopg.Error") -> str:
    return f"{type(error).__name__}, SQLSTATE {error.sqlstate or 'none'}"


def _milliseconds(duration: timedelta) -> str:
    return f"{int(duration.total_seconds() * 1000)}ms"
