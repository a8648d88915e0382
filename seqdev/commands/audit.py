"""``seqdev audit``."""

import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from seqdev.audit import audit, then, view
from seqdev.audit import own as audit_run
from seqdev.audit import replies as audit_replies
from seqdev.audit import rows as audit_rows
from seqdev.audit.audit import Criteria, Kind, Line, Result
from seqdev.audit.nagios import DEFAULTS, Threshold, Thresholds, judge, line, threshold
from seqdev.audit.replies import Replies
from seqdev.audit.rows import IfLost, Session
from seqdev.audit.summary import Summary
from seqdev.audit.then import Standing
from seqdev.audit.view import Graded
from seqdev.commands.following import advise, first_of
from seqdev.commands.group import Group
from seqdev.commands.options import (
    AllOption,
    App,
    AtOption,
    FormatOption,
    LimitOption,
    UntilOption,
    UserOption,
    listed,
    since_option,
    window_of,
)
from seqdev.errors import Exit, SeqdevError, UsageError
from seqdev.journal.past import Unknown
from seqdev.moments import EVER, Moment
from seqdev.output.render import Format, Table, note
from seqdev.output.screen import Said
from seqdev.output.tables import brief, for_people
from seqdev.output.tables import shown as fitted
from seqdev.output.text import is_unicode
from seqdev.postgres.queries import Query
from seqdev.rules import pauses

"""The formats for people: few columns, short ids."""

_LOOK_BACK = (
    *("seqdev repair assigned", "seqdev repair failed", "seqdev repair written-by-other"),
    *("seqdev audit writers", "seqdev audit contacts", "seqdev audit mismatches"),
)
"""Commands that look at a time, as the audits do that name them."""

app = typer.Typer(
    cls=Group,
    help="Find what went wrong, and the repair that fits; read-only. Exit code 3: something was found.",
)

MatchesOption = Annotated[
    bool, typer.Option("--matches", help="List the messages from the assigned device too.")
]
SequenceOption = Annotated[
    str | None, typer.Option(metavar="NAME|ID", help="Only this sequence (name, id or prefix).")
]
DeviceOption = Annotated[
    str | None, typer.Option(metavar="NAME|ID", help="Only this device (name, id or prefix).")
]


def _since(default: str) -> Any:
    return since_option("Look", default)


def _threshold(meaning: str, default: str) -> Any:
    durations = not default[-1].isdecimal()

    def read(text: str | Threshold) -> Threshold:
        try:
            return threshold(text, durations)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    return typer.Option(
        parser=read,
        metavar="WARN,CRIT",
        show_default=False,
        help=f"{meaning}. [default: {default}]",
    )


@dataclass(frozen=True)
class _Shown:
    """How an audit is to be shown."""

    output: Format
    limit: int | None
    everything: bool

    @property
    def rows(self) -> int | None:
        """Rows to list; None: all."""
        return listed(self.limit, self.everything)


