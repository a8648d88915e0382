"""The evidence of an incident: of one instant, in one read-only snapshot, bounded whatever it is about."""

import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from heapq import nlargest
from typing import Any, get_args, get_type_hints

from seqdev import __version__
from seqdev.audit import audit
from seqdev.audit.audit import Criteria, Line, Result
from seqdev.audit.nagios import DEFAULTS, STATES, judge
from seqdev.audit.rows import DEVICES, FAILED, MISMATCHES, Health
from seqdev.journal import runs as journal
from seqdev.moments import Moment, Window
from seqdev.output.render import Table
from seqdev.output.text import Phone, mask
from seqdev.postgres.engine import Database
from seqdev.postgres.transaction import Transaction
from seqdev.repair import history
from seqdev.report import affected, rows, tables
from seqdev.report.affected import Affected
from seqdev.report.privacy import without_phones
from seqdev.rules import pauses, rules
from seqdev.settings import RULES

MOST = 50
"""Rows of a table, at most: the others are counted."""

PLACES = 96
"""Pieces of the timeline, at most."""

_DAY = timedelta(days=1)

_LENGTHS = (
    *(timedelta(minutes=n) for n in (1, 2, 5, 10, 15, 30)),
    *(timedelta(hours=n) for n in (1, 2, 3, 6, 12)),
    *(timedelta(days=n) for n in (1, 2, 4, 7, 14, 28)),
)
"""Lengths of a piece of the timeline, where one of them is long enough."""


@dataclass(frozen=True)
class Evidence:
    """What a report says. Each field is a table of it, of at most ``MOST`` rows."""

    about: tables.About
    service: tables.Service
    audits: Sequence[Line]
    findings: Sequence[tables.Finding]
    mismatches: affected.Mismatches
    causes: Sequence[affected.Cause]
    failures: Sequence[affected.Failure]
    devices: Sequence[affected.AffectedDevice]
    sequences: Sequence[affected.AffectedSequence]
    people: Sequence[affected.Person]
    capacity: Sequence[tables.Capacity]
    gaps: Sequence[tables.Gap]
    pauses: Sequence[tables.Paused]
    paused_parts: Sequence[tables.PausedPart]
    runs: Sequence[tables.Ran]
    hosts: Sequence[tables.HostLine]
    rules: Sequence[tables.RuleLine]
    timeline: Sequence[tables.Place]
    left_out: Sequence[tables.LeftOut]

    def published(self) -> list[Table]:
        """The evidence as tables, for programs."""
        hints = get_type_hints(Evidence)
        made = []
        for one in fields(self):
            row, value = get_args(hints[one.name]), getattr(self, one.name)
            made.append(
                Table(one.name, row[0], value)
                if row
                else Table(one.name, hints[one.name], [value], single=True)
            )
        return made


def collect(database: Database, window: Window, *, masked: bool) -> Evidence:
    """The evidence of ``window``, a day if it has no beginning; ``masked``: the middle of phones is hidden.

    Raises UsageError for a window without any time in it.
    """

    def work(tx: Transaction) -> Evidence:
        begin = window.since or Moment(f"{_DAY.days}d", instant=window.begins(tx.now, _DAY))
        return _Snapshot(tx, replace(window, since=begin), masked).evidence()

    return database.retry(work, snapshot=True)


