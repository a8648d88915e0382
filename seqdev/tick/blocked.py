"""Rows that the host has made for people whose phone is blocked: stopped before a tick claims anything."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from seqdev import gates
from seqdev.phone import national
from seqdev.postgres.bisect import Divisible, Found, bisect
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.settings import Settings
from seqdev.tick.failed_sends import MANY
from seqdev.tick.work import Work


@dataclass(frozen=True)
class BlockedRow:
    """A row of ``tick/find_blocked.sql``."""

    contact_id: UUID
    why: str


FIND_BLOCKED = Query("tick/find_blocked.sql", BlockedRow)
STOP_BLOCKED: Query[None] = Query("tick/stop_blocked.sql", type(None))


def count(transaction: Transaction, settings: Settings) -> int:
    """How many rows a tick would stop now, before it claims anything."""
    if not gates.knows_blocked(transaction):
        return 0
    rows = transaction.rows(FIND_BLOCKED, due_by=transaction.now, **national(settings.region))
    return len(rows)


def stop(transaction: Transaction, work: Work) -> Counter[str]:
    """Stop the active rows of people whose phone is blocked; why the database refused to stop some."""
    rows = transaction.rows(FIND_BLOCKED, due_by=work.due_by, **national(work.settings.region))
    if not rows:
        return Counter()
    found = bisect(transaction, _Stop(transaction, work.run, rows))
    return Counter([why for _, why in found.refused] + [why.reason for _, why in found.held])


class _Stop(Divisible[BlockedRow, None]):
    """Rows that are to be stopped."""

    passes_by = True

    def __init__(self, transaction: Transaction, run: UUID, rows: Sequence[BlockedRow]) -> None:
        self._rows = rows
        self._execute = partial(transaction.execute, STOP_BLOCKED, run=run, now=transaction.now)

    def whole(self) -> None:
        self.part(self._rows)

    def items(self) -> Sequence[BlockedRow]:
        return self._rows

    def part(self, items: Sequence[BlockedRow]) -> None:
        self._execute(contacts=[row.contact_id for row in items], reasons=[row.why for row in items])

    def is_enough(self, found: Found[BlockedRow, None]) -> bool:
        return len(found.refused) >= MANY
