"""The audits: what went wrong, why, and the repair that fits. Each is one file below ``sql/audit/``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic
from uuid import UUID

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
    SESSIONS,
    SETTINGS,
    WRITERS,
    Health,
    IfLost,
    Session,
)
from seqdev.audit.summary import Summary, read
from seqdev.journal.past import instant, paused
from seqdev.moments import EVER, Moment, Window
from seqdev.output import words
from seqdev.output.columns import Prose, Verdict
from seqdev.parameters import window
from seqdev.phone import national
from seqdev.postgres import lookup
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query, Row
from seqdev.postgres.transaction import Transaction
from seqdev.settings import Settings

SEVERITIES = {1: "critical", 2: "warning", 3: "note"}
"""What the files below ``sql/audit/`` call 1, 2 and 3."""

NOW = "now"
"""The window of an audit that looks at things as they stand."""

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

    window: Window = EVER
    user: str | None = None
    sequence: str | None = None
    device: str | None = None
    matches: bool = False
    limit: int | None = None
    at: Moment | None = None
    """As it stood then; None: now."""


@dataclass(frozen=True)
class Kind:
    """How often an audit found one kind of thing, and what to do about it."""

    brief: ClassVar[tuple[str, ...]] = ("finding", "severity", "found", "repair")

    finding: Verdict
    """What was found."""
    severity: Verdict
    """critical, warning or note."""
    found: int
    """How often, listed or not."""
    repair: Prose
    """What to do about it."""

    @property
    def is_over(self) -> bool:
        """Whether nothing has to be done about it."""
        return self.severity == SEVERITIES[3] and self.repair.startswith("nothing:")


@dataclass(frozen=True)
class Result(Generic[Row]):
    """What an audit found: the rows listed, the number of rows in all, and what was found, worst first.

    ``window``: how far it looked back, in words. ``summary``: None where the audit has none. ``narrow``: the
    options that say for whom, as commands that write take them too: not by the beginning of a name.
    """

    query: Query[Row]
    rows: Sequence[Row]
    window: str
    total: int = 0
    kinds: Sequence[Kind] = ()
    summary: Summary | None = None
    narrow: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the audit, as its command has it."""
        return Path(self.query.path).stem.removeprefix("then_")

    @property
    def found(self) -> int:
        """Findings in all."""
        return sum(kind.found for kind in self.kinds)

    @property
    def to_do(self) -> int:
        """Of these, those that somebody has to do something about."""
        return sum(kind.found for kind in self.kinds if kind.severity != SEVERITIES[3])

    @property
    def over(self) -> int:
        """Of these, those about which nothing has to be done: none while it still happens."""
        still_happens = self.summary is not None and self.summary.still_happens
        return 0 if still_happens else sum(kind.found for kind in self.kinds if kind.is_over)


@dataclass(frozen=True)
class Line:
    """One audit in ``audit all``."""

    audit: str
    """The audit: `seqdev audit` takes this name."""
    severity: Verdict
    """The worst it found: critical, warning, note; or ok."""
    found: int
    """Findings in all."""
    over: int
    """Of these, those about which nothing has to be done: repaired, say, and it does not happen any more."""
    window: str
    """How far it looks back; now: at things as they stand."""
    kinds: dict[str, int] = field(default_factory=dict)
    """Findings, by kind."""


def sessions(database: Database) -> list[Session]:
    """Sessions of other programs that may write messages."""
    return database.retry(lambda tx: tx.rows(SESSIONS), read_only=True)


def find(database: Database, query: Query[Row], criteria: Criteria) -> Result[Row]:
    """What the audit ``query`` finds in ``criteria``, read-only."""
    return database.retry(lambda tx: look(tx, query, criteria), read_only=True)


def look(tx: Transaction, query: Query[Row], criteria: Criteria) -> Result[Row]:
    """The same, within a transaction."""
    return _find(_Look(tx, tx.settings, criteria), query)


def counted(tx: Transaction, query: Query[Row], criteria: Criteria) -> dict[str, int]:
    """How often the audit ``query`` finds each kind of thing in ``criteria``."""
    return {kind.finding: kind.found for kind in look(tx, query, replace(criteria, limit=1)).kinds}


def rows(tx: Transaction, criteria: Criteria, *queries: Query[Any]) -> list[list[Any]]:
    """The rows of several files below ``sql/audit/``, each in a list of its own."""
    look = _Look(tx, tx.settings, criteria)
    return [list(_listed(look.rows(query))) for query in queries]


def everything(database: Database, criteria: Criteria) -> tuple[list[Line], Health]:
    """One line an audit, worst first, and how far behind the service is: all of the same instant."""

    def work(transaction: Transaction) -> tuple[list[Line], Health]:
        found, behind = results(transaction, replace(criteria, limit=1))
        return [line_of(result) for result in found], behind

    return database.retry(work, snapshot=True)


def results(transaction: Transaction, criteria: Criteria) -> tuple[list[Result[Any]], Health]:
    """What every audit finds, the worst first, and how far behind the service is."""
    look = _Look(transaction, transaction.settings, criteria)
    return worst_first([_find(look, query) for query in AUDITS]), look.one(HEALTH)


