"""Failed sends of the broadcast worker, shown on the rows of their steps."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from seqdev.errors import Cancelled
from seqdev.postgres.bisect import Divisible, Found, bisect
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction

MANY = 20
"""Rows that the database refuses to change, at which the search for more of them ends."""


@dataclass(frozen=True)
class FailedSend:
    """A row of ``tick/pick_failed.sql``."""

    message_id: UUID


REFLECT_FAILED: Query[None] = Query("tick/reflect_failed.sql", type(None))
REFLECT_SENT: Query[None] = Query("tick/reflect_sent.sql", type(None))
PICK_FAILED = Query("tick/pick_failed.sql", FailedSend)


def reflect(database: Database, most: int) -> tuple[int, Counter[str]]:
    """Show failed sends on their steps' rows, ``most`` in a transaction: how many, and who was refused why.

    Raises Cancelled when the server cancels it even for one row.
    """
    shown = 0
    while True:
        try:
            found = database.retry(partial(_batch, most=most))
        except Cancelled:
            if most == 1:
                raise
            most = most // 2
            continue
        shown += sum(found.done)
        # Those refused would be found again: the next run looks for what came after them.
        if found.refused or found.held or not found.complete or sum(found.done) < most:
            refused = [why for _, why in found.refused] + [why.reason for _, why in found.held]
            return shown, Counter(refused)


def reflect_sent(database: Database, most: int) -> int:
    """Show on the steps' rows that failed messages were queued again and sent: how many."""

    def batch(transaction: Transaction) -> int:
        with transaction.savepoint(passes_by=True):
            return transaction.execute(
                REFLECT_SENT,
                now=transaction.now,
                within=transaction.settings.failed_within,
                sent=transaction.settings.sent_statuses,
                most=most,
            )

    shown = 0
    while number := database.retry(batch):
        shown += number
    return shown


def _batch(transaction: Transaction, most: int) -> Found[FailedSend, int]:
    transaction.constraints_immediate()
    return bisect(transaction, _Reflection(transaction, most))


class _Reflection(Divisible[FailedSend, int]):
    """Failed sends to be shown; done: the rows that show them now."""

    passes_by = True

    def __init__(self, transaction: Transaction, most: int) -> None:
        self._transaction = transaction
        self._most = most
        self._given = {
            "now": transaction.now,
            "within": transaction.settings.failed_within,
            "failed": transaction.settings.failed_statuses,
        }

    def whole(self) -> int:
        return self._transaction.execute(REFLECT_FAILED, most=self._most, **self._given)

    def items(self) -> list[FailedSend]:
        return self._transaction.rows(PICK_FAILED, most=self._most, **self._given)

    def part(self, items: Sequence[FailedSend]) -> int:
        only = [one.message_id for one in items]
        return self._transaction.execute(REFLECT_FAILED, most=len(items), only=only, **self._given)

    def is_enough(self, found: Found[FailedSend, int]) -> bool:
        return len(found.refused) >= MANY
