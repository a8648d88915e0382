"""The error tree and the exit codes: every failure a user can meet is one of these.

An error is one or two lines: what is wrong and with what value (``message``), and what to do
(``hint``). Neither ever holds a phone number, a message text or a password.
"""

import signal
from enum import IntEnum
from uuid import UUID


class Exit(IntEnum):
    """Exit codes of the ``seqdev`` command. They are a published interface."""

    DONE = 0
    """Done: also when nothing was due or another tick held the rows."""
    UNEXPECTED = 1
    """Unexpected error."""
    USAGE = 2
    """Wrong usage."""
    FINDINGS = 3
    """A check found something, or part of the work was refused, with the reasons listed."""
    PAUSED = 4
    """Paused by the switch."""
    SCHEMA = 10
    """The schema is not one seqdev can work on, or the server is read-only."""
    PERMISSION = 12
    """Login or permission refused."""
    UNAVAILABLE = 13
    """The database cannot be reached, or stayed unavailable after the retries."""
    STALE_PLAN = 14
    """The plan no longer fits the data; nothing was changed."""


class SeqdevError(Exception):
    """Base of every error seqdev raises on purpose.

    ``message`` says what is wrong and with what value, ``hint`` what to do about it (may be empty).
    """

    exit_code = Exit.UNEXPECTED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(SeqdevError):
    """The command line, the configuration or an input file is wrong."""

    exit_code = Exit.USAGE


class NotFound(UsageError):
    """What was typed is the name or id of nothing."""


class SchemaError(SeqdevError):
    """The database is not one seqdev can work on, or it is read-only."""

    exit_code = Exit.SCHEMA


class ReadOnly(SchemaError):
    """The server takes no writes: a standby, or one that is set so."""


class UnfitSchema(SchemaError):
    """A table, column or function that a statement names is missing, or of another kind."""


class PermissionRefused(SeqdevError):
    """Login or permission refused by the server."""

    exit_code = Exit.PERMISSION


class Unavailable(SeqdevError):
    """The database cannot be reached, or stayed unavailable after the retries."""

    exit_code = Exit.UNAVAILABLE


class Cancelled(Unavailable):
    """The server cancelled a statement: it ran into its time limit, or a person ended it."""

    devices: frozenset[UUID] = frozenset()
    """The devices that the statement was about, where it was about some only."""


class Refused(SeqdevError):
    """The database refuses what a statement writes: a value, a constraint, a trigger.

    ``reason`` is why, in names of the schema, without a value.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"the server refused a statement: {reason}", "run with --debug for more")
        self.reason = reason


class Held(Refused):
    """Another session holds a lock that a statement needs, or a trigger says to try again later.

    ``table`` is the table of the row that is locked; empty where that is not known.
    """

    def __init__(self, reason: str, table: str = "") -> None:
        super().__init__(reason)
        self.table = table


class AllRefused(SeqdevError):
    """The database refuses every row that is tried: it is not the rows that are wrong."""


class StalePlan(SeqdevError):
    """The plan no longer fits the data; nothing was changed."""

    exit_code = Exit.STALE_PLAN


class Paused(SeqdevError):
    """Somebody has paused the commands that write."""

    exit_code = Exit.PAUSED


class OutputError(SeqdevError):
    """What was to be printed could not be written to stdout; the work before it is done."""


class ReaderGoneError(Exception):
    """Whoever read our output has closed the pipe."""


class Interrupted(KeyboardInterrupt):
    """Ended by the signal ``number``. A KeyboardInterrupt: for one the driver cancels its statement."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def code_of(error: BaseException) -> int:
    """The exit code of a process that ``error`` ends."""
    if isinstance(error, SeqdevError):
        return int(error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        return 128 + (error.number if isinstance(error, Interrupted) else signal.SIGINT)
    if isinstance(error, ReaderGoneError):
        return 128 + signal.SIGPIPE
    return int(Exit.UNEXPECTED)