class _Snapshot:
    """One look at everything, and how many rows its tables had to leave out."""

    def __init__(self, tx: Transaction, window: Window, masked: bool) -> None:
        self._tx = tx
        self._criteria = Criteria(window, limit=MOST)
        self._masked = masked
        self._left_out: dict[str, int] = {}
        self._time = {"now": tx.now, **window.given(tx.now)}
        self._window = tx.one(rows.WINDOW, **self._time)
        # In UTC: Python subtracts what the wall clock shows, which jumps where summer time begins or ends.
        self._begin = self._window.since.astimezone(UTC)
        lasts = self._window.until.astimezone(UTC) - self._begin
        self._length = next((one for one in _LENGTHS if one * PLACES >= lasts), lasts / PLACES)
        self._places = max(1, -(-lasts // self._length))

    def evidence(self) -> Evidence:
        """All of it."""
        found, health = audit.results(self._tx, self._criteria)
        met = Affected(self._place)
        met.mismatches(audit.stream(self._tx, MISMATCHES, self._criteria))
        met.failed(audit.stream(self._tx, FAILED, self._criteria))
        by_query = {result.query.path: result for result in found}
        total = met.total
        return Evidence(
            about=self._about(),
            service=_service(health, total.to_do),
            audits=[audit.line_of(result) for result in found],
            findings=list(_findings(found)),
            mismatches=total,
            causes=self._kept("causes", met.causes),
            failures=self._kept("failures", met.failures),
            devices=self._kept("devices", met.devices),
            sequences=self._kept("sequences", met.sequences),
            people=self._people(by_query[MISMATCHES.path]),
            capacity=self._copied("capacity", tables.Capacity, by_query[DEVICES.path].rows),
            gaps=self._gaps(),
            pauses=self._copied("pauses", tables.Paused, self._tx.rows(rows.PAUSES, **self._time, most=MOST)),
            paused_parts=self._paused_parts(),
            runs=self._runs(),
            hosts=self._copied("hosts", tables.HostLine, self._tx.rows(rows.HOSTS, **self._time, most=MOST)),
            rules=self._rules(),
            timeline=self._timeline(met),
            left_out=[tables.LeftOut(table, number) for table, number in self._left_out.items()],
        )

    def _about(self) -> tables.About:
        window = self._window
        settings = self._tx.settings
        return tables.About(
            since=window.since,
            until=window.until,
            at=self._tx.now,
            zone=window.zone,
            database=window.database,
            schema=settings.schema,
            server=window.server,
            seqdev=__version__,
            python=platform.python_version(),
            masked=self._masked,
            tick_every=window.every,
        )

    def _people(self, found: Result[Any]) -> Sequence[affected.Person]:
        people: Sequence[affected.Person] = self._copied("people", affected.Person, found.rows)
        if not self._masked:
            return people
        return [affected.Person(**asdict(one) | {"phone": Phone(mask(one.phone))}) for one in people]

    def _gaps(self) -> Sequence[tables.Gap]:
        every = self._tx.stream(journal.MISSED, **self._time, every=self._window.every, most=None)
        longest = nlargest(MOST, every, key=lambda one: one.lasted)
        gaps = [
            tables.Gap(one.missed_from, one.missed_to, one.lasted, one.missed, sum(one.began.values()))
            for one in longest
        ]
        return self._kept("gaps", gaps, longest[0].total if longest else 0)

    def _paused_parts(self) -> Sequence[tables.PausedPart]:
        parts = [
            tables.PausedPart(one.scope, one.scope_name, one.scope_id, one.since, one.ends)
            for one in pauses.listed(self._tx)
            if not one.is_over
        ]
        return self._kept("paused_parts", parts)

    def _runs(self) -> Sequence[tables.Ran]:
        found = self._tx.rows(journal.LIST, **self._time, but="tick", most=MOST)
        changed = {
            one.run_id: one
            for one in self._tx.rows(history.RUNS, runs=[one.run_id for one in found], most=None)
            if found
        }
        runs = []
        for one in found:
            change = changed.get(one.run_id)
            undo = f"seqdev repair undo {one.run_id}" if change and change.state != "undone" else None
            runs.append(
                tables.Ran(
                    *(one.run_id, one.command, one.arguments, one.started, one.lasted, one.state),
                    *(one.exit_code, change.changes if change else 0, change.state if change else None, undo),
                )
            )
        return self._kept("runs", runs, found[0].total if found else 0)

    def _rules(self) -> Sequence[tables.RuleLine]:
        found = [
            # But pauses, which have reasons, and are told elsewhere.
            tables.RuleLine(one.name, one.value, one.source, one.scope, one.scope_name, one.scope_id)
            for one in rules.listed(self._tx, rules.Target())
            if one.name in RULES
        ]
        return self._kept("rules", sorted(found, key=lambda one: one.scope != "all"), most=MOST + len(RULES))

    def _place(self, at: datetime) -> int:
        """The place of an instant; what is dated later than now is in the last."""
        return max(0, min(self._places - 1, (at - self._begin) // self._length))

    def _timeline(self, met: Affected) -> Sequence[tables.Place]:
        counted: dict[str, Counter[int]] = {name: Counter() for name in ("ticks", "bad", "messages")}
        given = {"length": self._length, "failed": self._tx.settings.failed_statuses}
        for one in self._tx.rows(rows.TIMELINE, **self._time, **given):
            if one.place is not None:
                for name, counts in counted.items():
                    counts[max(0, min(self._places - 1, one.place))] += getattr(one, name)
        return [
            tables.Place(
                (self._begin + number * self._length).astimezone(self._window.since.tzinfo),
                *(counted["ticks"][number], counted["bad"][number]),
                *(met.places["open"][number], met.places["repaired"][number]),
                counted["messages"][number],
            )
            for number in range(self._places)
        ]

    def _copied(self, table: str, row: type[Any], found: Sequence[Any]) -> Sequence[Any]:
        """``found`` with the fields of ``row`` only; it says itself how many there are in all."""
        names = [one.name for one in fields(row)]
        made = [row(*(getattr(one, name) for name in names)) for one in found]
        return self._kept(table, made, found[0].total if found else 0)

    def _kept(self, table: str, found: Iterable[Any], total: int = 0, most: int = MOST) -> Sequence[Any]:
        """The first of ``found``, of ``total`` if there are more, without phones where they are masked."""
        found = list(found)
        kept = found[:most]
        if left := max(total, len(found)) - len(kept):
            self._left_out[table] = left
        return [without_phones(one) for one in kept] if self._masked else kept


def _service(health: Health, mismatches: int) -> tables.Service:
    verdict, _ = judge(health, mismatches, DEFAULTS)
    shown = {one.name: getattr(health, one.name) for one in fields(tables.Service) if one.name != "verdict"}
    return tables.Service(STATES[verdict], **shown)


def _findings(found: Iterable[Result[Any]]) -> Iterable[tables.Finding]:
    for result in found:
        for kind in result.kinds:
            yield tables.Finding(result.name, kind.finding, kind.severity, kind.found, kind.repair)
