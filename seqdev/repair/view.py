"""What people and programs see of a plan and of the run that carried it out."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from uuid import UUID

from seqdev.output.render import Format, Table, Writer, note
from seqdev.output.tables import LISTED, for_people, published
from seqdev.output.text import Phone
from seqdev.repair.apply import Outcome
from seqdev.repair.jobs import Change, ChangingRun
from seqdev.repair.plan import Plan, PlanRow


@dataclass(frozen=True)
class Summary:
    """What a run did, or would."""

    run_id: UUID | None
    """The run in the journal; null where nothing was written."""
    command: str
    """The command."""
    dry_run: bool
    """Whether nothing was written."""
    planned: int
    """Rows to change."""
    people: int
    """People whose rows these are."""
    changed: int
    """Rows that were changed."""
    kept: int
    """Rows that were not: somebody else had changed them since the plan."""
    refused: int
    """Rows that the plan refuses to change."""
    reasons: dict[str, int]
    """Refused rows, by reason."""
    duration: float
    """Seconds that the changes took."""


@dataclass(frozen=True)
class Total:
    """Planned changes by where from, where to, and why."""

    from_device: str | None
    """The device that the rows have, by name."""
    to_device: str | None
    """The device that they get, by name."""
    why: str
    """Why they change, as one word."""
    rows: int
    """Planned changes."""


@dataclass(frozen=True)
class Move:
    """A planned change on a screen."""

    phone: Phone | None
    row: str
    from_device: str | None
    to_device: str | None
    why: str


@dataclass(frozen=True)
class Refusal:
    """A row that is not changed on a screen, and why."""

    phone: Phone | None
    row: str
    from_device: str | None
    to_device: str | None
    reason: str


@dataclass(frozen=True)
class ChangingRunLine:
    """A run on a screen."""

    run_id: UUID
    started: str
    command: str
    changes: int
    state: str


@dataclass(frozen=True)
class ChangeLine:
    """A change on a screen."""

    phone: Phone | None
    row: str
    column: str
    old: str | None
    new: str | None


def show_plan(writer: Writer, plan: Plan, show_all: bool) -> None:
    """What would be changed: by from, to and why; the rows, 20 of them or all; who is refused."""
    summary = _summary(plan, None)
    totals = Table("totals", Total, list(_totals(plan)))
    refused = _refused(writer, plan, None, show_all)
    rows = _rows(writer, plan, show_all)
    _write(writer, (summary, totals), (rows, refused), screen=(totals, rows, refused))
    _announce(plan, show_all)


def show_outcome(writer: Writer, plan: Plan, outcome: Outcome, show_all: bool) -> None:
    """What was done: the account, by from, to and why; who was refused or kept."""
    summary = _summary(plan, outcome)
    totals = Table("totals", Total, list(_totals(plan)))
    refused = _refused(writer, plan, outcome, show_all)
    rows = _rows(writer, plan, show_all)
    _write(writer, (summary, totals), (rows, refused), screen=(summary, totals, refused))
    if not plan.changes:
        note("nothing to change" + (f": {plan.refused.total():,} refused" if plan.refused else ""))
    elif outcome.run and outcome.changed:
        note(f"to take it back: seqdev repair undo {outcome.run}")
    _announce_refused(plan, show_all)
    if outcome.kept:
        note(f"{outcome.kept:,} rows were changed by others since the plan was made, and kept")


def row_name(table_name: str, sequence: str | None) -> str:
    """A row as people know it: the lead, or the contact in a sequence."""
    return "lead" if table_name == "leads" else (sequence or "contact")


def _write(
    writer: Writer, accounts: tuple[Table, ...], lines: tuple[Table, ...], screen: tuple[Table, ...]
) -> None:
    """``screen`` for people; ``lines`` for programs, after the ``accounts`` where it is one document."""
    if for_people(writer.format):
        writer.write(*screen)
    elif writer.format is Format.JSON:
        writer.write(*accounts, *lines)
    else:
        writer.write(*lines)


def _summary(plan: Plan, outcome: Outcome | None) -> Table:
    row = Summary(
        run_id=outcome.run if outcome else None,
        command=plan.header.command,
        dry_run=outcome is None,
        planned=plan.changes,
        people=plan.people,
        changed=outcome.changed if outcome else 0,
        kept=outcome.kept if outcome else 0,
        refused=plan.refused.total(),
        reasons=dict(plan.refused),
        duration=outcome.seconds if outcome else 0.0,
    )
    return Table("summary", Summary, [row], single=True)


def _totals(plan: Plan) -> Iterator[Total]:
    found = plan.totals.most_common()
    if len(found) > LISTED:
        note(f"{len(found):,} totals, the {LISTED} greatest shown")
    for (source, destination, why), rows in found[:LISTED]:
        yield Total(source, destination, why, rows)


def _rows(writer: Writer, plan: Plan, show_all: bool) -> Table:
    changes = (row for row in plan.rows() if not row.refused)
    shown = changes if show_all else islice(changes, LISTED)
    if not for_people(writer.format):
        return Table("rows", PlanRow, shown)
    moves = (
        Move(row.phone, row_name(row.table_name, row.sequence), row.source, row.destination, row.why)
        for row in shown
    )
    return Table("rows", Move, moves)


def _refused(writer: Writer, plan: Plan, outcome: Outcome | None, show_all: bool) -> Table:
    refused = (row for row in plan.rows() if row.refused) if plan.refused else iter(())
    kept = (replace(row, refused="changed_since_plan") for row in (outcome.listed if outcome else ()))
    shown = chain(kept, refused if show_all else islice(refused, LISTED))
    if not for_people(writer.format):
        return Table("refused", PlanRow, shown)
    lines = (
        Refusal(
            row.phone,
            row_name(row.table_name, row.sequence),
            row.source,
            row.destination,
            row.refused or "",
        )
        for row in shown
    )
    return Table("refused", Refusal, lines)


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
                f"{run.started:%Y-%m-%d %H:%M}",
                re.sub(r"^(repair undo .{8}).*", r"\1", run.command),
                run.changes,
                run.state + ("" if run.finished else ", cut off"),
            )
            for run in runs
        )
        return Table("runs", ChangingRunLine, lines)
    return published("runs", ChangingRun, runs)


def changes_table(writer: Writer, changes: Iterable[Change]) -> Table:
    """What a run has changed."""
    if for_people(writer.format):
        lines = (
            ChangeLine(
                change.phone,
                row_name(change.table_name, change.sequence),
                change.column_name,
                change.old_device or change.old_value,
                change.new_device or change.new_value,
            )
            for change in changes
        )
        return Table("changes", ChangeLine, lines)
    return published("changes", Change, changes)


def _announce(plan: Plan, show_all: bool) -> None:
    shown = plan.changes if show_all else min(plan.changes, LISTED)
    more = "" if shown == plan.changes else f", {shown} shown: --all shows all"
    note(f"{plan.changes:,} rows of {plan.people:,} people would change{more}")
    _announce_refused(plan, show_all)


def _announce_refused(plan: Plan, show_all: bool) -> None:
    refused = plan.refused.total()
    if refused:
        reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in plan.refused.most_common())
        more = "" if show_all or refused <= LISTED else f"; {LISTED} of them listed, --all lists all"
        note(f"{refused:,} rows refused: {reasons}{more}")
