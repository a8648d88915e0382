"""The service at one instant: one transaction that only reads, and no statement of it for long."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from seqdev import gates
from seqdev.audit import audit
from seqdev.audit.audit import Criteria, Result
from seqdev.audit.rows import HEALTH, MISMATCHES, Health, Mismatch
from seqdev.moments import Moment, Window
from seqdev.postgres import lookup
from seqdev.postgres.engine import Database
from seqdev.postgres.transaction import Transaction
from seqdev.top.rows import DEVICES, LAST, MINUTES, PEOPLE, Device, Last, Minute, Person

STATEMENT_TIMEOUT = timedelta(seconds=10)
"""For one statement of the page: who watches must not be a burden on the service."""
PEOPLE_LISTED = 200
"""People of a device that are listed, at most."""

_PATIENCE = timedelta(seconds=1)
_HOUR = Window(since=Moment("1h", age=timedelta(hours=1)))


@dataclass(frozen=True)
class Snapshot:
    """The service at the instant ``at``; the last 60 ``minutes``, and ``mismatches`` of them."""

    at: datetime
    last: Last
    health: Health
    mismatches: Result[Mismatch]
    minutes: Sequence[Minute]
    devices: Sequence[Device]


def look(database: Database, user: str | None) -> Snapshot:
    """The service as it stands, or what it does for ``user`` (a name, an id, or its beginning).

    Raises UsageError where there is no such user, Unavailable where the database takes too long.
    """

    def work(transaction: Transaction) -> Snapshot:
        settings = transaction.settings
        whose = (
            lookup.resolve(transaction, lookup.Kind.USER, user, beginning=True) if user is not None else None
        )
        given = {"now": transaction.now, "user": whose or ""}
        steps = gates.steps(transaction, settings)
        asked = gates.Asked(users=[whose] if whose else ())
        devices = gates.devices_for(DEVICES, transaction, settings, asked)
        ((health,),) = audit.rows(transaction, Criteria(user=user), HEALTH)
        return Snapshot(
            at=transaction.now,
            last=transaction.one(LAST),
            health=health,
            mismatches=audit.look(transaction, MISMATCHES, Criteria(_HOUR, user, limit=1)),
            minutes=transaction.rows(MINUTES, failed=settings.failed_statuses, **given),
            devices=transaction.rows(DEVICES, **given, **gates.handed_to(DEVICES, steps, devices)),
        )

    return database.retry(work, snapshot=True, patience=_PATIENCE, statement_timeout=STATEMENT_TIMEOUT)


def people(database: Database, device: UUID) -> list[Person]:
    """The people assigned to ``device`` who are due, the longest due first: PEOPLE_LISTED of them."""
    return database.retry(
        lambda tx: tx.rows(PEOPLE, now=tx.now, device=device, limit=PEOPLE_LISTED),
        read_only=True,
        patience=_PATIENCE,
        statement_timeout=STATEMENT_TIMEOUT,
    )
