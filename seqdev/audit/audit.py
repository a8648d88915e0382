"""The audits: what went wrong, why, and the repair that fits. Each is one file below ``sql/audit/``."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Generic
from uuid import UUID

from seqdev.audit.rows import (
    COLLISIONS,
    CONTACTS,
    DEVICES,
    HEALTH,
    IF_LOST,
    LEADS,
    MISMATCHES,
    SEQUENCES,
    SETTINGS,
    WRITERS,
    Health,
    IfLost,
)
from seqdev.postgres import lookup
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query, Row
from seqdev.postgres.transaction import Transaction
from seqdev.settings import Settings

SEVERITIES = {1: "critical", 2: "warning", 3: "note"}
"""What the files below ``sql/audit/`` call 1, 2 and 3."""


AUDITS: tuple[Query[Any], ...] = (MISMATCHES, DEVICES, CONTACTS, WRITERS, COLLISIONS, SEQUENCES, LEADS)
"""Every audit."""


@dataclass(frozen=True)
class Scope:
    """What to look at, as people type it; None: no bound, or the file's own."""

    since: timedelta | None = None
    user: str | None = None
    sequence: str | None = None
    device: str | None = None
    matches: bool = False
    limit: int | None = None


@dataclass(frozen=True)
class Kind:
    """How often an audit found one kind of thing, and what to do about it."""

    finding: str
    """What was found."""
    severity: str
    """critical, warning or note."""
    found: int
    """How often, listed or not."""
    repair: str
    """What to do about it."""


@dataclass(frozen=True)
class Result(Generic[Row]):
    """What an audit found: the rows listed, the number of rows in all, and what was found, worst first."""

    query: Query[Row]
    rows: Sequence[Row]
    total: int = 0
    kinds: Sequence[Kind] = ()

    @property
    def name(self) -> str:
        """The name of the audit, as its command has it."""
        return Path(self.query.path).stem

    @property
    def found(self) -> int:
        """Findings in all."""
        return sum(kind.found for kind in self.kinds)


@dataclass(frozen=True)
class Line:
    """One audit in ``audit all``."""

    audit: str
    """The audit: `seqdev audit` takes this name."""
    severity: str
    """The worst it found: critical, warning, note; or ok."""
    found: int
    """Findings in all."""
    kinds: dict[str, int] = field(default_factory=dict)
    """Findings, by kind."""


def find(database: Database, query: Query[Row], scope: Scope) -> Result[Row]:
    """What the audit ``query`` finds in ``scope``, read-only."""
    return database.retry(lambda tx: _find(tx, query, _given(tx, database.settings, scope)), read_only=True)


def everything(database: Database, scope: Scope) -> tuple[list[Line], Health]:
    """One line an audit, worst first, and how far behind the service is: all of the same instant."""

    def work(transaction: Transaction) -> tuple[list[Line], Health]:
        given = _given(transaction, database.settings, scope) | {"limit": 1}
        found = [_find(transaction, query, given) for query in AUDITS]
        return [_line(result) for result in sorted(found, key=_badness)], _health(transaction, given)

    return database.retry(work, read_only=True)


def health(database: Database, scope: Scope) -> tuple[Health, int]:
    """How far behind the service is, and the number of mismatches."""

    def work(transaction: Transaction) -> tuple[Health, int]:
        given = _given(transaction, database.settings, scope) | {"limit": 1}
        return _health(transaction, given), _find(transaction, MISMATCHES, given).found

    return database.retry(work, read_only=True)


def if_lost(database: Database, device: str, user: str | None) -> IfLost:
    """What would be lost with ``device``."""

    def work(transaction: Transaction) -> IfLost:
        given = _given(transaction, database.settings, Scope(user=user, device=device))
        return transaction.one(IF_LOST, **_declared(IF_LOST, given))

    return database.retry(work, read_only=True)


def _find(transaction: Transaction, query: Query[Row], given: dict[str, object]) -> Result[Row]:
    rows = transaction.rows(query, **_declared(query, given))
    if not rows:
        return Result(query, rows)
    first: Any = rows[0]
    kinds = sorted(first.found.items(), key=lambda item: (item[1]["severity"], -item[1]["found"], item[0]))
    return Result(
        query,
        rows,
        first.total,
        [Kind(name, SEVERITIES[one["severity"]], one["found"], one["repair"]) for name, one in kinds],
    )


def _health(transaction: Transaction, given: dict[str, object]) -> Health:
    return transaction.one(HEALTH, **_declared(HEALTH, given))


def _given(transaction: Transaction, settings: Settings, scope: Scope) -> dict[str, object]:
    """Every parameter that an audit may declare; and the transaction made ready for its work."""
    transaction.one(SETTINGS)
    user = lookup.resolve(transaction, lookup.Kind.USER, scope.user) if scope.user is not None else None

    def known(kind: lookup.Kind, text: str | None) -> UUID | None:
        return lookup.resolve(transaction, kind, text, user) if text is not None else None

    return {
        "now": transaction.now,
        "since": scope.since,
        "user": user,
        "sequence": known(lookup.Kind.SEQUENCE, scope.sequence),
        "device": known(lookup.Kind.DEVICE, scope.device),
        "matches": scope.matches,
        "active": settings.active_statuses,
        "online": settings.online_statuses,
        "claimed": settings.claim_timeout,
        "max_in_flight": settings.max_in_flight,
        "max_per_hour": settings.max_per_hour,
        "max_per_day": settings.max_per_day,
        "limit": "" if scope.limit is None else scope.limit,
    }


def _declared(query: Query[Any], given: dict[str, object]) -> dict[str, object]:
    """Of ``given`` what the file takes; what is None stays the file's default."""
    parameters = query.statement.parameters
    return {name: value for name, value in given.items() if name in parameters and value is not None}


def _badness(result: Result[Any]) -> tuple[int, int]:
    worst = list(SEVERITIES.values()).index(result.kinds[0].severity) if result.kinds else len(SEVERITIES)
    return worst, -result.found


def _line(result: Result[Any]) -> Line:
    severity = result.kinds[0].severity if result.kinds else "ok"
    return Line(result.name, severity, result.found, {kind.finding: kind.found for kind in result.kinds})
