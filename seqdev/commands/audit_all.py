"""``seqdev audit all``: every audit in a line, and how far behind the service is."""

import shlex
from dataclasses import replace
from typing import Annotated, Any

import typer

from seqdev.audit import audit, then, view
from seqdev.audit.audit import Criteria, Line
from seqdev.audit.nagios import DEFAULTS, Threshold, Thresholds, judge, line, threshold
from seqdev.audit.then import Standing
from seqdev.audit.view import Graded
from seqdev.commands.audited import ends_at, say
from seqdev.commands.options import (
    App,
    AtOption,
    FormatOption,
    UntilOption,
    UserOption,
    since_option,
    window_of,
)
from seqdev.errors import Exit, SeqdevError, UsageError
from seqdev.journal.past import Unknown
from seqdev.moments import Moment
from seqdev.output.render import Format, Table, note
from seqdev.output.tables import brief, for_people
from seqdev.rules import pauses

app = typer.Typer()


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
    since: Annotated[Moment | None, since_option("Look", "that of each audit")] = None,
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
        return _all_then(app, ends_at(app, criteria), output)
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
    say(found, over)
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
    say(found, over)
    return Exit.FINDINGS if found > over else Exit.DONE
