"""Pace: smaller transactions while others wait for what this run has locked."""

import time
from dataclasses import dataclass

from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.tick.work import BATCH_ON_CITUS, Batch

HOLD = 0.2
"""Seconds that others may wait for a batch, about."""

FIRST = LEAST = 1_000
"""Contacts that a batch may take at first, and in any case. With fewer, it mostly locks devices."""

CALM, CALMER = 0.5, 15.0
"""Seconds without anybody waiting before larger batches are tried: at first, and once somebody has waited."""


@dataclass(frozen=True)
class WaitedFor:
    """The row of ``tick/waited_for.sql``."""

    waited_for: bool


WAITED_FOR = Query("tick/waited_for.sql", WaitedFor)


class Pace:
    """How many ``contacts`` a batch of this run may take, on any of its connections.

    Few at first, and twice as many each time that it was calm for a while. After a batch that somebody has
    waited for, so many as take no longer than ``HOLD``.
    """

    def __init__(self, distributed: bool) -> None:
        self.contacts = FIRST
        self._distributed = distributed
        self._calm = CALM
        self._calm_at = time.monotonic() + CALM

    def add(self, batch: Batch) -> None:
        """A batch is committed."""
        now = time.monotonic()
        if self._distributed:
            # Who waits does so on another node, unseen, and small batches cost much.
            self.contacts = BATCH_ON_CITUS
        elif batch.waited_for:
            self.contacts = max(LEAST, min(self.contacts, int(batch.claimed * HOLD / batch.seconds)))
            self._calm, self._calm_at = CALMER, now + CALMER
        elif now >= self._calm_at:
            self.contacts *= 2
            self._calm_at = now + self._calm


def waited_for(transaction: Transaction, seconds: float) -> bool:
    """Whether somebody waits for a transaction that has held its rows for so long."""
    return seconds > HOLD / 4 and not transaction.distributed and transaction.one(WAITED_FOR).waited_for
