"""What the commands that plan, ask and then change rows have in common."""

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from seqdev.commands import replica
from seqdev.commands.asking import Question, confirm, somebody_is_there
from seqdev.commands.following import advise, in_earnest
from seqdev.commands.options import App, ended, journaled
from seqdev.errors import Exit
from seqdev.output.progress import progress
from seqdev.output.render import Format, note
from seqdev.output.screen import Said
from seqdev.output.words import are, counted
from seqdev.postgres import lookup, schema
from seqdev.postgres.engine import Database
from seqdev.postgres.transaction import Transaction
from seqdev.repair import capacity
from seqdev.repair import jobs as repair
from seqdev.repair import view as repair_view
from seqdev.repair.apply import Manner, Outcome
from seqdev.repair.jobs import Job, Scope
from seqdev.repair.plan import Plan
from seqdev.repair.settle import settle

BATCH = 5_000

_VERIFIED = {
    "repair assigned": "seqdev audit mismatches",
    "repair device": "seqdev audit devices",
    "repair failed": "seqdev audit failed",
    "repair missing": "seqdev audit contacts",
    "repair stuck": "seqdev audit contacts",
    "repair stranded": "seqdev audit contacts",
}
"""The audits that find what a repair is for."""
_NARROW = ("--since", "--user", "--sequence", "--device")
"""Options of a repair that mean the same to its audit."""

_NAMED = 5
"""Devices that get people, named one by one above a question."""

PlanOption = Annotated[
    Path | None,
    typer.Option(
        "--plan",
        metavar="FILE",
        help="With --dry-run, write the plan to FILE. Without, do what FILE says, all of it in one "
        "transaction; if a single row has changed since, nothing, and the exit code is 14.",
    ),
]
SequenceOption = Annotated[
    str | None, typer.Option("--sequence", metavar="NAME|ID", help="Only this sequence.")
]
DeviceOption = Annotated[str | None, typer.Option("--device", metavar="NAME|ID", help="Only this device's.")]
BatchOption = Annotated[
    int, typer.Option("--batch-size", min=1, max=100_000, help="Rows in one transaction, about.")
]


@dataclass(frozen=True)
class Ways:
    """How a plan is shown and carried out: what the options of all repairs say."""

    yes: bool
    dry_run: bool
    plan: Path | None
    batch_size: int
    most: int | None
    """Rows to list; None: all."""
    output: Format
    why: str | None = None


def carry_out(
    ctx: typer.Context,
    name: str,
    make: Callable[[Transaction], Job],
    ways: Ways,
    require: Callable[[Database], None] = schema.require,
) -> int:
    """Plan the job that ``make`` makes, show it, ask, do it, show what was done.

    ``require`` raises where the database is not ready for it.
    """
    application: App = ctx.obj
    database = application.reading(name) if ways.dry_run else application.database(name)
    if not ways.dry_run:
        require(database)
    job = database.retry(make, read_only=True)
    with Plan(job.header(application.settings)) as plan:
        from_file = ways.plan is not None and not ways.dry_run
        if ways.plan and from_file:
            plan.load(ways.plan)
            if plan.standby:
                note(f"the plan was made on {plan.standby}")
        else:
            repair.make_plan(database, job, plan)
        if ways.dry_run:
            if database.replica:
                plan.standby = replica.state(database.replica)
                note(replica.OF_A_PLAN)
            if ways.plan:
                plan.save(ways.plan)
                note(f"plan written to {ways.plan}: to do it, --plan {ways.plan} without --dry-run")
            repair_view.show_plan(replace(application.writer(ways.output), pages=True), plan, ways.most)
            if plan.changes and not ways.plan:
                advise(ways.output, in_earnest(application))
            return _code(job, plan)
        if plan.changes and not ways.yes:
            if somebody_is_there():
                terminal = replace(application.writer(Format.TABLE, sys.stderr), pages=True)
                repair_view.show_plan(terminal, plan, ways.most)
                replace(terminal, pages=False).write(_again(database, plan))
            if not confirm(Question(_asked(plan.changes), plan.people), ways.yes):
                note("nothing was changed")
                return Exit.DONE
        if not plan.changes:
            repair_view.show_outcome(application.writer(ways.output), plan, Outcome(), ways.most)
            return _code(job, plan)
        with journaled(ctx, database, plan.header.command, ways.why) as run:
            with progress("rows") as bar:
                manner = Manner(ways.batch_size, strict=from_file, whole=job.whole)
                outcome = settle(run, job, plan, manner, bar)
            repair_view.show_outcome(application.writer(ways.output), plan, outcome, ways.most)
            if outcome.changed:
                advise(ways.output, _verify(plan.header.command, application.typed))
            return ended(
                run, Exit.FINDINGS if plan.refused or outcome.kept or outcome.refusals else Exit.DONE
            )


def _asked(rows: int) -> str:
    return "Change this row?" if rows == 1 else f"Change these {rows:,} rows?"


def _verify(command: str, typed: Sequence[str]) -> str:
    """What shows whether a repair has put right what it is for; empty: no audit does by itself."""
    audit = _VERIFIED.get(command, "").split()
    if command == "repair assigned":
        for word, value in pairwise([*typed, ""]):
            if word in _NARROW:
                audit += [word, value]
            elif word.partition("=")[0] in _NARROW:
                audit.append(word)
    return shlex.join(audit)


def _again(database: Database, plan: Plan) -> Said:
    """The totals of ``plan``, right above the question: a long plan has left the screen."""
    arrivals = capacity.arrivals(database, plan.arrivals)
    lines = [str(one) for one in arrivals[:_NAMED]]
    if others := arrivals[_NAMED:]:
        people = counted(sum(one.people for one in others), "person", "people")
        lines.append(f"{counted(len(others), 'more device')} {are(len(others), 'get')} {people}")
    return Said([*lines, repair_view.in_a_line(plan)])


def _code(job: Job, plan: Plan) -> Exit:
    """The exit code of a plan that is shown, or that changes nothing."""
    if job.nobody and not (plan.changes or plan.refused):
        note(job.nobody)
        return Exit.FINDINGS
    return Exit.FINDINGS if plan.refused else Exit.DONE


def scope(tx: Transaction, user: str | None, sequence: str | None, device: str | None) -> Scope:
    """Whom a repair is about, by what was typed."""
    owner = lookup.resolve(tx, lookup.Kind.USER, user) if user is not None else None
    return Scope(
        user=owner,
        sequence=lookup.resolve(tx, lookup.Kind.SEQUENCE, sequence, owner) if sequence is not None else None,
        device=lookup.resolve(tx, lookup.Kind.DEVICE, device, owner) if device is not None else None,
    )
