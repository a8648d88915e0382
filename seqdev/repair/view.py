"""What people and programs see of a plan and of the run that carried it out."""

import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice
from typing import Any
from uuid import UUID

from seqdev.output.columns import Named, Seconds, Verdict
from seqdev.output.render import Format, Table, Writer, note
from seqdev.output.tables import LISTED, for_people
from seqdev.output.text import Phone, mask
from seqdev.output.words import are, counted
from seqdev.repair.apply import Outcome
from seqdev.repair.plan import PHONES, Plan, PlanRow

_NAMED = 5
"""Devices or causes that a line names one by one."""
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d")


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
    """People whose rows these are. A phone that is blocked, or no longer, is one; a pause or another rule
    none."""
    changed: int
    """Rows that were changed."""
    kept: int
    """Rows that were not: somebody else had changed them since the plan."""
    refused: int
    """Rows that the plan refuses to change."""
    reasons: dict[str, int]
    """Refused rows, by reason."""
    left_alone: dict[str, int]
    """What the plan is not about, and stays as it is: of ``repair assigned``, findings by cause; of ``repair
    device``, messages that stay in the queue of the lost device: pending, or begun by its sender."""
    duration: Seconds
    """Seconds that the changes took."""


@dataclass(frozen=True)
class Total:
    """Planned changes by where from, where to, and why."""

    from_device: str | None
    """The device that the rows have, by name."""
    from_device_id: UUID | None
    """The same, by id."""
    to_device: str | None
    """The device that they get, by name."""
    to_device_id: UUID | None
    """The same, by id."""
    why: str
    """Why they change, as one word."""
    rows: int
    """Planned changes."""


@dataclass(frozen=True)
class TotalLine:
    """Planned changes on a screen."""

    why: Verdict
    from_device: Named | None
    to_device: Named | None
    rows: int


@dataclass(frozen=True)
class Move:
    """A planned change on a screen."""

    phone: Phone | None
    why: Verdict
    from_device: Named | None
    becomes: Named | str | None
    row: str


@dataclass(frozen=True)
class Refusal:
    """A row that is not changed on a screen, and why."""

    phone: Phone | None
    reason: Verdict
    row: str
    from_device: Named | None
    to_device: Named | None


def show_plan(writer: Writer, plan: Plan, most: int | None) -> None:
    """What would be changed: by from, to and why; the rows, ``most`` of them or all; who is refused."""
    summary = _summary(plan, None)
    totals = _totals(writer, plan)
    refused = _refused(writer, plan, None, most)
    rows = _rows(writer, plan, most)
    _write(writer, (summary, totals), (rows, refused), screen=(totals, rows, refused))
    _announce(plan, most)


def show_outcome(writer: Writer, plan: Plan, outcome: Outcome, most: int | None) -> None:
    """What was done: the account, by from, to and why; who was refused or kept."""
    summary = _summary(plan, outcome)
    totals = _totals(writer, plan)
    refused = _refused(writer, plan, outcome, most)
    rows = _rows(writer, plan, most)
    _write(writer, (summary, totals), (rows, refused), screen=(summary, totals, refused))
    if not plan.changes:
        note("nothing to change" + (f": {plan.refused.total():,} refused" if plan.refused else ""))
    elif outcome.run and outcome.changed:
        note(f"to take it back: seqdev repair undo {outcome.run}")
    _announce_refused(plan, most)
    _announce_left_alone(plan)
    if outcome.overtaken:
        note(
            f"{counted(outcome.overtaken, 'row')} {are(outcome.overtaken, 'were')} changed "
            "since the plan, by a tick or a sender that was faster: "
            "what came of them was dealt with as well"
        )
    for reason, number in outcome.refusals.most_common():
        note(f"{counted(number, 'row')} {are(number)} unchanged, since the database refuses it: {reason}")
    if outcome.kept:
        note(f"{counted(outcome.kept, 'row')} kept: changed since the plan, or the device to be assigned was")


def in_a_line(plan: Plan) -> str:
    """The totals of ``plan`` in a line: people or what else it is about, rows, from, to, and why."""
    words = [f"{_whom(plan)}, {counted(plan.changes, 'row')}"]
    left, reached, causes = Counter[str](), Counter[str](), Counter[str]()
    for one, rows in plan.totals.items():
        left[str(device_name(one.from_device, one.from_name) or "no device")] += rows
        reached[str(device_name(one.to_device, one.to_name) or "")] += rows
        causes[one.why] += rows
    if any(reached):
        words += [f"from {_counted(left)}", f"to {_counted(reached)}"]
    return "; ".join([*words, f"why: {_counted(causes)}"])


def _whom(plan: Plan) -> str:
    """What ``plan`` is about: people, phones of the list, pauses, rules."""
    numbers = (
        (plan.things["phone"], "phone", ""),
        (plan.people - plan.things["phone"], "person", "people"),
        (plan.things["pause"], "pause", ""),
        (plan.things["rule"], "rule", ""),
    )
    return ", ".join(counted(*one) for one in numbers if one[0]) or counted(0, "person", "people")


def _counted(numbers: Counter[str]) -> str:
    """The greatest of ``numbers`` by name, and how many more there are."""
    named = ", ".join(f"{name or 'none'} ({number:,})" for name, number in numbers.most_common(_NAMED))
    more = len(numbers) - _NAMED
    return named + (f" and {more:,} more" if more > 0 else "")


