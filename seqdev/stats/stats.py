"""The numbers of the service: who is in sequences, and what became of messages, by what is asked."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from seqdev import gates
from seqdev.audit import replies
from seqdev.audit.audit import Criteria
from seqdev.errors import SchemaError
from seqdev.moments import EVER, Window, days, interval
from seqdev.postgres import lookup
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.settings import meanings

WEEK = timedelta(days=7)
"""How far back days go, unless somebody says another."""


class By(StrEnum):
    """What the numbers can be told by."""

    SEQUENCE = "sequence"
    STEP = "step"
    DEVICE = "device"
    USER = "user"
    DAY = "day"
    STATUS = "status"


_TELL_REPLIES = {By.SEQUENCE, By.STEP, By.DEVICE, By.USER}


@dataclass(frozen=True)
class Numbers:
    """A row of ``stats/count.sql``."""

    sequence: str | None
    sequence_id: UUID | None
    step: int | None
    step_id: UUID | None
    device: str | None
    device_id: UUID | None
    user_id: UUID | None
    day: str | None
    status: str | None
    enrolled: int | None
    waiting: int | None
    stopped: int | None
    ended: int
    other: int | None
    due: int | None
    queued: int
    sent: int
    failed: int
    other_messages: int
    replied: int | None
    total: int
    found: dict[str, Any]


@dataclass(frozen=True)
class Totals:
    """The same numbers in all, listed or not."""

    enrolled: int | None
    """People in a sequence; null in a window."""
    waiting: int | None
    """Of these: a step is to come; null in a window."""
    stopped: int | None
    """Of these: somebody has stopped them; null in a window."""
    ended: int
    """Of these: all is done; in a window, done in it."""
    other: int | None
    """Of these: a status that no rule names; null in a window."""
    due: int | None
    """Rows that are due now; null in a window."""
    queued: int
    """Messages in the queue."""
    sent: int
    """Messages that were sent."""
    failed: int
    """Messages that will never be sent."""
    other_messages: int
    """Messages of a status that no rule names."""
    replied: int | None
    """Messages that were replied to; null: not known."""


@dataclass(frozen=True)
class Asked:
    """What to count, as people type it; None: all."""

    by: Sequence[By] = ()
    window: Window = field(default=EVER)
    user: str | None = None
    sequence: str | None = None
    device: str | None = None
    limit: int | None = None


COUNT = Query("stats/count.sql", Numbers)


def count(database: Database, asked: Asked) -> list[Numbers]:
    """The numbers, a row for each group that there is, read-only."""
    replied = _replied(database, asked)
    return database.retry(lambda tx: _count(tx, asked, replied), read_only=True)


def _replied(database: Database, asked: Asked) -> dict[str, object]:
    """Replies as parameters, where they are known: of a window, and not by day or status."""
    if asked.window.since is None or not _TELL_REPLIES.issuperset(asked.by):
        return {}
    try:
        found = replies.find(
            database, Criteria(asked.window, asked.user, asked.sequence, asked.device, limit=None)
        )
    except SchemaError:
        return {}
    return {
        "known": True,
        "replied_sequences": [one.sequence_id for one in found],
        "replied_steps": [one.step_id for one in found],
        "replied_devices": [one.device_id for one in found],
        "replied_users": [one.user_id for one in found],
        "replied_messages": [one.replied for one in found],
    }


def _count(tx: Transaction, asked: Asked, replied: dict[str, object]) -> list[Numbers]:
    def known(kind: lookup.Kind, text: str | None, user: UUID | None = None) -> UUID | None:
        return lookup.resolve(tx, kind, text, user, beginning=True) if text is not None else None

    user = known(lookup.Kind.USER, asked.user)
    means = meanings(tx.settings)
    steps = gates.handed_to(COUNT, gates.steps(tx, tx.settings))
    return tx.rows(
        COUNT,
        now=tx.now,
        by=asked.by,
        user=user,
        sequence=known(lookup.Kind.SEQUENCE, asked.sequence, user),
        device=known(lookup.Kind.DEVICE, asked.device, user),
        limit="" if asked.limit is None else asked.limit,
        **{name: means[name] for name in ("waiting", "stopped", "done", "sent", "failed")},
        **_time(asked, tx.now),
        **replied,
        **steps,
    )


def _time(asked: Asked, now: datetime) -> dict[str, object]:
    """The window as parameters, and its days where these are asked for."""
    if By.DAY not in asked.by:
        return asked.window.given(now)
    window = asked.window.given(now)
    begins = asked.window.begins(now, WEEK)
    found = days(begins, now, asked.window.zone)
    if not asked.window.since:
        # Whole days.
        begins = found[0][0]
    return {
        **window,
        "since": interval(now.astimezone(UTC) - begins),
        "days": [at for at, _ in found],
        "dates": [name for _, name in found],
    }
