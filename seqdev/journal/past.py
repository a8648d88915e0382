"""How far back the journal tells how it stood."""

from dataclasses import dataclass
from datetime import datetime, tzinfo

from seqdev.errors import UsageError
from seqdev.moments import Moment
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction


@dataclass(frozen=True)
class Pruned:
    """The row of ``journal/pruned.sql``."""

    before: datetime | None


PRUNED = Query("journal/pruned.sql", Pruned)


def instant(tx: Transaction, at: Moment, zone: tzinfo | None) -> datetime:
    """The instant of ``at``. Raises UsageError where it is still to come, or the journal of it was pruned."""
    found = at.gone_by(tx.now, zone)
    pruned = tx.one(PRUNED)
    if pruned.before and found < pruned.before:
        raise UsageError(
            f"how it stood at {at} is not known: the journal was pruned of what began before "
            f"{pruned.before.astimezone(zone):%Y-%m-%d %H:%M}",
            "give a later instant",
        )
    return found
