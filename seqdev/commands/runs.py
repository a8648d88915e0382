"""``seqdev runs``."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import typer

from seqdev.commands.following import advise
from seqdev.commands.options import (
    AllOption,
    App,
    FormatOption,
    LimitOption,
    UntilOption,
    duration,
    listed,
    since_option,
    window_of,
)
from seqdev.errors import Exit, UsageError
from seqdev.journal import runs as journal
from seqdev.journal.runs import ListedRun, Missed
from seqdev.moments import Moment
from seqdev.output.columns import Code, Prose, Verdict
from seqdev.output.render import Format, Table, note
from seqdev.output.tables import published
from seqdev.output.words import number

_BAD = ("failed", "cut off")
"""States of a run that are worth a look at it."""

_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


@dataclass(frozen=True)
class RunLine:
    """A run on a screen."""

    run_id: UUID
    state: Verdict
    started: datetime
    command: str
    did: Prose
    took: timedelta | None
    exit: Code | None
    who: str
    why: Prose | None


@dataclass(frozen=True)
class MissedLine:
    """A time in which ticks were missed, on a screen."""

    missed_from: datetime
    missed_to: datetime
    lasted: timedelta
    missed: int
    began: Prose


def runs(
    ctx: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="Only this run, whole: its id, or its beginning."),
    ] = None,
    since: Annotated[Moment | None, since_option("Only runs begun", "with --every: 1d")] = None,
    until: UntilOption = None,
    command: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this command, or all below it: tick, repair.")
    ] = None,
    every: Annotated[
        timedelta | None,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            help="How often a tick should begin: lists the times in which ticks were missed instead of runs.",
        ),
    ] = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Show who ran what, newest first, and how it ended.

    Every run of a command that writes: done, paused, stopped, failed, running or cut off. A run is cut off
    when it was killed or lost its host; what it had committed stays. It is stopped by a signal, between two
    batches. Options are kept without their values unless
    those are numbers, durations, ids or words of seqdev's own.

    With --every: list the times in which no tick began that ended well, and the ticks that began instead;
    exit code 3 if there are any. Without it nothing is missed, since the database does not know your
    schedule.
    """
    app: App = ctx.obj
    writer = app.writer(output)
    people = output in (Format.TABLE, Format.MARKDOWN)
    database = app.reading("runs", ruled=False)
    rows_listed = listed(limit, show_all)
    if run is not None:
        if since or until or command or every or limit or show_all:
            raise UsageError("RUN is shown whole: it takes no other option than --format", "leave them out")
        found = journal.show(database, run)
        writer.write(Table("run", published("run", ListedRun, [found]).row, [found], single=True))
        return Exit.DONE
    window = window_of(ctx, since, until)
    if every is not None:
        if every < timedelta(seconds=1) or command:
            raise UsageError("--every is about ticks, one second apart or more", "for example: --every 1m")
        code = _missed(writer, journal.missed(database, every, window, rows_listed), people)
        if code == Exit.FINDINGS:
            advise(output, "seqdev tick --dry-run")
        return code
    rows = journal.list_runs(database, window, command, rows_listed)
    if people:
        writer.write(Table("runs", RunLine, list(_lines(rows))))
    else:
        writer.write(published("runs", ListedRun, rows))
    if not rows:
        note("no such run is in the journal" if since or until or command else "no run is in the journal")
    elif len(rows) < rows[0].total:
        note(f"{rows[0].total:,} runs, {len(rows)} shown: --limit, or --all")
    if command == "tick":
        bad = rows and rows[0].state in _BAD
        advise(output, f"seqdev runs {str(rows[0].run_id)[:8]}" if bad else "seqdev tick --dry-run")
    return Exit.DONE


def _missed(writer: Any, found: Sequence[Missed], people: bool) -> int:
    if people:
        lines = [
            MissedLine(
                one.missed_from,
                one.missed_to,
                one.lasted,
                one.missed,
                _words(one.began) or "none",
            )
            for one in found
        ]
        writer.write(Table("missed", MissedLine, lines))
    else:
        writer.write(published("missed", Missed, found))
    if not found:
        note("no tick was missed")
        return Exit.DONE
    if len(found) < found[0].total:
        note(f"{found[0].total:,} times, {len(found)} shown: --limit, or --all")
    return Exit.FINDINGS


def _lines(rows: Sequence[ListedRun]) -> Iterator[RunLine]:
    for row in rows:
        yield RunLine(
            run_id=row.run_id,
            state=row.state,
            started=row.started,
            command=_ID.sub(_short, " ".join(part for part in (row.command, _further(row)) if part)),
            did=_words({name: one for name, one in (row.counts or {}).items() if name != "why"}),
            took=row.lasted,
            exit=row.exit_code,
            who=f"{row.os_user}@{row.host}" if row.os_user else "",
            why=row.why,
        )


def _further(row: ListedRun) -> str:
    """The arguments that the command's name does not say already."""
    return " ".join(word for word in (row.arguments or "").split() if word not in row.command.split())


def _words(counts: Mapping[str, Any]) -> str:
    """What is not nought, in words."""
    said = []
    for name, value in counts.items():
        if isinstance(value, Mapping):
            said += [f"{inner} {_number(count)}" for inner, count in value.items()]
        elif value is True:
            said.append(name)
        elif isinstance(value, str):
            said.append(f"{name.replace('_', ' ')} {_ID.sub(_short, value)}")
        elif value:
            said.append(f"{name.replace('_', ' ')} {_number(value)}")
    return ", ".join(said)


def _short(identity: re.Match[str]) -> str:
    return identity[0][:8]


def _number(value: object) -> str:
    return number(value) if isinstance(value, int) else str(value)
