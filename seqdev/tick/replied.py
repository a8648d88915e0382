"""People who have written back: where a sequence stops on a reply, what is to come for them is stopped."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from seqdev import replies
from seqdev.phone import national
from seqdev.postgres.bisect import Divisible, Found, bisect
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.settings import Settings
from seqdev.tick.failed_sends import MANY

OVERLAP = timedelta(hours=1)
"""So long before the last tick that looked, messages are looked at again: they are stored when they are."""

FAR = timedelta(days=2)
"""So far the first tick of an hour looks back: a device that was away brings what was written meanwhile."""


@dataclass(frozen=True)
class RepliedRow:
    """A row of ``tick/find_replied.sql``."""

    table_name: str
    row_id: UUID
    at: datetime


@dataclass(frozen=True)
class Replied:
    """What a look at the replies came to. ``stopped``: contacts' rows; None: no sequence stops on a reply."""

    stopped: int | None = None
    refused: Counter[str] = field(default_factory=Counter)
    trouble: str | None = None


FIND_REPLIED = Query("tick/find_replied.sql", RepliedRow)
STOP_REPLIED: Query[None] = Query("tick/stop_replied.sql", type(None))


def stops(transaction: Transaction) -> replies.StopsOnReply | None:
    """Which sequences people leave when they write back; None: the rule is set for none."""
    settings = transaction.settings
    if not settings.rules_on("stop_on_reply"):
        return None
    found = replies.stops_on_reply(transaction, settings)
    return found if found.sequences else None


def count(transaction: Transaction, settings: Settings) -> int | None:
    """How many rows of contacts a tick would stop now, before it claims anything; None: it would not look."""
    stopping = stops(transaction)
    if not stopping:
        return None
    kept = replies.inbox(transaction, settings)
    return None if kept.trouble else _contacts(_found(transaction, stopping, kept))


def stop(transaction: Transaction, stopping: replies.StopsOnReply, run: UUID) -> Replied:
    """Stop what is to come for people who have replied since their sequence last wrote to them.

    Raises SchemaError where the rule ``replies_from`` names what cannot be read.
    """
    settings = transaction.settings
    kept = replies.inbox(transaction, settings)
    if kept.trouble:
        return Replied(trouble=kept.trouble)
    rows = _found(transaction, stopping, kept)
    if not rows:
        return Replied(0)
    found = bisect(transaction, _Stop(transaction, run, settings, rows))
    refused = [(one, why) for one, why in found.refused] + [(one, why.reason) for one, why in found.held]
    return Replied(
        _contacts(rows) - _contacts([one for one, _ in refused]),
        Counter(why for _, why in refused),
    )


def _found(transaction: Transaction, stopping: replies.StopsOnReply, kept: replies.Inbox) -> list[RepliedRow]:
    """Rows to come of people who have replied, as far back as this look goes."""
    settings = transaction.settings
    now, last = transaction.now.astimezone(UTC), stopping.looked_at
    far = last is None or (last.astimezone(UTC).hour, now - last > timedelta(hours=1)) != (now.hour, False)
    since = min(now, last or now) - (FAR if far else OVERLAP)
    writers = replies.writers(transaction, kept, since)
    if not writers:
        return []
    return transaction.rows(
        FIND_REPLIED,
        # Of who is written with signs all are looked at, once an hour.
        due_by="infinity" if far else now,
        digits=[one.digits for one in writers],
        users=[one.user_id for one in writers],
        ats=[one.at for one in writers],
        sequences=stopping.sequences,
        waiting=settings.waiting_statuses,
        failed=settings.failed_statuses,
        **national(settings.region),
    )


def _contacts(rows: Sequence[RepliedRow]) -> int:
    return sum(row.table_name == "sequence_contacts" for row in rows)


class _Stop(Divisible[RepliedRow, None]):
    """Rows that are to be stopped."""

    passes_by = True

    def __init__(
        self, transaction: Transaction, run: UUID, settings: Settings, rows: Sequence[RepliedRow]
    ) -> None:
        self._rows = rows
        self._execute: Any = partial(
            transaction.execute,
            STOP_REPLIED,
            run=run,
            now=transaction.now,
            waiting=settings.waiting_statuses,
        )

    def whole(self) -> None:
        self.part(self._rows)

    def items(self) -> Sequence[RepliedRow]:
        return self._rows

    def part(self, items: Sequence[RepliedRow]) -> None:
        self._execute(
            tables=[row.table_name for row in items],
            rows=[row.row_id for row in items],
            ats=[row.at for row in items],
        )

    def is_enough(self, found: Found[RepliedRow, None]) -> bool:
        return len(found.refused) >= MANY
