"""``seqdev runs``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

import typer

from seqdev.commands.options import AllOption, App, FormatOption, LimitOption, duration, listed
from seqdev.errors import Exit, UsageError
from seqdev.journal import runs as journal
from seqdev.journal.runs import ListedRun, Missed
from seqdev.output.render import Format, Table, note
from seqdev.output.tables import published, short

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class RunLine:
    """A run on a screen."""

    run_id: UUID
    started: str
    command: str
    took: str | None
    state: str
    exit: int | None
    did: str
    who: str


@dataclass(frozen=True)
class MissedLine:
    """A time in which ticks were missed, on a screen."""

    missed_from: str
    missed_to: str
    lasted: str
    missed: int
    began: str


def runs(
    ctx: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="Only this run, whole: its id, or its beginning."),
    ] = None,
    since: Annotated[
        timedelta | None,
        typer.Option(
            parser=duration, metavar="DURATION", help="Only runs begun in this time. [with --every: 1d]"
        ),
    ] = None,
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
        if since or command or every or limit or show_all:
            raise UsageError("RUN is shown whole: it takes no other option than --format", "leave them out")
        found = journal.show(database, run)
        writer.write(Table("run", published("run", ListedRun, [found]).row, [found], single=True))
        return Exit.DONE
    if every is not None:
        if every < timedelta(seconds=1) or command:
            raise UsageError("--every is about ticks, one second apart or more", "for example: --every 1m")
        return _missed(writer, journal.missed(database, every, since or _DAY, rows_listed), people)
    rows = journal.list_runs(database, since, command, rows_listed)
    if people:
        writer.write(Table("runs", RunLine, list(_lines(rows))))
    else:
        writer.write(published("runs", ListedRun, rows))
    if not rows:
        note("no such run is in the journal" if since or command else "no run is in the journal")
    elif len(rows) < rows[0].total:
        note(f"{rows[0].total:,} runs, {len(rows)} shown: --limit, or --all")
    return Exit.DONE


def _missed(writer: Any, found: Sequence[Missed], people: bool) -> int:
    if people:
        lines = [
            MissedLine(
                f"{one.missed_from:%Y-%m-%d %H:%M:%S}",
                f"{one.missed_to:%Y-%m-%d %H:%M:%S}",
                short(one.lasted),
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
            started=f"{row.started:%Y-%m-%d %H:%M}",
            command=" ".join(part for part in (row.command, _further(row)) if part),
            took=None if row.lasted is None else short(row.lasted),
            state=row.state,
            exit=row.exit_code,
            did=_words(row.counts or {}),
            who=f"{row.os_user}@{row.host}" if row.os_user else "",
        )


def _further(row: ListedRun) -> str:
    """The arguments that the command's name does not say already."""
    return " ".join(word for word in (row.arguments or "").split() if word not in row.command.split())


def _words(counts: Mapping[str, Any]) -> str:
    """What is not nought, in words."""
    said = []
    for name, value in counts.items():
        if isinstance(value, Mapping):
            said += [f"{inner} {number}" for inner, number in value.items()]
        elif value is True:
            said.append(name)
        elif isinstance(value, str):
            said.append(value)
        elif value:
            said.append(f"{name.replace('_', ' ')} {value}")
    return ", ".join(said)
