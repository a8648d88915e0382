"""The journal of runs: who did what, when, and whether and how it came to its end."""

import json
import os
import pwd
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from seqdev import __version__, signals
from seqdev.errors import (
    Exit,
    Interrupted,
    Paused,
    ReaderGoneError,
    SeqdevError,
    Unavailable,
    UsageError,
    code_of,
)
from seqdev.journal import pause
from seqdev.moments import Window
from seqdev.output.columns import Code, Verdict
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction

_PATIENCE = timedelta(seconds=1)
"""For the end of a run that has failed: what matters then is the error, and that it is told soon."""

_LONG_NUMBER = re.compile(r"\d{7,}")
"""What may be a phone."""


@dataclass(frozen=True)
class ListedRun:
    """A row of ``journal/list.sql``."""

    run_id: UUID
    command: str
    arguments: str | None
    started: datetime
    lasted: timedelta | None
    state: Verdict
    exit_code: Code | None
    reason: str | None
    counts: dict[str, Any] | None
    os_user: str | None
    host: str | None
    pid: Code | None
    database_user: str | None
    version: str
    why: str | None
    total: int


@dataclass(frozen=True)
class Missed:
    """A row of ``journal/missed.sql``: a time in which ticks were missed."""

    missed_from: datetime
    missed_to: datetime
    lasted: timedelta
    missed: int
    began: dict[str, Any]
    total: int


@dataclass(frozen=True)
class FoundRun:
    """A row of ``journal/find.sql``."""

    id: UUID
    command: str
    started: datetime


@dataclass(frozen=True)
class Purpose:
    """What was asked of a run: its options as the journal keeps them, and what the person says it is for."""

    arguments: str
    why: str | None = None


START: Query[None] = Query("journal/start.sql", type(None))
FINISH: Query[None] = Query("journal/finish.sql", type(None))
LIST = Query("journal/list.sql", ListedRun)
MISSED = Query("journal/missed.sql", Missed)
FIND = Query("journal/find.sql", FoundRun)


class Run:
    """A run that is under way, and what the journal is to say of it in the end.

    ``counts``: what it did. ``exit_code``: as it ends, unless an error has it otherwise.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        # Its beginning is in the name of the process's sessions.
        self.id = UUID(database.mark + uuid4().hex[8:])
        self.began = datetime.min
        self.counts: Mapping[str, object] = {}
        self.exit_code = int(Exit.DONE)
        self.ended: Paused | Interrupted | None = None
        """What ended the work before it was done."""

    @contextmanager
    def work(self) -> Iterator[None]:
        """The batches of the run: each transaction that writes is one, and before any the run may end.

        It does where the switch is set, or a signal has come; the block is left then, and ``ended`` says why.
        What is committed stays; ``journaled`` raises the error when the account of it has been given.
        """
        self.database.guard = pause.refuse
        try:
            with signals.deferred():
                yield
                # All is done. Yet who has sent a signal is told that it has come.
                signals.check()
        except (Paused, Interrupted) as error:
            self.ended = error
            signals.leave_time()
        finally:
            self.database.guard = None


@contextmanager
def journaled(database: Database, command: str, purpose: Purpose) -> Iterator[Run]:
    """Enter a run of ``command`` in the journal, and its end, however the block ends: else it was cut off.

    The block does the work within ``Run.work``, and gives account of it. Raises what ended the work early.
    """
    run = Run(database)
    try:
        run.began = database.retry(lambda tx: _start(tx, run.id, command, purpose))
        yield run
        if run.ended:
            raise run.ended
    except BaseException as error:
        _fail(run, error)
        raise
    with signals.deferred():
        database.retry(lambda tx: _finish(tx, run, run.exit_code, None))


def _start(transaction: Transaction, run: UUID, command: str, purpose: Purpose) -> datetime:
    os_user, host = who()
    transaction.execute(
        START,
        id=run,
        command=command,
        arguments=purpose.arguments,
        why=purpose.why or "",
        version=__version__,
        os_user=os_user,
        host=host,
        pid=os.getpid(),
        session=transaction.session,
        backend=transaction.backend_pid,
        now=transaction.now,
    )
    return transaction.now


def _finish(transaction: Transaction, run: Run, exit_code: int, reason: str | None) -> None:
    counts = json.dumps(run.counts)
    transaction.execute(
        FINISH, id=run.id, counts=counts, exit_code=exit_code, reason=reason, now=transaction.now
    )


def _fail(run: Run, error: BaseException) -> None:
    """Enter that ``error`` has ended the run, if that is quickly done: the error itself is what matters."""
    database = run.database
    if isinstance(error, Unavailable) and not database.connected:
        return
    try:
        with signals.deferred():
            database.retry(lambda tx: _finish(tx, run, code_of(error), _reason(error)), patience=_PATIENCE)
    except (SeqdevError, Interrupted):
        pass


def _reason(error: BaseException) -> str:
    if isinstance(error, SeqdevError):
        return _LONG_NUMBER.sub("…", error.message)
    if isinstance(error, KeyboardInterrupt):
        return signals.name(code_of(error) - 128)
    if isinstance(error, ReaderGoneError):
        return "whoever read the output has closed it"
    return f"unexpected error: {type(error).__name__}"


def who() -> tuple[str, str]:
    """The user of the operating system, and the host."""
    user = os.geteuid()
    try:
        return pwd.getpwuid(user).pw_name, socket.gethostname()
    except KeyError:
        return str(user), socket.gethostname()


def list_runs(database: Database, window: Window, command: str | None, most: int | None) -> list[ListedRun]:
    """Runs, newest first: of ``command`` or all below it, begun within ``window``, at most ``most``."""
    return database.retry(lambda tx: begun(tx, window, command, most), read_only=True)


def begun(
    tx: Transaction, window: Window, command: str | None = None, most: int | None = None
) -> list[ListedRun]:
    """The same in an open transaction."""
    return tx.rows(LIST, now=tx.now, command=command, most=most, **window.given(tx.now))


def show(database: Database, text: str) -> ListedRun:
    """The one run whose id begins with ``text``. Raises UsageError as ``find`` does."""
    return database.retry(lambda tx: tx.one(LIST, now=tx.now, run=find(tx, text), most=None), read_only=True)


def missed(database: Database, every: timedelta, window: Window, most: int | None) -> list[Missed]:
    """Times within ``window`` in which ticks were missed that should begin every ``every``, newest first."""
    length = MISSED.statement.parameters["since"].default
    return database.retry(
        lambda tx: tx.rows(MISSED, now=tx.now, every=every, most=most, **window.given(tx.now, length)),
        read_only=True,
    )


def find(tx: Transaction, text: str, *, to_undo: bool = False) -> UUID:
    """The id of the one run whose id begins with ``text``.

    Raises UsageError when there is none, or more; ``to_undo``: also when it is a tick.
    """
    found = tx.rows(FIND, text=text)
    found = [one for one in found if str(one.id) == text.lower()] or found
    if not found:
        raise UsageError(f"no run {text!r}", "give its id or the first four characters of it: seqdev runs")
    if len(found) > 1:
        named = "; ".join(f"{one.id} {one.command}" for one in found[:10])
        raise UsageError(
            f"run {text!r} could be any of: {named}{'; …' if len(found) > 10 else ''}", "give more of the id"
        )
    if to_undo and found[0].command == "tick":
        raise UsageError(
            "a tick cannot be undone: its messages were sent from the devices that it assigned",
            "to move people: seqdev repair device",
        )
    return found[0].id