def row_name(table_name: str, sequence: str | None) -> str:
    """A row as people know it: the lead, the message, the rule, or the contact in a sequence."""
    if table_name == "rule":
        return f"rule {sequence}"
    names = {"leads": "lead", "broadcast_messages": "message", "blocked": "list of blocked phones"}
    return names.get(table_name, sequence or "contact")


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
    refusals = outcome.refusals.total() if outcome else 0
    row = Summary(
        run_id=outcome.run if outcome else None,
        command=plan.header.command,
        dry_run=outcome is None,
        planned=plan.changes,
        people=plan.people,
        changed=outcome.changed if outcome else 0,
        kept=outcome.kept if outcome else 0,
        refused=plan.refused.total() + refusals,
        reasons=dict(plan.refused) | ({"refused_by_database": refusals} if refusals else {}),
        left_alone=dict(plan.left_alone.numbers),
        duration=outcome.seconds if outcome else 0.0,
    )
    return Table("summary", Summary, [row], single=True)


def _totals(writer: Writer, plan: Plan) -> Table:
    found = plan.totals.most_common()
    if len(found) > LISTED:
        note(f"{len(found):,} totals, the {LISTED} greatest shown")
    if for_people(writer.format):
        lines = [
            TotalLine(
                one.why,
                device_name(one.from_device, one.from_name),
                device_name(one.to_device, one.to_name),
                rows,
            )
            for one, rows in found[:LISTED]
        ]
        return Table("totals", TotalLine, lines)
    totals = [
        Total(
            one.from_name or _text(one.from_device),
            one.from_device,
            one.to_name or _text(one.to_device),
            one.to_device,
            one.why,
            rows,
        )
        for one, rows in found[:LISTED]
    ]
    return Table("totals", Total, totals)


def device_name(device: UUID | None, name: str | None) -> Named | None:
    """A device on a screen."""
    return None if device is None else Named(name, device)


def _own_phone(row: PlanRow) -> Phone | None:
    """The phone that is written in a row, where the plan knows it: a person may have several spellings."""
    written = next((row.expected[name] for name in PHONES if row.expected.get(name)), None)
    return row.phone if written is None else Phone(written)


def _text(device: UUID | None) -> str | None:
    return None if device is None else str(device)


def _becomes(writer: Writer, row: PlanRow) -> Named | str | None:
    """What a row becomes on a screen: the device that it gets, else its new values."""
    if row.to_device:
        return device_name(row.to_device, row.to_name)
    values = _shown(writer, row.becomes)
    return ", ".join(f"{name.replace('_', ' ')} {told(writer, value)}" for name, value in values.items())


def told(writer: Writer, value: Any) -> str:
    """A value in words. JSON has texts for instants: what reads as one is one."""
    if value in (None, ""):
        return "empty"
    if isinstance(value, str) and _INSTANT.match(value):
        with suppress(ValueError):
            return writer.clock.said(datetime.fromisoformat(value))
    return str(value)


def _shown(writer: Writer, values: dict[str, Any]) -> dict[str, Any]:
    """Values of a row as they may be shown."""
    return {
        name: mask(value) if writer.masked and name in PHONES and value else value
        for name, value in values.items()
    }


def _published(writer: Writer, row: PlanRow) -> PlanRow:
    """A row as programs may read it."""
    return replace(row, expected=_shown(writer, row.expected), becomes=_shown(writer, row.becomes))


def _rows(writer: Writer, plan: Plan, most: int | None) -> Table:
    changes = (row for row in plan.rows() if row.becomes and not row.refused)
    shown = islice(changes, most)
    if not for_people(writer.format):
        return Table("rows", PlanRow, (_published(writer, row) for row in shown))
    moves = (
        Move(
            _own_phone(row),
            row.why,
            device_name(row.from_device, row.from_name),
            _becomes(writer, row),
            row_name(row.table_name, row.sequence),
        )
        for row in shown
    )
    return Table("rows", Move, moves)


def _refused(writer: Writer, plan: Plan, outcome: Outcome | None, most: int | None) -> Table:
    refused = (row for row in plan.rows() if row.refused) if plan.refused else iter(())
    listed = outcome.listed if outcome else ()
    kept = (replace(row, refused=row.refused or "changed_since_plan") for row in listed)
    shown = chain(kept, islice(refused, most))
    if not for_people(writer.format):
        return Table("refused", PlanRow, (_published(writer, row) for row in shown))
    lines = (
        Refusal(
            _own_phone(row),
            row.refused or "",
            row_name(row.table_name, row.sequence),
            device_name(row.from_device, row.from_name),
            device_name(row.to_device, row.to_name),
        )
        for row in shown
    )
    return Table("refused", Refusal, lines)


def _announce(plan: Plan, most: int | None) -> None:
    shown = plan.changes if most is None else min(plan.changes, most)
    more = "" if shown == plan.changes else f", {shown} shown: --limit, or --all"
    note(f"{counted(plan.changes, 'row')} of {_whom(plan)} would change{more}")
    _announce_refused(plan, most)
    _announce_left_alone(plan)


def _announce_refused(plan: Plan, most: int | None) -> None:
    refused = plan.refused.total()
    if refused:
        reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in plan.refused.most_common())
        more = "" if most is None or refused <= most else f"; {most} of them listed: --limit, or --all"
        note(f"{counted(refused, 'row')} refused: {reasons}{more}")


def _announce_left_alone(plan: Plan) -> None:
    left = plan.left_alone
    if left.numbers:
        counted = ", ".join(f"{what} {number:,}" for what, number in left.numbers.items())
        note(f"left alone: {counted}" + (f"; {left.to_do}" if left.to_do else ""))
