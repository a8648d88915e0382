"""People whom ticks have moved by reassign go back to their own device, by the rule return_home."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from seqdev import gates
from seqdev.journal.runs import Run
from seqdev.postgres.bisect import HELD_WAIT, Divisible, Found, bisect
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.repair.jobs import HOME
from seqdev.repair.plan import PlanRow

MOST = 10_000
"""Rows that one tick brings back; the next goes on."""
_MANY = 20
"""Rows that the database refuses to change, at which the search for more of them ends."""


@dataclass(frozen=True)
class Returned:
    """The row of ``repair/return.sql``."""

    returned: int


RETURN = Query("repair/return.sql", Returned)


def planned(database: Database) -> list[PlanRow]:
    """The rows that would go back now, the first ``MOST`` of them, read-only; none without the rule."""
    if not database.settings.rules_on("return_home"):
        return []
    return database.retry(_planned, read_only=True)


def bring_back(run: Run, rows: Sequence[PlanRow]) -> tuple[int, Counter[str]]:
    """Assign these people to their own device again, where they still are what was planned, journaled.

    How many rows, and why the database refused to change others, which stay. Raises Cancelled.
    """

    def work(tx: Transaction) -> Found[PlanRow, int]:
        tx.constraints_immediate()
        # The messages of all wait meanwhile.
        tx.wait_at_most(HELD_WAIT)
        return bisect(tx, _Return(tx, run.id, rows))

    with run.work():
        found = run.database.retry(work)
    number = sum(found.done)
    run.counts = {"changed": number}
    return number, Counter([why for _, why in found.refused] + [why.reason for _, why in found.held])


def _planned(tx: Transaction) -> list[PlanRow]:
    return tx.rows(
        HOME,
        now=tx.now,
        by_tick=True,
        most=MOST,
        waiting=tx.settings.waiting_statuses,
        **gates.needed_by(HOME, tx, tx.settings),
    )


class _Return(Divisible[PlanRow, int]):
    """Rows that go back; done: how many of them have."""

    passes_by = True

    def __init__(self, transaction: Transaction, run: UUID, rows: Sequence[PlanRow]) -> None:
        self._transaction = transaction
        self._run = run
        self._rows = rows

    def whole(self) -> int:
        return self.part(self._rows)

    def items(self) -> Sequence[PlanRow]:
        return self._rows

    def part(self, items: Sequence[PlanRow]) -> int:
        tx = self._transaction
        return tx.one(
            RETURN,
            run=self._run,
            now=tx.now,
            rows=[row.row_id for row in items],
            **{"from": [row.from_device for row in items], "to": [row.to_device for row in items]},
            waiting=tx.settings.waiting_statuses,
        ).returned

    def is_enough(self, found: Found[PlanRow, int]) -> bool:
        return len(found.refused) >= _MANY
