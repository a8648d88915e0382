"""People who have written back: where a sequence stops on a reply, what is to come for them is stopped."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from seqdev import replies
from seqdev.errors import SchemaError
from seqdev.postgres.bisect import Divisible, Found, bisect
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.replies import RepliedRow
from seqdev.settings import Settings
from seqdev.tick.failed_sends import MANY


@dataclass(frozen=True)
class Replied:
    """What a look at the replies came to.

    ``stopped``: contacts' rows; None: no sequence stops on a reply, or nobody can read them, for the reason
    in ``trouble``. Then the people of the sequences ``unread`` wait.
    """

    stopped: int | None = None
    refused: Counter[str] = field(default_factory=Counter)
    trouble: SchemaError | None = None
    unread: frozenset[UUID] = frozenset()


STOP_REPLIED: Query[None] = Query("tick/stop_replied.sql", type(None))


def look(transaction: Transaction) -> Replied:
    """What a tick would stop now, before it claims anything."""
    stopping = replies.stops(transaction)
    if not stopping:
        return Replied()
    rows = _read(transaction, stopping)
    return rows if isinstance(rows, Replied) else Replied(_contacts(rows))


def stop(transaction: Transaction, stopping: replies.StopsOnReply, run: UUID) -> Replied:
    """Stop what is to come for people who have replied since their sequence last wrote to them."""
    rows = _read(transaction, stopping)
    if isinstance(rows, Replied):
        return rows
    if not rows:
        return Replied(0)
    found = bisect(transaction, _Stop(transaction, run, transaction.settings, rows))
    refused = [(one, why) for one, why in found.refused] + [(one, why.reason) for one, why in found.held]
    return Replied(
        _contacts(rows) - _contacts([one for one, _ in refused]),
        Counter(why for _, why in refused),
    )


def _read(transaction: Transaction, stopping: replies.StopsOnReply) -> list[RepliedRow] | Replied:
    try:
        return replies.found(transaction, stopping, replies.inbox(transaction, transaction.settings))
    except SchemaError as error:
        return Replied(trouble=error, unread=frozenset(stopping.sequences))


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
