"""``seqdev enroll``."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Annotated, TextIO

import typer

from seqdev.commands.options import (
    MOST,
    App,
    DryRunOption,
    FormatOption,
    UserOption,
    YesOption,
    confirm,
    ended,
    journaled,
    open_input,
)
from seqdev.enroll.enroll import Enrolment, Refusal, Result, Selection
from seqdev.enroll.enroll import enroll as run_enroll
from seqdev.errors import Exit
from seqdev.output.progress import progress
from seqdev.output.render import Format, Table, note
from seqdev.postgres import lookup, schema
from seqdev.postgres.transaction import Transaction


def enroll(
    ctx: typer.Context,
    sequence: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|ID", help="Only this sequence; may be repeated. [default: every active one]"
        ),
    ] = None,
    user: UserOption = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Only leads that this device owns.")
    ] = None,
    phones: Annotated[
        str | None, typer.Option(metavar="FILE", help="Only the phones in FILE, one a line; - is stdin.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Enrol this many people at most.")
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Name all who are refused, not only 20.")] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Enrol the leads whose triggers call for a sequence.

    One row a sequence: matched, enrolled, already in, refused. Who is refused is listed with the reason,
    and makes the exit code 3. Run again, nothing more happens.
    """
    app: App = ctx.obj
    database = app.database("enroll")
    if not dry_run:
        schema.require(database)

    def resolve(tx: Transaction) -> Selection:
        owner = lookup.resolve(tx, lookup.Kind.USER, user) if user is not None else None
        return Selection(
            sequences=[lookup.resolve(tx, lookup.Kind.SEQUENCE, text, owner) for text in sequence or ()],
            user=owner,
            device=lookup.resolve(tx, lookup.Kind.DEVICE, device, owner) if device is not None else None,
            limit=limit,
            listed=None if show_all else 20,
        )

    selection = database.retry(resolve, read_only=True)
    asks = not (yes or dry_run)
    with ExitStack() as stack:
        if phones:
            numbers = _phones(stack.enter_context(open_input(phones)))
            # Who is asked sees the plan first, so that the phones are gone through twice.
            selection = replace(selection, phones=list(numbers) if asks else numbers)
        if asks:
            planned = run_enroll(database, selection, None)
            if not planned.enrolled:
                app.writer(output).write(*_tables(planned))
                return _account(planned, selection)
            app.writer(Format.TABLE, sys.stderr).write(*_tables(planned))
            if not confirm(f"Enrol {planned.enrolled} people?", yes):
                note("nothing was changed")
                return Exit.DONE
        run = None if dry_run else stack.enter_context(journaled(ctx, database, "enroll"))
        with progress("leads") as bar:
            result = run_enroll(database, selection, run, lambda r: bar(r.looked_at))
        app.writer(output).write(*_tables(result))
        return ended(run, _account(result, selection))


def _tables(result: Result) -> tuple[Table, Table]:
    return (
        Table("sequences", Enrolment, list(result.enrolments())),
        Table("refused", Refusal, result.refusals),
    )


def _account(result: Result, selection: Selection) -> int:
    """Notes for people, and the exit code."""
    closed = False
    for target in result.targets:
        if not target.is_active:
            note(f"sequence {target.name} is not active: nobody is enrolled")
        elif not target.entry_steps:
            note(f"sequence {target.name} has no entry step with a trigger: nobody can enter it")
        else:
            continue
        closed = bool(selection.sequences)
    for reason, number in result.reasons.items():
        note(f"{number:,} leads refused by the database: {reason}")
    if result.stopped:
        note(
            f"stopped: the database has refused {result.reasons.total():,} leads, and taken "
            f"{result.enrolled:,}: mend the cause, and enrol again"
        )
    if result.looked_at < result.asked and not result.stopped:
        note(f"{result.asked} phones given, {result.looked_at} leads found")
    if result.over_limit:
        note(f"stopped at --limit {selection.limit}: more people match")
    if result.refused > len(result.refusals):
        note(f"{result.refused} refused, {len(result.refusals)} of them listed: --all lists all")
    return Exit.FINDINGS if result.refused or closed else Exit.DONE


def _phones(file: TextIO) -> Iterator[str]:
    """The phones of a file, one a line, without the signs that people put between digits."""
    for line in file:
        digits = "".join(character for character in line.strip() if character not in " ().+-\t\ufeff")
        if digits:
            yield digits
