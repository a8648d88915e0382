"""``seqdev tick``."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from seqdev import files
from seqdev.commands.asking import Question, confirm, somebody_is_there
from seqdev.commands.following import advise, in_earnest
from seqdev.commands.options import (
    MOST,
    App,
    DryRunOption,
    FormatOption,
    WhyOption,
    duration,
    ended,
    journaled,
)
from seqdev.commands.telling import Account, telling
from seqdev.errors import Cancelled, Exit, PermissionRefused
from seqdev.journal.runs import who
from seqdev.output import words
from seqdev.output.progress import progress
from seqdev.output.render import Format, Table, Writer, note
from seqdev.output.screen import Said
from seqdev.output.tables import for_people, shown
from seqdev.postgres import schema
from seqdev.postgres.engine import Database
from seqdev.repair import homecoming
from seqdev.settings import Policy
from seqdev.tick import tick as ticks
from seqdev.tick.decisions import Comparison, Decision
from seqdev.tick.decisions import compare as compared
from seqdev.tick.tick import Report, Summary
from seqdev.tick.work import BATCH, BATCH_ON_CITUS, Limits

_LATE = timedelta(hours=1)
"""How long somebody may be due before a person at a terminal is asked whether the backlog is to be sent."""

_OF_CONTACTS = ("no_device", "device_missing", "device_of_other_user", "no_lead", "step_missing", "claimed")
"""Reasons that audit contacts finds, person by person, with the repair that fits."""


@dataclass(frozen=True)
class Line(Summary):
    """A run for programs: the summary, and when and where that was."""

    started: datetime
    """When it began, by the clock of the database."""
    host: str
    """The host that it ran on."""
    database: str
    """The database: server, port and name."""


@dataclass(frozen=True)
class DryRun(Line):
    """A dry run in JSON: the same, and what each device would do."""

    devices: list[Decision]
    """What becomes of the due contacts, by device."""


def tick(
    ctx: typer.Context,
    policy: Annotated[
        Policy | None,
        typer.Option(help="What happens to contacts whose device is not available. [default: queue]"),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, max=100_000, help="Contacts in one transaction. [default: 10000; on Citus: 100000]"
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            max=16,
            help="Connections, at most: all but one join in where there is a backlog.",
        ),
    ] = 2,
    max_messages: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Messages to queue, at most.")
    ] = None,
    budget: Annotated[
        timedelta,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            show_default=False,
            help="Begin no new batch after this time. [default: 50s]",
        ),
    ] = timedelta(seconds=50),
    max_lateness: Annotated[
        timedelta | None,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            help="Contacts that are later than this are not sent, and wait; 0s: nobody is too late. "
            "[default: 0s]",
        ),
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option("--metrics", metavar="FILE", help="Write the numbers of this run to FILE: OpenMetrics."),
    ] = None,
    ping: Annotated[
        str | None,
        typer.Option(
            "--ping",
            metavar="URL",
            help="Tell a monitor: URL/start, then URL/EXITCODE. Others see it in the process list: "
            "SEQDEV_PING keeps it secret.",
        ),
    ] = None,
    dry_run: DryRunOption = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Show what each policy would do, by device; read-only.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask at a terminal, however late the contacts are.")
    ] = False,
    why: WhyOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Queue the messages that are due. Meant for cron: overlapping runs are safe and need no lock.

    Prints one summary: due, queued, waiting by reason, quarantined, ended, chained, failed sends reflected.
    A contact that the database refuses is quarantined, with exit code 3 and the reason on stderr. Who runs it
    at a terminal is asked first where somebody is due for more than an hour; cron never is.
    """
    app: App = ctx.obj
    app = replace(app, settings=app.settings.for_this_run(policy=policy, max_lateness=max_lateness))
    database = app.reading("tick") if compare or dry_run else app.database("tick")
    if compare:
        found = list(compared(database))
        app.writer(output).write(shown(output, "policies", Comparison, found))
        if not found:
            note("nothing is due")
        return Exit.DONE
    if dry_run:
        if metrics:
            files.writable(metrics)
            note(f"a dry run writes no metrics: {metrics} stays as it is")
        _show_plan(app, database, output)
        return Exit.DONE
    if not yes and not _is_meant(app, database):
        note("nothing was changed")
        return Exit.DONE
    # What suits the database is put in for 0, as soon as it is known.
    limits = Limits(batch_size or 0, max_messages, budget, jobs)
    with telling(app.settings.ping if ping is None else ping, metrics) as account:
        account.exit_code = _run(ctx, database, limits, (app.writer(output), account), why)
    return account.exit_code


