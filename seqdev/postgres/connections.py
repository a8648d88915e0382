"""SQLAlchemy on psycopg as seqdev uses it: how connections are made, pooled, and known to be lost.

Importing this takes a quarter of a second: only functions of commands that connect import it.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.string import TextLoader
from sqlalchemy import create_engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import DisconnectionError

from seqdev.postgres.errors import is_lost

if TYPE_CHECKING:
    from psycopg.abc import Buffer
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import ExceptionContext

_USABLE = (TransactionStatus.INTRANS, TransactionStatus.INERROR)


class Dialect(PGDialect_psycopg):
    """PostgreSQL through psycopg, without questions to the server that only SQLAlchemy's own SQL needs."""

    supports_statement_cache = True

    def initialize(self, connection: "Connection") -> None:  # noqa: ARG002
        """Ask nothing: four round trips for each command, and behind a pooler the answers of any server."""
        self.default_isolation_level = "READ COMMITTED"

    def ask(self, connection: "Connection") -> None:
        """Ask what the inspector has to know, first of all the server's version."""
        super().initialize(connection)  # type: ignore[no-untyped-call]
        self.default_isolation_level = "READ COMMITTED"

    def is_disconnect(self, e: Exception, connection: Any, cursor: Any) -> bool:
        """Whether ``e`` says that the connection is gone, also where the driver has not noticed yet."""
        if isinstance(e, psycopg.Error) and is_lost(e):
            return True
        return bool(super().is_disconnect(e, connection, cursor))  # type: ignore[no-untyped-call]

    def do_rollback_to_savepoint(self, connection: "Connection", name: str) -> None:
        """Roll back to the savepoint and end it: those left open would nest, one in the other."""
        super().do_rollback_to_savepoint(connection, name)  # type: ignore[no-untyped-call]
        self.do_release_savepoint(connection, name)  # type: ignore[no-untyped-call]


registry.register("postgresql.seqdev", __name__, "Dialect")


class Instants(TimestamptzLoader):
    """Reads instants; those outside Python's calendar, which hosts write for "never", as its ends."""

    def load(self, data: "Buffer") -> datetime:
        """The instant that ``data`` says."""
        try:
            return super().load(data)
        except psycopg.DataError:
            before = bytes(data).endswith(b"BC") or bytes(data).startswith(b"-")
            return (datetime.min if before else datetime.max).replace(tzinfo=UTC)


class Bytes(TextLoader):
    r"""Reads text of a database that checks no encoding: what is not UTF-8 as escapes such as ``\xe9``."""

    def load(self, data: "Buffer") -> str:
        """The text of ``data``."""
        return bytes(data).decode(errors="backslashreplace")


def engine(conninfo: str, session: str, password: Callable[[], str | None]) -> "Engine":
    """The engine for ``conninfo``. Its pool grows with the threads that are in a transaction at once.

    ``session`` is the application name; ``password`` is asked for each connection that is opened.
    """

    def connect() -> "psycopg.Connection[Any]":
        connection = psycopg.connect(
            conninfo,
            prepare_threshold=None,
            application_name=session,
            client_encoding="utf8",
            connect_timeout=10,
            password=password(),
        )
        connection.adapters.register_loader("timestamptz", Instants)
        if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
            # Or the server would refuse to send what is not UTF-8. Poolers keep this setting for each client.
            connection.execute("set client_encoding to sql_ascii")
            connection.commit()
            # The last stands for all types that have no loader of their own.
            for kind in ("text", "varchar", "bpchar", "name", '"char"', 0):
                connection.adapters.register_loader(kind, Bytes)
        return connection

    # What they have to say (a rollback on a lost connection) is said by the error that follows.
    for name in ("psycopg", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    made = create_engine(
        "postgresql+seqdev://",
        creator=connect,
        isolation_level="READ COMMITTED",
        pool_size=0,
        pool_use_lifo=True,
        hide_parameters=True,
        use_native_hstore=False,
    )
    event.listen(made, "checkout", _refuse_unclean)
    event.listen(made, "handle_error", _keep_interrupted)
    return made


def _refuse_unclean(connection: "psycopg.Connection[Any]", *_: object) -> None:
    """Nothing is taken along of a connection that is lost, or of which even the ROLLBACK was cancelled."""
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        raise DisconnectionError


def _keep_interrupted(context: "ExceptionContext") -> None:
    """A statement that a signal ended is cancelled, and its connection as good as after any error."""
    if isinstance(context.original_exception, KeyboardInterrupt) and context.connection:
        driver = context.connection.connection.driver_connection
        context.is_disconnect = driver is None or driver.info.transaction_status not in _USABLE
