"""``seqdev enroll``."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Annotated, TextIO

import typer

from seqdev.commands.asking import MANY, Question, confirm, somebody_is_there
from seqdev.commands.following import advise, in_earnest
from seqdev.commands.options import (
    MOST,
    AllOption,
    App,
    DryRunOption,
    FormatOption,
    UserOption,
    WhyOption,
    YesOption,
    ended,
    journaled,
    listed,
    open_input,
)
from seqdev.enroll.enroll import Result, Selection
from seqdev.enroll.enroll import enroll as run_enroll
from seqdev.enroll.rows import Enrolment, Refusal, Unmatched
from seqdev.errors import Exit, NotFound, UsageError
from seqdev.output.progress import progress
from seqdev.output.render import Format, Table, note
from seqdev.output.screen import Said
from seqdev.output.tables import shown
from seqdev.output.words import are, counted
from seqdev.postgres import lookup, schema
from seqdev.postgres.transaction import Transaction

_NAMED = 5
"""Sequences that are named above the question."""


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
    people: Annotated[
        int | None, typer.Option("--max", min=1, max=MOST, metavar="N", help="People to enrol, at most.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", hidden=True, help="Is --max now.")] = None,
    show_all: AllOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    why: WhyOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Enrol the leads whose triggers call for a sequence.

    One row a sequence: matched, enrolled, already in, refused. Who is refused is listed with the reason,
    and so are phones and names that nothing has; either makes the exit code 3. Of a person who has several
    leads, with the phone in several spellings, one is taken. Run again, nothing more happens.
    """
    if limit is not None:
        # As elsewhere it would list that many rows: a script of old would enrol everybody.
        raise UsageError("how many people enroll takes is --max, and no longer --limit", f"--max {limit}")
    app: App = ctx.obj
    database = app.reading("enroll") if dry_run else app.database("enroll")
    if not dry_run:
        schema.require(database)

    advice: list[str] = []

    def resolve(tx: Transaction) -> tuple[Selection, list[Unmatched]]:
        owner = lookup.resolve(tx, lookup.Kind.USER, user) if user is not None else None
        found, unmatched = [], []
        advice.clear()
        for text in sequence or ():
            try:
                found.append(lookup.resolve(tx, lookup.Kind.SEQUENCE, text, owner))
            except NotFound as error:
                unmatched.append(Unmatched("--sequence", None, text))
                advice.append(f"{error.message}: {error.hint}")
        selection = Selection(
            sequences=found,
            user=owner,
            device=lookup.resolve(tx, lookup.Kind.DEVICE, device, owner) if device is not None else None,
            limit=people,
            listed=listed(None, show_all),
        )
        return selection, unmatched

    selection, unmatched = database.retry(resolve, read_only=True)
    for words in advice:
        note(words)
    if unmatched and not selection.sequences:
        nothing = Result([], unmatched=unmatched)
        app.writer(output).write(*_tables(nothing, output))
        return _account(nothing, selection)
    asks = not (yes or dry_run)
    with ExitStack() as stack:
        if phones:
            numbers = _phones(stack.enter_context(open_input(phones)))
            # Who is asked sees the plan first, so that the phones are gone through twice.
            selection = replace(selection, phones=list(numbers) if asks else numbers)
        if asks:
            planned = run_enroll(database, selection, None)
            planned.unmatched[:0] = unmatched
            if not planned.enrolled:
                app.writer(output).write(*_tables(planned, output))
                return _account(planned, selection)
            terminal = app.writer(Format.TABLE, sys.stderr)
            terminal.write(*_tables(planned, Format.TABLE))
            question = Question(
                f"Enrol {counted(planned.enrolled, 'person', 'people')}?", planned.enrolled, final=True
            )
            if somebody_is_there():
                terminal.write(Said([_in_a_line(planned)]))
            if not confirm(question, yes):
                note("nothing was changed")
                return Exit.DONE
        run = None if dry_run else stack.enter_context(journaled(ctx, database, "enroll", why))
        with progress("leads") as bar:
            result = run_enroll(database, selection, run, lambda r: bar(r.looked_at))
        result.unmatched[:0] = unmatched
        app.writer(output).write(*_tables(result, output))
        code = _account(result, selection)
        if dry_run and result.enrolled:
            note(
                f"{counted(result.enrolled, 'person', 'people')} would be enrolled, "
                "and no command takes that back"
            )
            advise(output, in_earnest(app))
        elif any(one.enrolled or one.already_in for one in result.enrolments()):
            advise(output, "seqdev tick --dry-run")
        return ended(run, code)


def _tables(result: Result, output: Format) -> tuple[Table, ...]:
    return (
        shown(output, "sequences", Enrolment, list(result.enrolments())),
        shown(output, "refused", Refusal, result.refusals),
        Table("unmatched", Unmatched, result.unmatched),
    )


def _in_a_line(result: Result) -> str:
    """The totals of a plan, right above the question."""
    into = sorted((one for one in result.enrolments() if one.enrolled), key=lambda one: -one.enrolled)
    named = ", ".join(f"{one.sequence} {one.enrolled:,}" for one in into[:_NAMED])
    more = f" and {len(into) - _NAMED:,} more" if len(into) > _NAMED else ""
    few = "; to begin with a few: --max" if result.enrolled > MANY else ""
    return (
        f"{counted(result.enrolled, 'person', 'people')}; their first step is due at once, and no command "
        f"takes an enrolment back{few}; into {named}{more}"
    )


def _account(result: Result, selection: Selection) -> int:
    """Notes for people, and the exit code."""
    closed = False
    if not result.targets and not selection.sequences:
        note("there is no sequence that anybody could enter")
    for target in result.targets:
        if not target.is_active:
            note(f"sequence {target.name} is not active: nobody is enrolled")
        elif not target.entry_steps:
            note(f"sequence {target.name} has no entry step with a trigger: nobody can enter it")
        else:
            continue
        closed = bool(selection.sequences)
    for reason, number in result.reasons.items():
        note(f"{counted(number, 'lead')} refused by the database: {reason}")
    if result.stopped:
        note(
            f"stopped: the database has refused {counted(result.reasons.total(), 'lead')}, and taken "
            f"{result.enrolled:,}: mend the cause, and enrol again"
        )
    names = sum(one.sequence is not None for one in result.unmatched)
    if names:
        note(f"{names} of the sequences named {'does' if names == 1 else 'do'} not exist")
    if result.missing:
        listed = len(result.unmatched) - names
        more = "" if listed == result.missing else f", {listed} of them listed: --all lists all"
        note(
            f"{result.missing:,} of {counted(result.asked, 'phone')} given "
            f"{are(result.missing)} no lead's{more}"
        )
    if result.over_limit:
        note(f"stopped at --max {selection.limit}: more people match")
    if result.refused > len(result.refusals):
        note(f"{result.refused:,} refused, {len(result.refusals)} of them listed: --all lists all")
    return Exit.FINDINGS if result.refused or result.missing or names or closed else Exit.DONE


def _phones(file: TextIO) -> Iterator[str]:
    """The phones of a file, one a line."""
    for line in file:
        if phone := line.strip().strip("\ufeff"):
            yield phone
