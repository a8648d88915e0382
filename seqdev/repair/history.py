"""Runs that have changed rows, and what they have changed, as people and programs see them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from seqdev.errors import UsageError
from seqdev.output.columns import Aged, Verdict
from seqdev.output.render import Table, Writer
from seqdev.output.tables import for_people, published
from seqdev.output.text import Phone, mask
from seqdev.output.words import Clock
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.repair.plan import PHONES
from seqdev.repair.view import row_name, told


@dataclass(frozen=True)
class ChangingRun:
    """A row of ``repair/runs.sql``: a run that has changed rows."""

    run_id: UUID
    command: str
    started: datetime
    finished: bool
    changes: int
    undone: int
    state: str
    undone_by: UUID | None
    undone_at: datetime | None
    who: str | None
    why: str | None
    total: int


@dataclass(frozen=True)
class Change:
    """A row of ``repair/show.sql``: a value that a run has changed."""

    table_name: str
    row_id: UUID
    phone: Phone | None
    sequence: str | None
    column_name: str
    old_value: str | None
    old_device: str | None
    new_value: str | None
    new_device: str | None
    changed_at: datetime
    total: int


@dataclass(frozen=True)
class ChangingRunLine:
    """A run on a screen."""

    run_id: UUID
    state: Verdict
    command: str
    changes: int
    started: Aged


@dataclass(frozen=True)
class ChangeLine:
    """A change on a screen."""

    phone: Phone | None
    column: str
    old: str | None
    new: str | None
    row: str


RUNS = Query("repair/runs.sql", ChangingRun)
SHOW = Query("repair/show.sql", Change)


def list_runs(database: Database, most: int | None) -> list[ChangingRun]:
    """Runs that have changed rows, newest first."""
    return database.retry(lambda tx: tx.rows(RUNS, most=most), read_only=True)


def changes(tx: Transaction, run: UUID, most: int | None) -> Iterator[Change]:
    """What ``run`` has changed, the first of it, or with None all."""
    return tx.stream(SHOW, run=run, most=most)


def last(tx: Transaction) -> ChangingRun:
    """The newest run in effect that an undo takes back. Raises UsageError where there is none."""
    found = tx.rows(RUNS, undoable=True, most=1)
    if not found:
        raise UsageError("no run is in effect that could be undone", "see them all: seqdev repair list --all")
    return found[0]


def of(tx: Transaction, run: UUID) -> ChangingRun | None:
    """What became of ``run``; None where it has changed nothing."""
    found = tx.rows(RUNS, runs=[run], most=1)
    return found[0] if found else None


def described(run: ChangingRun, clock: Clock) -> str:
    """A run in a line: which, what, when, by whom and what for; and the run that has undone it."""
    text = f"run {str(run.run_id)[:8]}: {run.command}, {clock.with_age(run.started)}"
    text += f", by {run.who}" if run.who else ""
    text += f": {run.why}" if run.why else ""
    text += "" if run.finished else "; it was cut off, or is still at work"
    if run.undone_by and run.undone_at:
        text += f"; {run.state} by run {str(run.undone_by)[:8]}, {clock.with_age(run.undone_at)}"
    return text


class Counted:
    """The changes of a run as they come, ``shown`` of ``total``."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self._changes = changes
        self.shown = 0
        self.total = 0

    def __iter__(self) -> Iterator[Change]:
        """The changes, counted."""
        for change in self._changes:
            self.shown += 1
            self.total = change.total
            yield change


def runs_table(writer: Writer, runs: Iterable[ChangingRun]) -> Table:
    """Runs that have changed rows."""
    if for_people(writer.format):
        lines = (
            ChangingRunLine(
                run.run_id,
                run.state + ("" if run.finished else ", cut off"),
                re.sub(r"^(repair undo .{8}).*", r"\1", run.command),
                run.changes,
                run.started,
            )
            for run in runs
        )
        return Table("runs", ChangingRunLine, lines)
    return published("runs", ChangingRun, runs)


def changes_table(writer: Writer, changes: Iterable[Change]) -> Table:
    """What a run has changed."""
    shown = (_masked(change) if writer.masked else change for change in changes)
    if for_people(writer.format):
        lines = (
            ChangeLine(
                change.phone,
                change.column_name,
                _value(writer, change.old_value, change.old_device),
                _value(writer, change.new_value, change.new_device),
                row_name(change.table_name, change.sequence),
            )
            for change in shown
        )
        return Table("changes", ChangeLine, lines)
    return published("changes", Change, shown)


def _masked(change: Change) -> Change:
    if change.column_name not in PHONES:
        return change
    return replace(change, old_value=mask(change.old_value or ""), new_value=mask(change.new_value or ""))


def _value(writer: Writer, value: str | None, device: str | None) -> str | None:
    """A value of the journal on a screen; of a device, its name and the beginning of its id."""
    if not value:
        return value
    return f"{device} {value[:8]}" if device else told(writer, value)
