"""``seqdev db upgrade``: the plan as people approve it, and what comes of it."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import typer

from seqdev.commands.asking import Question, confirm
from seqdev.commands.following import advise
from seqdev.commands.options import App, FormatOption, WhyOption, YesOption, journaled
from seqdev.errors import Exit, ReaderGoneError, SchemaError, UsageError
from seqdev.output import words
from seqdev.output.columns import Prose, Verdict
from seqdev.output.progress import progress
from seqdev.output.render import Format, Table, note
from seqdev.output.tables import for_people
from seqdev.output.text import visible
from seqdev.output.words import counted
from seqdev.postgres import citus, effort, places, schema
from seqdev.postgres.citus import Spread
from seqdev.postgres.effort import Step
from seqdev.postgres.engine import Database
from seqdev.postgres.findings import Finding
from seqdev.postgres.places import By

app = typer.Typer()

_JOURNAL = ("schema seqdev", "seqdev.run", "run.")
"""Without these there is no journal yet for an upgrade to be entered in."""

DuplicatesOption = Annotated[
    bool,
    typer.Option(
        "--leave-duplicates",
        help="Do all but the key that duplicate leads keep from being made. Then: seqdev leads merge.",
    ),
]
PlaceByOption = Annotated[
    By | None,
    typer.Option("--place-by", help="Which value tells a contact's step where its row's values disagree."),
]


@dataclass(frozen=True)
class StepLine:
    """A step of the plan on a screen."""

    what: Verdict
    breaks: Prose
    time: str
    locks: str
    size: str
    why: Prose
    step: int


@app.command()
def upgrade(
    ctx: typer.Context,
    place_by: PlaceByOption = None,
    leave_duplicates: DuplicatesOption = False,
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the SQL of the plan for psql, and change nothing.")
    ] = False,
    distributed: Annotated[
        bool,
        typer.Option(
            "--distributed",
            help="Print the SQL that lets Citus distribute the host's tables; change nothing.",
        ),
    ] = False,
    yes: YesOption = False,
    why: WhyOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Add to the database what seqdev needs.

    Shows the plan, asks, and carries it out. Of each step it says what it breaks in the host, how big its
    table is, how long it takes, about, and what it locks; what breaks something comes first. Adds columns,
    tables and indexes, without blocking the host; changes no value but an empty sequence_stepid, deletes
    nothing. What can refuse is asked before the first change. Interrupted at any point, the next run
    continues.

    Exit code 10: something has to be done by hand first; 2: --place-by has to be given. Nothing was changed
    then.
    """
    application: App = ctx.obj
    database = application.database("db upgrade")
    if distributed:
        return _print_distribution(database.retry(citus.pending, read_only=True))
    asked_for = schema.but_duplicates if leave_duplicates else list[Finding]
    found = asked_for(schema.check(database, place_by))
    plan = schema.pending(found)
    if schema.beyond_help(found):
        note("nothing was changed")
        if words := schema.not_the_hosts(database):
            raise SchemaError(words.what, words.help)
        rest = schema.but_duplicates(found)
        if schema.pending(rest) and not schema.beyond_help(rest):
            note("before leads merge, all but the key: seqdev db upgrade --leave-duplicates")
        return remaining(schema.beyond_help(found))
    steps = effort.weighed(database, plan)
    if sql:
        return _print(steps)
    if plan:
        application.writer(output).write(_plan(steps, output))
    if not place_by and (number := places.undecided(database)):
        raise UsageError(
            f"nothing was changed: of {counted(number, 'contact')}, "
            "trigger, day and step number name different steps",
            "see them: seqdev db places; then say which is right: --place-by trigger|day|step",
        )
    if not plan:
        note("nothing to do")
        return remaining(found)
    schema.require_rights(database, plan)
    if not confirm(_question(f"Do {_steps(plan)}?", steps), yes):
        note("nothing was changed")
        return Exit.DONE
    with ExitStack() as stack:
        run = None
        if not any(finding.item.startswith(_JOURNAL) for finding in plan):
            run = stack.enter_context(journaled(ctx, database, "db upgrade", why))
        done = do(database, plan, place_by)
        # What was asked for is done. What only shows now is asked for too.
        while (plan := asked_for(schema.following(database, done, place_by))) and _agreed(
            application, plan, yes
        ):
            done += do(database, plan, place_by)
        if run:
            run.counts = {"planned": len(plan) + len(done), "done": len(done)}
    if (code := remaining(schema.check(database, place_by))) == Exit.DONE:
        advise(output, "seqdev enroll --dry-run")
    return code