@app.command()
def mismatches(
    ctx: typer.Context,
    since: Annotated[Moment | None, _since("1h")] = None,
    until: UntilOption = None,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    limit: LimitOption = None,
    matches: MatchesOption = False,
    show_all: AllOption = False,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Messages from another device than the one assigned.

    Which, when, why, and the repair.
    """
    shown = _Shown(output, limit, show_all)
    criteria = Criteria(
        window_of(ctx, since, until), user, sequence, device, matches=matches, limit=shown.rows, at=at
    )
    return _audit(ctx, audit_rows.MISMATCHES, criteria, shown)


@app.command()
def devices(
    ctx: typer.Context,
    lost: Annotated[
        str | None,
        typer.Option(
            "--if-lost", metavar="NAME|ID", help="What would be lost with this device; nothing else."
        ),
    ] = None,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Every device: its people, its backlog, what it sends.

    Devices in trouble come first. A zombie is online, yet a message has waited for more than 15 minutes and
    none was sent in that time.
    With --if-lost, exit code 3 says that the user's other devices cannot take its work.
    """
    if lost is None:
        shown = _Shown(output, limit, show_all)
        return _audit(
            ctx, audit_rows.DEVICES, Criteria(EVER, user, sequence, device, limit=shown.rows, at=at), shown
        )
    if sequence or device or limit or show_all or at:
        raise UsageError("--if-lost takes no other option than --user and --format", "leave the others out")
    app: App = ctx.obj
    row = audit.if_lost(app.reading("audit devices"), lost, user)
    app.writer(output).write(replace(fitted(output, "if_lost", IfLost, [row]), single=True))
    if not row.fits:
        note("the user's other devices cannot take its work: see room and due")
    if row.people:
        note(f"once it is lost: seqdev repair device {str(row.device_id)[:8]} --spread --queue --dry-run")
    return Exit.DONE if row.fits else Exit.FINDINGS


@app.command()
def contacts(
    ctx: typer.Context,
    since: Annotated[Moment | None, _since("1d")] = None,
    until: UntilOption = None,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Contacts that are inconsistent, stuck or overdue.

    Inconsistent: done, but the message or the next step is missing.

    --since bounds what is done and what was written; what is not done is looked at whatever its age.
    """
    shown = _Shown(output, limit, show_all)
    criteria = Criteria(window_of(ctx, since, until), user, sequence, device, limit=shown.rows, at=at)
    return _audit(ctx, audit_rows.CONTACTS, criteria, shown)


@app.command()
def sequences(
    ctx: typer.Context,
    user: UserOption = None,
    sequence: SequenceOption = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Sequences that cannot run as they are.

    No entry step, dangling or looping triggers, gaps, inactive.
    """
    shown = _Shown(output, limit, show_all)
    return _audit(ctx, audit_rows.SEQUENCES, Criteria(EVER, user, sequence, limit=shown.rows, at=at), shown)


@app.command()
def leads(
    ctx: typer.Context,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Leads without a device, or with bad data.

    No device of their user, a bad or shared phone, or triggers that no sequence has.
    """
    shown = _Shown(output, limit, show_all)
    return _audit(
        ctx, audit_rows.LEADS, Criteria(EVER, user, sequence, device, limit=shown.rows, at=at), shown
    )


@app.command()
def collisions(
    ctx: typer.Context,
    since: Annotated[Moment | None, _since("1d")] = None,
    until: UntilOption = None,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """People whom two devices of one user write to.

    Or will write to: rows that are due count, and campaigns too.
    """
    shown = _Shown(output, limit, show_all)
    criteria = Criteria(window_of(ctx, since, until), user, sequence, device, limit=shown.rows, at=at)
    return _audit(ctx, audit_rows.COLLISIONS, criteria, shown)


@app.command()
def writers(
    ctx: typer.Context,
    since: Annotated[Moment | None, _since("1d")] = None,
    until: UntilOption = None,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Messages of sequences that seqdev did not make.

    They are the sign of a second processor.
    """
    shown = _Shown(output, limit, show_all)
    criteria = Criteria(window_of(ctx, since, until), user, sequence, device, limit=shown.rows, at=at)
    return _audit(ctx, audit_rows.WRITERS, criteria, shown)


@app.command()
def failed(
    ctx: typer.Context,
    since: Annotated[Moment | None, _since("1d")] = None,
    until: UntilOption = None,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Messages of sequences that were not sent.

    By cause, as the error of the broadcast worker tells it, device and step.
    """
    shown = _Shown(output, limit, show_all)
    criteria = Criteria(window_of(ctx, since, until), user, sequence, device, limit=shown.rows, at=at)
    return _audit(ctx, audit_rows.FAILED, criteria, shown)


@app.command()
def replies(
    ctx: typer.Context,
    since: Annotated[Moment | None, _since("7d")] = None,
    until: UntilOption = None,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Who writes back: by sequence, step and device.

    Of the messages that sequences have sent in this time, how many were replied to, before the person got
    the next one. Where the host keeps what is written to its devices. Finds nothing: the exit code is 0.
    """
    app: App = ctx.obj
    shown = _Shown(output, limit, show_all)
    criteria = Criteria(window_of(ctx, since, until), user, sequence, device, limit=shown.rows, at=at)
    if at:
        criteria = _ends_at(app, criteria)
    found = audit_replies.find(app.reading("audit replies"), criteria)
    app.writer(output).write(fitted(output, "replies", Replies, found))
    if not found:
        note("no sequence has sent anything in that time")
    elif len(found) < found[0].total:
        note(f"{found[0].total:,} rows, {len(found)} shown: --limit, or --all")
    return Exit.DONE


@app.command("all")
def all_(
    ctx: typer.Context,
    nagios: Annotated[
        bool,
        typer.Option(
            "--nagios",
            help="One line for monitoring, from four numbers; exit code 0, 1, 2 or 3 as Nagios has it.",
        ),
    ] = False,
    overdue: Annotated[Threshold, _threshold("Age of the oldest due", "15m,1h")] = DEFAULTS.overdue,
    backlog: Annotated[Threshold, _threshold("With --nagios: contacts due", "1000,10000")] = DEFAULTS.backlog,
    mismatches: Annotated[Threshold, _threshold("With --nagios: mismatches", "0,100")] = DEFAULTS.mismatches,
    tick: Annotated[Threshold, _threshold("Age of the last finished tick", "5m,15m")] = DEFAULTS.tick,
    since: Annotated[Moment | None, _since("that of each audit")] = None,
    until: UntilOption = None,
    user: UserOption = None,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Every audit in a line each, the worst first.

    Also how far behind the service is: exit code 3 says too that the oldest due or the last tick is too late.

    With --at: those of which something is known then, how the last tick had ended, and what cannot be known.

    With --nagios only the four numbers are measured, and judged by their thresholds: a number above WARN
    is a warning, one above CRIT or no tick at all is critical, and a database out of reach is unknown.
    """
    app: App = ctx.obj
    criteria = Criteria(window_of(ctx, since, until), user, at=at)
    if at and nagios:
        raise UsageError("--nagios and --at do not go together", "monitoring asks how it stands now")
    if at:
        return _all_then(app, _ends_at(app, criteria), output)
    if nagios:
        try:
            measured = audit.health(app.reading("audit all"), criteria)
            state, text = judge(*measured, Thresholds(overdue, backlog, mismatches, tick))
        except SeqdevError as error:
            state, text = 3, line(3, error.message)
        typer.echo(text)
        return state
    database = app.reading("audit all")
    lines, health = audit.everything(database, criteria)
    limits = Thresholds(overdue, backlog, mismatches, tick)
    graded = view.graded(health, limits)
    state_of_things = Table("health", Graded, [graded], single=True)
    if for_people(output):
        state_of_things = replace(brief("health", Graded, [graded]), single=True)
    app.writer(output).write(Table("audits", Line, lines), state_of_things)
    found, over = (sum(line.found for line in lines), sum(line.over for line in lines))
    _say(found, over)
    if health.last_tick is None:
        note(f"no tick has ever come to a good end here{'' if health.enrolled else ': nobody is enrolled'}")
    if health.paused_at:
        note(f"paused by {health.paused_by}: {health.paused_why}; to go on: seqdev resume")
    for part in database.retry(pauses.listed, read_only=True):
        note(part.told(app.clock) + ("; that has ended by itself" if part.is_over else ""))
    given = (("--user", user), ("--since", since), ("--until", until))
    options = {option: f" {option} {shlex.quote(str(text))}" for option, text in given if text is not None}
    if command := view.next_command(lines, graded, options):
        note(f"next: {command}")
    return Exit.DONE if found == over and graded.is_ok else Exit.FINDINGS


def _all_then(app: App, criteria: Criteria, output: Format) -> int:
    lines, standing, unknown = then.everything(app.reading("audit all"), criteria)
    app.writer(output).write(
        Table("audits", Line, lines),
        Table("standing", Standing, [standing], single=True),
        Table("cannot_be_known", Unknown, unknown),
    )
    found, over = (sum(line.found for line in lines), sum(line.over for line in lines))
    _say(found, over)
    return Exit.FINDINGS if found > over else Exit.DONE


@app.command()
def run(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.sql", help="A statement with seqdev's header.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Value of a parameter; may be repeated."),
    ] = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Run an audit of your own, read-only.

    It is one SELECT, written like the files in sql/audit; each row is a finding. The first line is its
    title, '-- …'; parameters are declared and defaulted as in seqdev's own files.
    """
    app: App = ctx.obj
    given = dict(_assignment(text) for text in set_ or ())
    shown = _Shown(output, limit, show_all)
    found = audit_run.run(app.reading("audit run"), file, given, shown.rows)
    app.writer(output).write(Table("rows", found.row, found.rows))
    _say(found.total, 0, len(found.rows), found.total)
    return Exit.FINDINGS if found.total else Exit.DONE


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--set {text!r} is not NAME=VALUE", "for example: --set since='2 hours'")
    return name, value


def _audit(ctx: typer.Context, query: Query[Any], criteria: Criteria, shown: _Shown) -> int:
    app: App = ctx.obj
    database = app.reading(f"audit {Path(query.path).stem}")
    unknown: list[Unknown] = []
    if criteria.at:
        criteria = _ends_at(app, criteria)
        result, unknown = then.find(database, query, criteria)
    else:
        result = audit.find(database, query, criteria)
    tables: list[Table | Said] = [
        fitted(shown.output, result.name, result.query.row, result.rows),
        fitted(shown.output, "found", Kind, result.kinds),
    ]
    if criteria.at:
        tables.append(Table("cannot_be_known", Unknown, unknown))
    elif query is audit_rows.WRITERS:
        tables += _sessions(app, result.found, shown.output)
    if result.summary and for_people(shown.output) and not result.summary.is_empty:
        told = view.said(result.name, result.summary, app.clock, is_unicode(sys.stdout))
        tables.insert(0, told)
    elif result.summary and shown.output is Format.JSON:
        tables.append(Table("summary", Summary, [result.summary], single=True))
    app.writer(shown.output).write(*tables)
    _say(result.found, result.over, len(result.rows), result.total)
    advise(shown.output, _following(result, criteria))
    return Exit.FINDINGS if result.found > result.over else Exit.DONE


def _ends_at(app: App, criteria: Criteria) -> Criteria:
    """``criteria`` whose time ends at an instant of the past, in the zone that people see."""
    if criteria.window.until:
        raise UsageError("--until and --at do not go together", "--at is the end of the time looked at")
    return replace(criteria, window=replace(criteria.window, zone=app.clock.zone))


def _following(result: Result[Any], criteria: Criteria) -> str:
    """The command that goes on from what an audit has found, for as much of it as was looked at.

    Of the past none: what to do about it, an audit of now says.
    """
    if criteria.at:
        return ""
    command = first_of(list(view.advice(result)))
    window = criteria.window
    narrow: list[tuple[str, object]] = list(result.narrow.items())
    if command.startswith(_LOOK_BACK):
        if window.until and not command.startswith("seqdev audit"):
            return ""
        narrow += [("--since", window.since), ("--until", window.until)]
    elif not command.startswith("seqdev repair ") or command.startswith("seqdev repair device "):
        narrow = []
    return command + "".join(f" {option} {shlex.quote(str(one))}" for option, one in narrow if one)


def _sessions(app: App, found: int, output: Format) -> list[Table | Said]:
    """Whose sessions it could be, where messages are found; in JSON always."""
    if not (output is Format.JSON or (found and for_people(output))):
        return []
    sessions = audit.sessions(app.reading("audit writers"))
    hidden = sum(one.sessions for one in sessions if one.hidden)
    if hidden:
        note(
            f"of {hidden:,} sessions this role may not see where they come from: "
            "a superuser can grant pg_read_all_stats to it"
        )
    if not sessions:
        note("no other program that may write messages is connected now")
    return [Table("sessions", Session, sessions)]


def _say(found: int, over: int, listed: int = 0, total: int = 0) -> None:
    """The account on stderr: what was found, of what, what of it is over, and what is not listed."""
    text = f"{found:,} found" + (f" among {total:,} rows" if total and total != found else "")
    if over:
        text += f", of which {over:,} {'is' if over == 1 else 'are'} over: nothing has to be done"
    note(text + (f", {listed:,} shown: --limit, or --all" if listed < total else ""))
