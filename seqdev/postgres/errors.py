"""Server errors: which are worth another try, and what they say to people."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqdev.errors import (
    Cancelled,
    PermissionRefused,
    ReadOnly,
    Refused,
    SeqdevError,
    Unavailable,
    UnfitSchema,
    UsageError,
)
from seqdev.postgres.replica import AT_THE_PRIMARY, is_conflict, refusal, refuses_writes

if TYPE_CHECKING:
    import psycopg

CONFLICT = {"40001", "40P01", "55P03"}
"""Serialization, deadlock, lock timeout: the same transaction may get through another time."""

NOT_ON_CITUS = {"0A000", "42P10"}
"""What Citus does not support; or ON CONFLICT, whose key holds the phone there."""

TOO_MUCH = {
    "57014": "time limit or a person",
    "53200": "out of memory or locks: see max_locks_per_transaction",
    "53400": "over a limit of the server's: see temp_file_limit",
}
"""What a statement may be cancelled for that a smaller one may get through."""

_NOT_ADMITTED = ("authentication failed", "no pg_hba.conf entry", "client certificate")
_UNPROVEN = (
    "certificate verify failed",
    "server certificate for",
    "root certificate",
    "root.crt",
    "server does not support SSL",
    "SSL support is not compiled in",
    "weak sslmode",
)
"""How libpq and OpenSSL say that a server's certificate is missing, not to be trusted, or of another host."""

# 25P03, 25P04: a role's own limits, which hold until the first statement has set ours.
_LOST = {
    "25P03",
    "25P04",
    "57P01",
    "57P02",
    "57P03",
    "53300",
    "08000",
    "08001",
    "08003",
    "08004",
    "08006",
    "08007",
}


_BETWEEN_NODES = {"remote_transaction.c", "remote_commands.c"}
"""Where Citus speaks to its nodes."""
_COPY_TO_NODES = "multi_copy.c"
"""Where it sends them rows."""


@contextmanager
def driver_errors() -> Iterator[None]:
    """Raise the driver's own errors, not SQLAlchemy's around them, whose text repeats the statement."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
        return
    except DBAPIError as error:
        driver = error.orig
        assert driver
    raise driver from None


def is_lost(error: "psycopg.Error") -> bool:
    """Whether the connection is gone (or never came), so that a new one may help."""
    import psycopg

    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError) and not _is_final(error)
    return error.sqlstate in _LOST or _is_of_a_lost_node(error)


def _is_of_a_lost_node(error: "psycopg.Error") -> bool:
    """Whether Citus has lost a node in the middle of a transaction, and has given it no code of its own."""
    diag = error.diag
    if diag.source_file == _COPY_TO_NODES:
        # What the node has answered comes without its code. Of a row that it refuses, it tells the details.
        ended = str(diag.message_primary).startswith("terminating connection") or not diag.message_detail
        return error.sqlstate == "58030" or (error.sqlstate == "XX000" and ended)
    return error.sqlstate == "XX000" and diag.source_file in _BETWEEN_NODES


def _is_final(error: "psycopg.Error") -> bool:
    return _never_connected(error) is not None


def _never_connected(error: "psycopg.Error") -> SeqdevError | None:
    """What keeps a connection from being made, however often it is tried; None where it may come.

    A refused login comes without a SQLSTATE: libpq only passes the server's words on.
    """
    text = str(error)
    if any(words in text for words in _NOT_ADMITTED):
        return PermissionRefused("the server refused the login", "check user, password and pg_hba.conf")
    if "permission denied for database" in text or "is not permitted to log in" in text:
        return PermissionRefused(
            "the role may not log in to this database",
            "a group's members log in, not the group; what it needs: seqdev db grants … --to ROLE",
        )
    if "no password supplied" in text:
        return PermissionRefused(
            "the server wants a password, and there is none",
            "put it into ~/.pgpass (mode 0600, or libpq ignores it), a libpq service, PGPASSWORD, "
            "or set password_command",
        )
    if any(words in text for words in _UNPROVEN):
        return PermissionRefused(
            "the server did not prove by TLS that it is the one that is named",
            "name the host as its certificate does, and the authority (sslrootcert=FILE, PGSSLROOTCERT); "
            "or do without: sslmode=require, PGSSLMODE",
        )
    if "definition of service" in text:
        return UsageError("libpq knows no such service", "see ~/.pg_service.conf and PGSERVICEFILE")
    # The second of each is PgBouncer's.
    if re.search(r'database ".*" does not exist|no such database', text):
        return _unknown(error, "database")
    if re.search(r'role ".*" does not exist|no such user', text):
        return _unknown(error, "role")
    if "does not exist" in text:
        return UsageError("a file that the connection needs does not exist", "check sslcert and sslkey")
    return None


def _unknown(error: "psycopg.Error", what: str) -> PermissionRefused:
    """The server has no such ``what``, database or role: with all that was tried but the password."""
    hint = {
        "database": "check the database URL or PGDATABASE; a new one is made with createdb",
        "role": "check the database URL or PGUSER; without them the role is the system user's name",
    }[what]
    tried = error.pgconn
    if tried is None:
        return PermissionRefused(f"the server has no such {what}", hint)
    host, port = tried.host.decode(errors="replace"), tried.port.decode()
    named = {
        "database": f'database "{tried.db.decode(errors="replace")}"',
        "role": f'role "{tried.user.decode(errors="replace")}"',
    }
    wanted = named.pop(what)
    (other,) = named.values()
    return PermissionRefused(f"the server at {host}, port {port}, has no {wanted} (tried with {other})", hint)


def unsupported(path: str) -> SeqdevError:
    """What to say where Citus does not run the statement of the file ``path`` below ``sql/``."""
    return UnfitSchema(
        f"Citus, which has distributed the host's tables, does not run sql/{path}",
        "see whether they are distributed as they should be: seqdev db check; what works: docs/citus.md",
    )


_OWN = re.compile(r"\bseqdev\.[a-z]+")
"""A table of seqdev's own, in the words of the server."""