def _show_plan(app: App, database: Database, output: Format) -> None:
    writer = app.writer(output)
    planned = ticks.plan(database)
    summary, decisions = planned.summary, planned.decisions
    if blocked := ticks.to_be_stopped(database):
        note(f"{blocked:,} of these rows are of blocked phones: a tick stops them first")
    if returning := len(homecoming.planned(database)):
        note(
            f"{words.counted(returning, 'row')} would first go back to "
            "their own devices, by the rule return_home"
        )
    if summary.replied:
        note(
            f"{words.counted(summary.replied, 'row')} {words.are(summary.replied)} of people "
            "who have replied: a tick stops them first"
        )
    if planned.trouble:
        note(planned.trouble)
    if output in (Format.JSON, Format.JSONL):
        place = _place(database, app.clock.now())
        row = DryRun(**asdict(summary), **place, devices=decisions)
        writer.write(Table("summary", DryRun, [row], single=True))
    else:
        writer.write(
            Table("summary", Summary, [summary], single=True), shown(output, "devices", Decision, decisions)
        )
    advise(output, in_earnest(app) if summary.queued else _more_about(summary.waiting or {}))


def _more_about(waiting: Mapping[str, int]) -> str:
    """What tells more of those who wait, by the reason of most of them; empty where time alone helps."""
    reason = max(waiting, key=lambda name: waiting[name], default="")
    if reason in _OF_CONTACTS:
        return "seqdev audit contacts"
    return "seqdev audit devices" if reason.startswith("device_") else ""


def _run(
    ctx: typer.Context,
    database: Database,
    limits: Limits,
    told: tuple[Writer, Account],
    why: str | None,
) -> int:
    """One run: it is printed, and accounted for. Returns its exit code; raises what ended it early."""
    writer, account = told
    schema.require(database)
    if not limits.batch_size:
        limits = replace(limits, batch_size=BATCH_ON_CITUS if database.distributed else BATCH)
    stayed = _bring_home(ctx, database)
    with journaled(ctx, database, "tick", why) as run:
        with progress("contacts") as bar:
            report = ticks.tick(run, limits, bar)
        account.summary = summary = report.summary
        lines = list(_lines(report))
        account.lines += lines
        if for_people(writer.format):
            writer.write(Table("summary", Summary, [summary], single=True))
        else:
            row = Line(**asdict(summary), **_place(database, run.began))
            writer.write(Table("summary", Line, [row], single=True))
        for line in (*(f"contacts wait as locked_by_other: {one}" for one in report.holders), *lines):
            note(line)
        if report.error:
            raise report.error
        advise(writer.format, _more_about(summary.waiting or {}) or "seqdev audit all")
        return ended(run, Exit.DONE if report.clean and not stayed else Exit.FINDINGS)


def _place(database: Database, started: datetime) -> dict[str, Any]:
    """When and where a run was, as a Line has it."""
    return {"started": started, "host": who()[1], "database": database.name}


def _is_meant(app: App, database: Database) -> bool:
    """Whether a person who has typed this wants a backlog sent, which may be days old: all at once.

    Nobody is asked where stdin, stdout or stderr is no terminal, as in cron, nor while all is paused.
    """
    if not (somebody_is_there() and sys.stdout.isatty()):
        return True
    # Here, and not above: what cron runs has no use for it.
    from seqdev.audit import audit

    try:
        health = audit.behind(database)
    except PermissionRefused:
        return True
    if health.paused_at or health.oldest_age is None or health.oldest_age <= _LATE:
        return True
    text = (
        f"{words.counted(health.backlog, 'contact')} {words.are(health.backlog)} due, "
        f"the oldest for {words.duration(health.oldest_age)}: what "
        "may be sent goes now, all at once; to let those wait who are late: seqdev tick --max-lateness 1h"
    )
    app.writer(Format.TABLE, sys.stderr).write(Said([text]))
    return confirm(Question("Go on?", health.backlog), yes=False)


def _bring_home(ctx: typer.Context, database: Database) -> bool:
    """People whom reassign has moved go back, in a run of its own that can be undone; whether some could not.

    Whatever keeps them from it keeps nobody from being sent to.
    """
    if not (rows := homecoming.planned(database)):
        return False
    try:
        with journaled(ctx, database, "repair home", "the rule return_home") as run:
            returned, refused = homecoming.bring_back(run, rows)
            ended(run, Exit.FINDINGS if refused else Exit.DONE)
    except Cancelled as error:
        note(f"nobody went back to their own device: {error.message}")
        return True
    if returned:
        note(
            f"{words.counted(returned, 'row')} went back to their own devices, by the rule return_home; "
            f"to take it back: seqdev repair undo {run.id}"
        )
    for reason, number in refused.items():
        note(f"{words.counted(number, 'row')} could not go back to their own devices: {reason}")
    return bool(refused)


def _lines(report: Report) -> Iterator[str]:
    """What the run could not do, a line each reason."""
    for counts, what, how in (
        (report.quarantined, "contact", "quarantined"),
        (report.left, "contact", "refused, but not quarantined, because that was refused too"),
        (report.failed_left, "failed send", "not shown on the contact's row"),
    ):
        for reason, number in counts.items():
            yield f"{words.counted(number, what)} {how}: {reason}"
    if report.quarantined:
        yield "once the cause is corrected: seqdev repair quarantined"
    yield from report.troubles
