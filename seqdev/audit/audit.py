"""The audits: what went wrong, why, and the repair that fits. Each is one file below ``sql/audit/``."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Generic

from seqdev import gates
from seqdev.audit.rows import (
    COLLISIONS,
    CONTACTS,
    DEVICES,
    FAILED,
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
from seqdev.parameters import window
from seqdev.phone import national
from seqdev.postgres import lookup
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query, Row
from seqdev.postgres.transaction import Transaction
from seqdev.settings import Settings

SEVERITIES = {1: "critical", 2: "warning", 3: "note"}
"""What the files below ``sql/audit/`` call 1, 2 and 3."""


AUDITS: tuple[Query[Any], ...] = (
    MISMATCHES,
    DEVICES,
    CONTACTS,
    WRITERS,
    COLLISIONS,
    FAILED,
    SEQUENCES,
    LEADS,
)
"""Every audit."""


@dataclass(frozen=True)
class Criteria:
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


def find(database: Database, query: Query[Row], criteria: Criteria) -> Result[Row]:
    """What the audit ``query`` finds in ``criteria``, read-only."""
    return database.retry(lambda tx: _find(_Look(tx, tx.settings, criteria), query), read_only=True)


def counted(tx: Transaction, settings: Settings, query: Query[Row], criteria: Criteria) -> dict[str, int]:
    """How often the audit ``query`` finds each kind of thing in ``criteria``."""
    found = _find(_Look(tx, settings, replace(criteria, limit=1)), query)
    return {kind.finding: kind.found for kind in found.kinds}


def everything(database: Database, criteria: Criteria) -> tuple[list[Line], Health]:
    """One line an audit, worst first, and how far behind the service is: all of the same instant."""

    def work(transaction: Transaction) -> tuple[list[Line], Health]:
        look = _Look(transaction, transaction.settings, replace(criteria, limit=1))
        found = [_find(look, query) for query in AUDITS]
        return [_line(result) for result in sorted(found, key=_badness)], look.one(HEALTH)

    return database.retry(work, read_only=True)


def health(database: Database, criteria: Criteria) -> tuple[Health, int]:
    """How far behind the service is, and the number of mismatches that somebody has to do something about."""

    def work(transaction: Transaction) -> tuple[Health, int]:
        look = _Look(transaction, transaction.settings, replace(criteria, limit=1))
        kinds = _find(look, MISMATCHES).kinds
        return look.one(HEALTH), sum(kind.found for kind in kinds if kind.severity != "note")

    return database.retry(work, read_only=True)


def if_lost(database: Database, device: str, user: str | None) -> IfLost:
    """What would be lost with ``device``."""

    def work(transaction: Transaction) -> IfLost:
        return _Look(transaction, transaction.settings, Criteria(user=user, device=device)).one(IF_LOST)

    return database.retry(work, read_only=True)


class _Look:
    """A transaction made ready for audits, and what each of them is given."""

    def __init__(self, transaction: Transaction, settings: Settings, criteria: Criteria) -> None:
        self._transaction = transaction
        self._settings = settings
        transaction.one(SETTINGS)
        user = (
            lookup.resolve(transaction, lookup.Kind.USER, criteria.user)
            if criteria.user is not None
            else None
        )

        def known(kind: lookup.Kind, text: str | None) -> lookup.Found | None:
            return lookup.find(transaction, kind, text, user, beginning=True) if text is not None else None

        sequence = known(lookup.Kind.SEQUENCE, criteria.sequence)
        self._user = user
        self._device = known(lookup.Kind.DEVICE, criteria.device)
        self._given: dict[str, object] = {
            "now": transaction.now,
            **window(settings, transaction.now),
            "since": criteria.since,
            "user": user,
            "sequence": sequence.id if sequence else None,
            "device": self._device.id if self._device else None,
            "matches": criteria.matches,
            "without_lead": settings.without_lead,
            "waiting": settings.waiting_statuses,
            "done": settings.done_statuses,
            "failed": settings.failed_statuses,
            **national(settings.region),
            "limit": "" if criteria.limit is None else criteria.limit,
        }

    def rows(self, query: Query[Row]) -> list[Row]:
        """The rows of an audit; what nobody has asked for stays the file's default."""
        parameters = query.statement.parameters
        given = {name: one for name, one in self._given.items() if name in parameters and one is not None}
        steps = self._steps if gates.asks_steps(query) else {}
        devices = gates.devices_for(query, self._transaction, self._settings, self._asked(query))
        causes = gates.causes_for(query, self._transaction, self._transaction.settings)
        return self._transaction.rows(query, **given, **gates.handed_to(query, steps, devices, causes))

    @cached_property
    def _steps(self) -> gates.Answers:
        return gates.steps(self._transaction, self._settings)

    def one(self, query: Query[Row]) -> Row:
        """The single row of an audit."""
        (row,) = self.rows(query)
        return row

    def _asked(self, query: Query[Any]) -> gates.Asked:
        """The devices that an audit has to know of."""
        if self._device and query is IF_LOST:
            return gates.Asked(users=[self._device.user_id])
        return gates.Asked(
            devices=[self._device.id] if self._device and query is DEVICES else (),
            users=[self._user] if self._user else (),
        )


def _find(look: _Look, query: Query[Row]) -> Result[Row]:
    rows = look.rows(query)
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


def _badness(result: Result[Any]) -> tuple[int, int]:
    worst = list(SEVERITIES.values()).index(result.kinds[0].severity) if result.kinds else len(SEVERITIES)
    return worst, -result.found


def _line(result: Result[Any]) -> Line:
    severity = result.kinds[0].severity if result.kinds else "ok"
    return Line(result.name, severity, result.found, {kind.finding: kind.found for kind in result.kinds})