def translate(error: "psycopg.Error") -> SeqdevError:
    """The SeqdevError for a server error, in our own words: the server's may carry data."""
    import psycopg

    state = error.sqlstate or ""
    diag = error.diag
    names = _names(error)
    where = ".".join(name for name in (names.table, names.column or names.constraint) if name)
    if state == "" and isinstance(error, psycopg.OperationalError):
        if final := _never_connected(error):
            return final
        return Unavailable("the database cannot be reached", "check host and port, and that the server runs")
    if state.startswith("28"):
        return PermissionRefused("the server refused the login", "check user, password and pg_hba.conf")
    if state == "3D000":
        return _unknown(error, "database")
    if state == "42501" and diag.source_function == "check_enable_rls":
        return PermissionRefused(
            "row-level security would hide rows from this role, and deciding on a part of the rows is wrong",
            "a superuser can exempt the role: alter role … bypassrls",
        )
    if state == "42501":
        return PermissionRefused(
            "the database role may not do this",
            "give it what the command needs: seqdev db grants tick|enroll|repair|audit|owner --to ROLE",
        )
    if refuses_writes(error):
        return refusal()
    if state == "25006":
        return ReadOnly("the server is read-only", AT_THE_PRIMARY)
    own = _OWN.search(diag.message_primary or "") if state == "42P01" and not _is_raised(error) else None
    if own:
        return UnfitSchema(
            f"seqdev cannot work here yet: its own table {own[0]} is missing",
            "see the plan and bring it up to date: seqdev db upgrade",
        )
    # The last three: a generated column, a key that may be checked at COMMIT, an unsupported kind of table.
    if state in {"42P01", "42703", "3F000", "42883", "42804", "42P10", "428C9", "55000", "0A000"}:
        return UnfitSchema("the schema is not one seqdev can work on", "see what is missing: seqdev db check")
    # By name: another setting, timezone_abbreviations, is wrong where the server's own files are gone.
    if state == "22023" and re.search(r'"timezone"|^time zone', str(diag.message_primary), re.IGNORECASE):
        return UsageError(
            "the server does not know the configured time zone", "write a name such as Asia/Jakarta"
        )
    if is_conflict(error):
        return Unavailable(
            "the standby cancels the statement each time: it stands in the way of what the primary sends",
            "run it at the primary; or have the standby wait longer: max_standby_streaming_delay",
        )
    if state in CONFLICT:
        return Unavailable(
            f"other sessions held the rows for too long ({_condition(error)})", "run the command again"
        )
    if state in TOO_MUCH:
        return Cancelled(f"the server cancelled a statement ({TOO_MUCH[state]})", "run the command again")
    if state in _LOST or state.startswith("53") or _is_of_a_lost_node(error):
        return Unavailable(f"the database is not available ({_condition(error)})", "run the command again")
    if is_refusal(state):
        return Refused(reason(error))
    place = f" at {where}" if where else ""
    return SeqdevError(
        f"the server refused a statement: {_condition(error)}{place}", "run with --debug for more"
    )