def worst_first(results: Iterable[Result[Any]]) -> list[Result[Any]]:
    """``results`` of audits, the worst first."""
    return sorted(results, key=_badness)


def stream(transaction: Transaction, query: Query[Row], criteria: Criteria) -> Iterator[Row]:
    """All rows that the audit ``query`` finds, by a cursor on the server: memory does not grow with them."""
    look = _Look(transaction, transaction.settings, replace(criteria, limit=None))
    return _listed(transaction.stream(query, **look.given(query)))


def health(database: Database, criteria: Criteria) -> tuple[Health, int]:
    """How far behind the service is, and the number of mismatches that somebody has to do something about."""

    def work(transaction: Transaction) -> tuple[Health, int]:
        found = _Look(transaction, transaction.settings, replace(criteria, limit=1))
        return found.one(HEALTH), _find(found, MISMATCHES).to_do

    return database.retry(work, snapshot=True)


def behind(database: Database) -> Health:
    """How far behind the service is, and nothing else."""

    def work(transaction: Transaction) -> Health:
        return _Look(transaction, transaction.settings, Criteria()).one(HEALTH)

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
        self._window = criteria.window
        self._now = transaction.now
        self._at = criteria.at
        past: dict[str, object] = {}
        if criteria.at:
            self._now = instant(transaction, criteria.at, criteria.window.zone)
            past |= paused(transaction, self._now)
        transaction.one(SETTINGS)
        self.narrow: dict[str, str] = {}

        def known(kind: lookup.Kind, text: str | None, user: UUID | None = None) -> lookup.Found | None:
            if text is None:
                return None
            found = lookup.find(transaction, kind, text, user, beginning=True)
            is_whole = text.strip().lower() == (found.name or "").strip().lower()
            self.narrow[f"--{kind.name.lower()}"] = text if is_whole else str(found.id)
            return found

        owner = known(lookup.Kind.USER, criteria.user)
        self._user = user = owner.id if owner else None
        sequence = known(lookup.Kind.SEQUENCE, criteria.sequence, user)
        self._device = known(lookup.Kind.DEVICE, criteria.device, user)
        self._given: dict[str, object] = {
            "now": self._now,
            **window(settings, transaction.now),
            "user": user,
            "sequence": sequence.id if sequence else None,
            "device": self._device.id if self._device else None,
            "matches": criteria.matches,
            "without_lead": settings.without_lead,
            "waiting": settings.waiting_statuses,
            "done": settings.done_statuses,
            "failed": settings.failed_statuses,
            **national(settings.region),
            **past,
            "limit": "" if criteria.limit is None else criteria.limit,
        }

    def rows(self, query: Query[Row]) -> list[Row]:
        """The rows of an audit."""
        return self._transaction.rows(query, **self.given(query))

    def given(self, query: Query[Any]) -> dict[str, object]:
        """The parameters of an audit; what nobody has asked for stays the file's default."""
        parameters = query.statement.parameters
        length = parameters["since"].default if "since" in parameters else None
        asked = self._given | self._window.given(self._now, length)
        given = {name: one for name, one in asked.items() if name in parameters and one is not None}
        steps = self._steps if gates.asks_steps(query) else {}
        devices = gates.devices_for(query, self._transaction, self._settings, self._asked(query))
        causes = gates.causes_for(query, self._transaction, self._transaction.settings)
        return {**given, **gates.handed_to(query, steps, devices, causes)}

    def window(self, query: Query[Any]) -> str:
        """How far an audit looks back, in words."""
        since = query.statement.parameters.get("since")
        if since is None:
            return NOW
        begins, ends = self._window.since, self._window.until or self._at
        length = since.default or ""
        if begins:
            length = words.duration(begins.age) if begins.age else f"since {begins}"
        if not ends:
            return length
        # What was typed says that only beside the clock of the person who typed it.
        until = self._now if self._at else ends.at(self._now, self._window.zone, end=True)
        return f"{length}, until {words.Clock(self._window.zone).said(until)}"

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


def _listed(rows: Iterable[Row]) -> Iterator[Row]:
    """``rows`` without the one that comes where nothing is found, and has but a summary."""
    return (row for row in rows if getattr(row, "total", True))


def _find(look: _Look, query: Query[Row]) -> Result[Row]:
    rows = look.rows(query)
    window = look.window(query)
    if not rows:
        return Result(query, rows, window)
    first: Any = rows[0]
    summary = read(first.summary) if hasattr(first, "summary") else None
    kinds = sorted(first.found.items(), key=lambda item: (item[1]["severity"], -item[1]["found"], item[0]))
    return Result(
        query,
        list(_listed(rows)),
        window,
        first.total,
        [Kind(name, SEVERITIES[one["severity"]], one["found"], one["repair"]) for name, one in kinds],
        summary,
        look.narrow,
    )


def _badness(result: Result[Any]) -> tuple[int, int]:
    worst = list(SEVERITIES.values()).index(result.kinds[0].severity) if result.kinds else len(SEVERITIES)
    return worst, -result.found


def line_of(result: Result[Any]) -> Line:
    """The line of an audit among all."""
    severity = result.kinds[0].severity if result.kinds else "ok"
    return Line(
        result.name,
        severity,
        result.found,
        result.over,
        result.window,
        {kind.finding: kind.found for kind in result.kinds},
    )
