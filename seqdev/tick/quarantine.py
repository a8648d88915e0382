"""Contacts that the database refuses: out of the queue, with the reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from seqdev.postgres.bisect import Divisible
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.tick.claims import Pick


@dataclass(frozen=True)
class RefusedLately:
    """The row of ``tick/refused_lately.sql``."""

    contacts: int


@dataclass(frozen=True)
class Quarantined:
    """A row of ``tick/quarantine.sql``."""

    contact_id: UUID


REFUSED_LATELY = Query("tick/refused_lately.sql", RefusedLately)
QUARANTINE = Query("tick/quarantine.sql", Quarantined)


class Quarantine(Divisible[tuple[Pick, str], list[Quarantined]]):
    """Contacts that the database refuses, with the reason, are no longer due."""

    passes_by = True

    def __init__(self, transaction: Transaction, run: UUID, refused: Sequence[tuple[Pick, str]]) -> None:
        self._transaction = transaction
        self._run = run
        self._refused = refused

    def whole(self) -> list[Quarantined]:
        """Quarantine all of them."""
        return self.part(self._refused)

    def items(self) -> Sequence[tuple[Pick, str]]:
        """The contacts, each with the reason."""
        return self._refused

    def part(self, items: Sequence[tuple[Pick, str]]) -> list[Quarantined]:
        """Quarantine these."""
        return self._transaction.rows(
            QUARANTINE,
            run=self._run,
            now=self._transaction.now,
            contacts=[pick.contact_id for pick, _ in items],
            reasons=[why for _, why in items],
        )
