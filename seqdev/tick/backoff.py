"""The pace of a tick: how much it takes at once, and when it stops, if the database cancels or refuses."""

import time
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from seqdev.errors import AllRefused, Cancelled
from seqdev.tick.claim import Batch, Enough

FEW = 10
"""So many contacts refused, and none taken: it is not the contacts that are wrong."""

MANY = 100
"""Contacts that one run sets aside, at most: the next run goes on."""

SPELL = 2.0
"""Seconds that one transaction may look for what is refused: it holds devices all the while."""

_STEADY = 4
"""Batches that go well before a greater one is tried."""

_SINGLES = 3
"""Single contacts that a run sees cancelled before it stops."""


class Pace:
    """``size`` is how many contacts the next batch may take.

    It is halved when the server cancels a batch, and doubled after some that went well.
    """

    def __init__(self, whole: int) -> None:
        self.size = self._whole = whole
        self.accepted = 0
        self.set_aside = Counter[str]()
        self.left = Counter[str]()
        self._steady = 0
        self.singles = 0
        """Batches of one contact that were cancelled."""

    def add(self, did: Batch) -> None:
        """A batch was done."""
        self.accepted += did.claimed
        self.set_aside.update(did.set_aside)
        self.left.update(did.left)
        if not did.whole:
            self._shrink(self.size)
            return
        self._steady += 1
        if self._steady >= _STEADY:
            self.size, self._steady = min(self._whole, self.size * 2), 0

    def _shrink(self, size: int) -> None:
        self.size, self._steady = max(1, size // 2), 0

    def cancelled(self, most: int, devices: frozenset[UUID]) -> frozenset[UUID]:
        """The server has cancelled a batch of ``most`` contacts, of ``devices``: those to leave for this run.

        Raises Cancelled when smaller batches do not help.
        """
        if most > 1:
            self._shrink(most)
            return frozenset()
        self.singles += 1
        if not devices or self.singles >= _SINGLES:
            raise self.too_slow()
        return devices

    def too_slow(self) -> Cancelled:
        """The error of a run in which the server cancelled a batch of one contact."""
        return Cancelled(
            "the server cancelled a statement even for a single contact (time limit or a person), "
            f"{self.singles} times",
            "raise statement_timeout, or see what makes the database slow, or who cancels",
        )

    @property
    def refused(self) -> int:
        """Contacts that the database has refused in this run."""
        return self.set_aside.total() + self.left.total()

    def full(self, accepted: int = 0, refused: int = 0) -> bool:
        """Whether so many were refused, these besides, that this run should refuse no more."""
        refused += self.refused
        return refused >= MANY or (refused >= FEW and refused > self.accepted + accepted)

    def enough(self, deadline: float) -> Enough:
        """For one batch: whether the search for what is refused ends.

        What it returns raises AllRefused when the database refuses everything: then it is not the contacts
        that are wrong, and the transaction should set none of them aside.
        """
        ends: float | None = None

        def ask(accepted: int, reasons: Sequence[str], before: int) -> bool:
            nonlocal ends
            ends = ends or min(deadline, time.monotonic() + SPELL)
            refused = self.refused + len(reasons)
            if before + refused >= FEW and self.accepted + accepted == 0:
                commonest = Counter(reasons).most_common(1)[0][0]
                raise AllRefused(
                    f"the database refuses every contact, {before + refused} tried: {commonest}",
                    "these were not set aside: mend the cause, and tick again",
                )
            return self.full(accepted, len(reasons)) or time.monotonic() > ends

        return ask
