"""Backoff: how a run takes less at once, and when it stops, if the database cancels or refuses."""

import time
from collections import Counter
from collections.abc import Sequence

from seqdev.errors import AllRefused, Cancelled
from seqdev.tick.work import Batch

FEW = 10
"""So many contacts refused, and none taken: it is not the contacts that are wrong."""

MANY = 100
"""Contacts that one run quarantines, at most: the next run goes on."""

SEARCH_TIME = 2.0
"""Seconds that one transaction may look for what is refused: it holds all the while what it has claimed.

Until it has claimed somebody, or found one held, it goes on: the batch would come to nothing, or quarantine
people where all are refused.
"""

_STEADY = 4
"""Batches that go well before a larger one is tried."""

_SINGLES = 3
"""Batches of a single contact that a run sees cancelled before it stops."""


class Backoff:
    """``size`` is how many contacts the next batch may take.

    It is halved when the server cancels a batch, or the search for the refused is ended in it, and doubled
    after some that went well.
    """

    def __init__(self, largest: int) -> None:
        self.size = self._largest = largest
        self.accepted = 0
        self.quarantined = Counter[str]()
        """Contacts quarantined, by reason."""
        self.left = Counter[str]()
        """Contacts refused, and not quarantined because that was refused too, by reason."""
        self.singles = 0
        """Batches of one contact that were cancelled."""
        self._why = ""
        self._steady = 0

    def succeeded(self, batch: Batch, contacts: int) -> None:
        """A batch of so many contacts, at most, is committed."""
        self.accepted += batch.claimed
        self.quarantined.update(batch.quarantined)
        self.left.update(batch.left)
        if not batch.complete:
            # Where few got through, a half would do little better, and cost as long a search again.
            self._halve(max(contacts // 4, min(contacts, 2 * batch.claimed)))
            return
        self._steady += 1
        if self._steady >= _STEADY:
            self.size, self._steady = min(self._largest, self.size * 2), 0

    def cancelled(self, contacts: int, error: Cancelled) -> None:
        """The server has cancelled a batch of so many contacts."""
        self._why = error.message
        if contacts > 1:
            self._halve(contacts)
        else:
            self.singles += 1

    def _halve(self, size: int) -> None:
        self.size, self._steady = max(1, size // 2), 0

    @property
    def is_hopeless(self) -> bool:
        """Whether smaller batches do not help."""
        return self.singles >= _SINGLES

    def too_slow(self) -> Cancelled:
        """The error of a run in which the server cancelled a batch of one contact."""
        return Cancelled(
            f"{self._why}, even for a single contact",
            "raise the limit (statement_timeout), or see what makes the database slow, or who cancels",
        )

    @property
    def refused(self) -> int:
        """Contacts that the database has refused in this run."""
        return self.quarantined.total() + self.left.total()

    def is_full(self, accepted: int = 0, refused: int = 0) -> bool:
        """Whether so many were refused, these besides, that this run should refuse no more."""
        refused += self.refused
        return refused >= MANY or (refused >= FEW and refused > self.accepted + accepted)


class Search:
    """One batch's search for the contacts that the database refuses: when it ends, and what it says then."""

    def __init__(self, backoff: Backoff, deadline: float) -> None:
        self._backoff = backoff
        self._deadline = deadline
        self._ends: float | None = None

    def is_over(self, accepted: int, refused: int, held: int) -> bool:
        """Whether to end it, after so many of the batch were accepted and refused, and found held."""
        now = time.monotonic()
        self._ends = self._ends or now + SEARCH_TIME
        return (
            self._backoff.is_full(accepted, refused)
            or self._is_all(accepted, refused)
            or now > (min(self._ends, self._deadline) if accepted or held else self._deadline)
        )

    def raise_if_all(self, accepted: int, reasons: Sequence[str], before: int = 0) -> None:
        """Raise AllRefused where the database refuses everything, ``before`` in runs before this one.

        Then it is not the contacts that are wrong, and the transaction should quarantine none of them.
        """
        if self._is_all(accepted, before + len(reasons)):
            commonest = Counter(reasons).most_common(1)[0][0]
            tried = before + self._backoff.refused + len(reasons)
            raise AllRefused(
                f"the database refuses every contact, {tried} tried: {commonest}",
                "none of these is quarantined: correct the cause, and run seqdev tick again",
            )

    def _is_all(self, accepted: int, refused: int) -> bool:
        return self._backoff.refused + refused >= FEW and self._backoff.accepted + accepted == 0