def _agreed(application: App, plan: list[Finding], yes: bool) -> bool:
    if yes:
        return True
    steps = effort.weighed(application.database("db upgrade"), plan)
    application.writer(Format.TABLE, sys.stderr).write(_on_a_screen(steps))
    return confirm(_question(f"That is done. Do {_steps(plan)} too, which only shows now?", steps), yes)


def _plan(steps: list[Step], output: Format) -> Table:
    return _on_a_screen(steps) if for_people(output) else Table("plan", Step, steps)


def _question(text: str, steps: list[Step]) -> Question:
    """The number of steps is to be typed where no command takes back one of them."""
    final = any(step.is_final for step in steps)
    if final:
        note("what breaks in the host, and what cannot be taken back, stands first in the plan")
    return Question(text, len(steps), final)


def _print(steps: list[Step]) -> int:
    """The plan as SQL on stdout."""
    try:
        for line in _script(steps):
            typer.echo(visible(line))
    except BrokenPipeError as error:
        raise ReaderGoneError from error
    note(
        f"nothing was changed: {counted(len(steps), 'step')}; "
        "after that, seqdev db upgrade --sql shows what is left"
    )
    return Exit.DONE


def _print_distribution(pending: list[Spread]) -> int:
    """What lets Citus distribute the tables, as SQL on stdout."""
    try:
        for one in pending:
            typer.echo(visible(f"-- {one.item}: {one.why}"))
            typer.echo(visible(f"{one.statement};"))
    except BrokenPipeError as error:
        raise ReaderGoneError from error
    note(
        f"nothing was changed: {counted(len(pending), 'statement')}, in this order; first read docs/citus.md"
    )
    return Exit.DONE


def _steps(plan: list[Finding]) -> str:
    return "this step" if len(plan) == 1 else f"these {len(plan)} steps"


def do(database: Database, plan: list[Finding], place_by: By | None) -> list[Finding]:
    """Do what ``plan`` says; the findings that are done."""
    done = []
    with progress("done") as bar:
        for finding in schema.upgrade(database, plan, place_by, note):
            done.append(finding)
            bar(len(done))
    return done


def remaining(found: list[Finding]) -> int:
    """Say what still keeps commands from writing: the exit code."""
    blocking = [finding for finding in found if finding.blocks]
    if not blocking:
        note("the database is ready")
        return Exit.DONE
    for finding in blocking:
        help_ = "still to do, by seqdev db upgrade" if finding.remedy else "and no upgrade can help"
        note(f"{finding.item} is {finding.status}, {help_}: {finding.why}")
    return Exit.SCHEMA


def _on_a_screen(steps: Sequence[Step]) -> Table:
    """The plan for people: first what breaks something in the host, the replaced key before all."""
    numbered = sorted(enumerate(steps, start=1), key=lambda one: (not one[1].is_final, one[1].breaks is None))
    lines = [
        StepLine(
            f"{step.item}: {step.status}",
            step.breaks or "nothing",
            f"about {words.duration(timedelta(seconds=step.seconds))}" if step.seconds else "a moment",
            step.locks,
            _size(step.table_bytes),
            step.why,
            number,
        )
        for number, step in numbered
    ]
    return Table("plan", StepLine, lines)


def _script(steps: Sequence[Step]) -> Iterator[str]:
    """The plan as lines of SQL for psql; of what only seqdev can do, a comment."""
    for step in steps:
        yield f"-- {step.item}: {step.why}; locks: {step.locks}; breaks: {step.breaks or 'nothing'}"
        yield f"-- {step.remedy}" if step.mode == "repeat" else f"{step.remedy};"


def _size(size: int | None) -> str:
    if size is None:
        return ""
    amount, units = float(size), ["B", "kB", "MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.0f} {units[0]}"
