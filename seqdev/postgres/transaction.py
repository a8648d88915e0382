"""An open transaction: the one way to run SQL."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import starmap
from typing import TYPE_CHECKING, Any, TypeVar

from seqdev.errors import Held, Refused
from seqdev.postgres.errors import (
    CONFLICT,
    NOT_ON_CITUS,
    TOO_MUCH,
    driver_errors,
    is_refusal,
    locked_table,
    reason,
    translate,
    unsupported,
)
from seqdev.postgres.queries import Query, Row, Statement
from seqdev.postgres.stand_ins import used
from seqdev.settings import Settings

if TYPE_CHECKING:
    import psycopg
    from psycopg import Copy
    from sqlalchemy import Connection, CursorResult, Inspector


@dataclass(frozen=True)
class LockTimeout:
    """The row of ``postgres/lock_timeout.sql``."""

    lock_timeout: str


T = TypeVar("T")

PROPAGATE: Query[None] = Query("postgres/propagate.sql", type(None))
IMMEDIATE: Query[None] = Query("postgres/immediate.sql", type(None))
LOCK_TIMEOUT = Query("postgres/lock_timeout.sql", LockTimeout)

_STREAMED = 5_000
"""Rows that a stream fetches at a time."""


class Transaction:
    """An open transaction. ``now`` is its one instant, by the server's clock; ``session`` its name.

    ``settings``: with the rules that hold in it. ``distributed``: Citus has spread the host's tables over its
    nodes, and statements run as their files for that have them. ``stand_ins``: for missing tables of
    seqdev's own.
    """

    def __init__(self, connection: "Connection", session: str, distributed: bool = False) -> None:
        self._connection = connection
        self.session = session
        self.distributed = distributed
        self.now = datetime.min
        self.settings = Settings()
        self.stand_ins: Mapping[str, str] = {}

    def rows(self, query: Query[Row], **given: object) -> list[Row]:
        """All rows of ``query``. Raises StatementError for parameters that the file does not have."""
        return list(self._run(query, given))

    def one(self, query: Query[Row], **given: object) -> Row:
        """The single row of ``query``."""
        (row,) = self.rows(query, **given)
        return row

    def stream(self, query: Query[Row], **given: object) -> Iterator[Row]:
        """The rows of ``query`` through a cursor on the server: memory does not grow with them."""
        return self._run(query, given, yield_per=_STREAMED)

    def execute(self, query: Query[None], **given: object) -> int:
        """Run a statement that returns no rows; the number of rows it touched."""
        statement = self._statement(query)
        binds = statement.bind(given)
        with self._errors(statement):
            self._before(statement, binds)
            return self._connection.exec_driver_sql(statement.text, binds).rowcount

    def propagate(self) -> None:
        """Let the transaction's settings hold on all nodes: Citus passes on no others than it is told to."""
        if self.distributed:
            self.execute(PROPAGATE)

    def made(self, text: str, row: Callable[..., T]) -> list[T]:
        """The rows of a SELECT that another statement has made, each as a ``row`` of its columns.

        Raises Refused where what it reads fails: a view may run anything.
        """
        import psycopg

        try:
            with self.savepoint(), run_made(self._connection, text) as result:
                return list(starmap(row, result))
        except psycopg.ProgrammingError as error:
            raise Refused(reason(error)) from error

    def constraints_immediate(self) -> None:
        """Check deferred constraints at each statement from now on, so that a refusal names its row."""
        self.execute(IMMEDIATE)

    def inspector(self) -> "Inspector":
        """What the database has, by SQLAlchemy's inspector. Its many round trips are not for a tick."""
        from sqlalchemy import inspect

        from seqdev.postgres.connections import Dialect

        assert isinstance(self._connection.dialect, Dialect)
        self._connection.dialect.ask(self._connection)
        return inspect(self._connection)

    @property
    def backend_pid(self) -> int:
        """The process of the server as the connection knows it: behind a pooler, none that there is."""
        return self._driver.info.backend_pid

    @property
    def database(self) -> str:
        """The database: server, port and name, such as ``db.example:5432/app``."""
        info = self._driver.info
        return f"{info.host}:{info.port}/{info.dbname}"

    def wait_at_most(self, wait: timedelta) -> None:
        """From now on no statement waits longer for a lock: a shorter limit of the settings stays."""
        self.one(LOCK_TIMEOUT, most=wait)
        self.propagate()

    @contextmanager
    def savepoint(self, *, passes_by: bool = False) -> Iterator[None]:
        """A part of the transaction that is undone alone when the server refuses its data: raises Refused.

        With ``passes_by``, also when another session holds a row for too long, or a trigger says to try
        again later: raises Held. A whole table that is held keeps everything from being done: that is raised
        as it is.
        """
        import psycopg

        try:
            with driver_errors(), self._connection.begin_nested():
                yield
        except psycopg.Error as error:
            # Only what happens at a row, or in a trigger, has a context.
            if passes_by and error.sqlstate in CONFLICT and error.diag.context:
                raise Held(reason(error), locked_table(error)) from error
            if is_refusal(error.sqlstate or ""):
                raise Refused(reason(error)) from error
            raise

    @contextmanager
    def undone(self) -> Iterator[None]:
        """A part of the transaction of which only the answers are wanted: its locks go with its end."""
        with driver_errors():
            nested = self._connection.begin_nested()
            yield
            nested.rollback()

    @contextmanager
    def cancellable(self) -> Iterator[None]:
        """A part of the transaction whose cancellation by the server is raised as Cancelled here and now."""
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            if error.sqlstate in TOO_MUCH:
                raise translate(error) from error
            raise

    def take_any_value(self) -> None:
        """From now on, take what no type of Python's can hold (24:00, infinity) as the server writes it."""
        from seqdev.postgres import values

        values.take_any(self._driver)

    def ddl(self, text: str) -> None:
        """Run a statement that another statement has made, as the upgrade's plan does."""
        with driver_errors():
            run_made(self._connection, text)

    @contextmanager
    def copy(self, query: Query[None]) -> "Iterator[Copy]":
        """A COPY … FROM STDIN to write rows to."""
        with self._driver.cursor() as cursor, cursor.copy(self._statement(query).text.encode()) as copy:
            yield copy

    @property
    def _driver(self) -> "psycopg.Connection[Any]":
        driver: psycopg.Connection[Any] | None = self._connection.connection.driver_connection
        assert driver
        return driver

    def _run(self, query: Query[Row], given: Mapping[str, object], **options: Any) -> Iterator[Row]:
        statement = self._statement(query)
        binds = statement.bind(given)
        with self._errors(statement):
            self._before(statement, binds)
            text = used(statement.text, self.stand_ins)
            with self._connection.exec_driver_sql(text, binds, execution_options=options) as result:
                yield from starmap(query.make(*result.keys()), result)

    def _statement(self, query: Query[Any]) -> Statement:
        return query.distributed if self.distributed else query.statement

    @contextmanager
    def _errors(self, statement: Statement) -> Iterator[None]:
        """The driver's own errors; of a statement that Citus does not run, that it is Citus."""
        import psycopg

        try:
            with driver_errors():
                yield
        except psycopg.Error as error:
            if self.distributed and error.sqlstate in NOT_ON_CITUS:
                raise unsupported(statement.path) from error
            raise

    def _before(self, statement: Statement, binds: Mapping[str, str | None]) -> None:
        for text in statement.before:
            self._connection.exec_driver_sql(used(text, self.stand_ins), dict(binds))


def run_made(connection: "Connection", text: str) -> "CursorResult[Any]":
    """Run a statement that another has made: without parameters, so that a % in it is no placeholder."""
    return connection.exec_driver_sql(text, execution_options={"no_parameters": True})
