"""Failed sends of the broadcast worker, shown on the rows of their steps."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from seqdev.errors import Cancelled
from seqdev.postgres.bisect import Sifted, accept
from seqdev.postgres.engine import Database, Transaction
from seqdev.postgres.queries import Query

MANY = 20
"""Rows that the database refuses to change, at which the search for more of them ends."""


@dataclass(frozen=True)
class FailedSend:
    """A row of ``tick/pick_failed.sql``."""

    message_id: UUID


REFLECT_FAILED: Query[None] = Query("tick/reflect_failed.sql", type(None))
PICK_FAILED = Query("tick/pick_failed.sql", FailedSend)


def reflect(database: Database, most: int) -> tuple[int, Counter[str]]:
    """Show failed sends on their steps' rows, ``most`` in a transaction: how many, and who was refused why.

    Raises Cancelled when the server cancels it even for one row.
    """
    shown = 0
    while True:
        try:
            found = database.retry(partial(_batch, database=database, most=most))
        except Cancelled:
            if most == 1:
                raise
            most = most // 2
            continue
        shown += sum(found.accepted)
        # Those refused would be found again: the next run looks for what came after them.
        if found.refused or not found.whole or sum(found.accepted) < most:
            return shown, Counter(why for _, why in found.refused)


def _batch(transaction: Transaction, database: Database, most: int) -> Sifted[FailedSend, int]:
    transaction.constraints_immediate()
    given = {"now": transaction.now, "within": database.settings.failed_within}

    def part(some: Sequence[FailedSend]) -> int:
        only = [one.message_id for one in some]
        return transaction.execute(REFLECT_FAILED, most=len(some), only=only, **given)

    return accept(
        transaction,
        lambda: transaction.execute(REFLECT_FAILED, most=most, **given),
        lambda: transaction.rows(PICK_FAILED, most=most, **given),
        part,
        lambda found: len(found.refused) >= MANY,
    )
