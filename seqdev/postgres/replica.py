"""A hot standby: it can be read, it takes no writes, and what it knows may be old."""

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from seqdev.errors import ReadOnly
from seqdev.postgres.queries import Query

if TYPE_CHECKING:
    import psycopg

    from seqdev.postgres.transaction import Transaction


@dataclass(frozen=True)
class Replica:
    """The row of ``postgres/replica.sql``."""

    arrived: str | None
    behind: bool
    connected: bool
    paused: bool
    last: timedelta | None


REPLICA = Query("postgres/replica.sql", Replica)

_LOOKS = 10
_BETWEEN = 0.05
"""Seconds: whatever has arrived just now takes some time."""

AT_THE_PRIMARY = (
    "point seqdev at the primary; a URL that names all servers finds it: "
    "…@a,b/NAME?target_session_attrs=read-write"
)

CANCELLED = (
    "the standby cancelled a statement, which stood in the way of what its primary sends: it is tried again"
)


def look(transaction: "Transaction") -> Replica:
    """How far the server, a standby, is behind: where what has arrived stays longer than a moment."""
    found = transaction.one(REPLICA, arrived="")
    for _ in range(_LOOKS):
        if not found.behind:
            break
        time.sleep(_BETWEEN)
        found = transaction.one(REPLICA, arrived=found.arrived)
    return found


def refusal() -> ReadOnly:
    """What a command that writes says on a standby."""
    return ReadOnly("this server is a standby, which takes no writes: nothing was changed", AT_THE_PRIMARY)


def refuses_writes(error: "psycopg.Error") -> bool:
    """Whether a standby refuses to begin a transaction that may write.

    With the SQLSTATE of whatever a server cannot do, so by where it is raised: as a setting is checked.
    """
    return error.sqlstate == "0A000" and error.diag.source_function == "call_bool_check_hook"


def is_conflict(error: "psycopg.Error") -> bool:
    """Whether a standby has ended a statement or a session so that it can go on replaying.

    By where the server raises it: other serialization failures have the same SQLSTATE, and its words may be
    in any language.
    """
    return error.sqlstate == "40001" and error.diag.source_file == "postgres.c"