def without_values(error: BaseException) -> None:
    """Take the server's text out of ``error`` and its causes before they are shown: it prints whole rows.

    What stays is the SQLSTATE and names of the schema. Errors of connections have no SQLSTATE: they stay.
    """
    import psycopg
    from sqlalchemy.exc import StatementError

    seen: set[BaseException] = set()
    cause: BaseException | None = error
    while cause and cause not in seen:
        seen.add(cause)
        if isinstance(cause, psycopg.Error) and cause.sqlstate:
            cause.args = (reason(cause),)
        if isinstance(cause, StatementError):
            cause.args, cause.statement, cause.params = ("see its cause",), None, None
        cause = cause.__cause__ or cause.__context__


def _condition(error: "psycopg.Error") -> str:
    return f"{type(error).__name__}, SQLSTATE {error.sqlstate or 'none'}"


_LOCKED = re.compile(r"""\(\d+,\d+\)[^"»„«「]*["»„«「]([^"«“”»」]+)""")
"""A row and its table in the context of an error, in whatever language the server speaks."""


def locked_table(error: "psycopg.Error") -> str:
    """The table of the row that a statement has waited for in vain; empty where the server does not say."""
    if _is_raised(error):
        return ""
    found = _LOCKED.search((error.diag.context or "").split("\n")[0])
    return _whole(found[1]) or "" if found else ""


_SHARD = re.compile(r"_1[0-9]{5,}$")
"""The end of the name of a shard's table or constraint on Citus: shards are numbered from 102008."""


def _whole(name: str | None) -> str | None:
    """The name of the whole table, or of its constraint, where it is that of a shard's."""
    return _SHARD.sub("", name) if name else name


# Data, constraints and views; and what triggers raise: RAISE itself, or a code of their own.
_CLASSES = {"21", "22", "23", "2F", "38", "39", "44", "45", "P0"}
_SERVERS_OWN = {"53", "54", "55", "57", "58", "72", "F0", "HV", "XX"}

_CONSTRAINTS = {
    "23503": "foreign key",
    "23505": "unique key",
    "23514": "check constraint",
    "23P01": "exclusion constraint",
}
_WORDS = {
    "22001": "a value is too long for its column",
    "22003": "a number is out of range",
    "23502": "a column must not be null",
    "44000": "the check option of a view",
}


def is_refusal(state: str) -> bool:
    """Whether the SQLSTATE says that a row, not the server or the statement, is what is wrong."""
    own_code = state[:1] >= "5" and state[:1] not in "ABCDEFGH" and state[:2] not in _SERVERS_OWN
    return state[:2] in _CLASSES or own_code


@dataclass(frozen=True)
class _Names:
    """The names of the schema in an error; None: none that can be shown."""

    table: str | None = None
    column: str | None = None
    constraint: str | None = None


def _is_raised(error: "psycopg.Error") -> bool:
    """Whether a procedure raises it (RAISE of pl_exec.c, plpy.error …), not the server."""
    return (error.diag.source_file or "").startswith("pl")


def _names(error: "psycopg.Error") -> _Names:
    """The names that the server itself gives. A procedure may call anything a name, such as a phone."""
    diag = error.diag
    if _is_raised(error):
        return _Names()
    return _Names(_whole(diag.table_name), diag.column_name, _whole(diag.constraint_name))


def reason(error: "psycopg.Error") -> str:
    """Why the server refused: its SQLSTATE and names of the schema, never a value.

    The server's own text and its DETAIL are not used: they print phones.
    """
    state, diag, names = error.sqlstate or "", error.diag, _names(error)
    table = f" of {names.table}" if names.table else ""
    raised_by = re.search(r"PL/pgSQL\W\w+ ([\w.]+)\(", diag.context or "")
    if names.constraint:
        words = f'{_CONSTRAINTS.get(state, "constraint")} "{names.constraint}"{table}'
    elif names.column:
        words = f'column "{names.column}"{table} {"must not be null" if state == "23502" else "refuses it"}'
    else:
        words = _WORDS.get(state, f"raised{table}" if raised_by else type(error).__name__ + table)
    return f"SQLSTATE {state}, {words}{f' by function {raised_by[1]}' if raised_by else ''}"
