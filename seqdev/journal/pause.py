"""The pause switch: a row that each batch of the commands that write looks at."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from seqdev import signals
from seqdev.errors import Paused, SchemaError, Unavailable, UnfitSchema
from seqdev.output.words import Clock
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.rules import Held
from seqdev.postgres.transaction import Transaction

T = TypeVar("T")

_AGAIN = 0.05
_QUIET = 0.5
"""Seconds of waiting about which nothing is said."""


@dataclass(frozen=True)
class Pause:
    """The row of ``journal/switch.sql``: who has paused, and why."""

    paused_at: datetime
    os_user: str
    host: str
    database_user: str
    why: str

    def __str__(self) -> str:
        """The same in the terminal's zone."""
        return self.told(Clock())

    def told(self, clock: Clock) -> str:
        """Who, since when and why, as people read it."""
        at = clock.said(self.paused_at)
        return f"since {at} by {self.os_user}@{self.host} ({self.database_user}): {self.why}"


@dataclass(frozen=True)
class First:
    """The row of ``journal/batch.sql``: the pause, if one is set, and the rules."""

    paused_at: datetime | None
    os_user: str | None
    host: str | None
    database_user: str | None
    why: str | None
    rules: dict[str, Any]
    policies: list[str]
    narrower: list[str]

    @property
    def pause(self) -> Pause | None:
        """The pause that is set; None: there is none."""
        if self.paused_at is None:
            return None
        who = (str(self.os_user), str(self.host), str(self.database_user))
        return Pause(self.paused_at, *who, str(self.why))


@dataclass(frozen=True)
class RunningBatch:
    """A row of ``journal/batches.sql``: a batch that is running now."""

    session: str | None
    pid: int
    batch: str

    def __str__(self) -> str:
        """The session and its process."""
        return f"{self.session or 'a session'} (server process {self.pid})"


LOOK = Query("journal/switch.sql", Pause)
FIRST = Query("journal/batch.sql", First)
SET: Query[None] = Query("journal/pause.sql", type(None))
LIFT: Query[None] = Query("journal/resume.sql", type(None))
BATCHES = Query("journal/batches.sql", RunningBatch)


def look(transaction: Transaction) -> Pause | None:
    """The pause that is set; None: there is none."""
    found = transaction.rows(LOOK)
    return found[0] if found else None


def refuse(transaction: Transaction) -> Held:
    """What each batch does first: raise Paused where the switch is set. Returns the rules of the database."""
    first = transaction.one(FIRST)
    if first.pause:
        raise Paused(f"paused {first.pause}", "nothing more is written; to go on: seqdev resume")
    return Held(first.rules, first.policies, first.narrower)


def pause(database: Database, os_user: str, host: str, why: str) -> tuple[Pause, bool]:
    """Set the switch: the pause, and whether it is a new one; one that is set already stays as it is.

    Batches that began before may still run: see ``wait``. Raises SchemaError where there is no switch yet.
    """

    def work(transaction: Transaction) -> tuple[Pause | None, bool]:
        new = transaction.execute(SET, now=transaction.now, os_user=os_user, host=host, why=why)
        return look(transaction), bool(new)

    while True:
        paused, new = _switched(database, work)
        # None: somebody else's pause was lifted in between.
        if paused:
            return paused, new


def resume(database: Database, os_user: str, host: str, why: str | None) -> bool:
    """Lift the pause; whether there was one. Raises SchemaError where there is no switch yet."""

    def work(transaction: Transaction) -> int:
        return transaction.execute(LIFT, now=transaction.now, os_user=os_user, host=host, why=why or "")

    return bool(_switched(database, work))


def wait(database: Database, patience: timedelta, say: Callable[[str], None]) -> None:
    """Wait for the batches that began before the pause was set. Raises Unavailable after ``patience``."""
    began = time.monotonic()
    said = False
    before: set[str] | None = None
    while True:
        running = database.retry(lambda tx: tx.rows(BATCHES), read_only=True)
        # Whoever takes the lock from now on looks after that, and ends.
        before = {one.batch for one in running} if before is None else before
        running = [one for one in running if one.batch in before]
        if not running:
            return
        waited = time.monotonic() - began
        named = "; ".join(map(str, running[:3])) + ("; …" if len(running) > 3 else "")
        if waited > patience.total_seconds():
            raise Unavailable(
                f"the pause is set, but a batch that began before it still runs: {named}",
                "each ends at its next batch; to wait for them, run seqdev pause again",
            )
        if not said and waited > _QUIET:
            said = True
            say(f"waiting for what still runs: {named}")
        signals.sleep(_AGAIN)


def _switched(database: Database, work: Callable[[Transaction], T]) -> T:
    try:
        return database.retry(work)
    except UnfitSchema as error:
        raise SchemaError("this database has no pause switch yet", "make it: seqdev db upgrade") from error
