"""``seqdev block``: phones that are never written to."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Annotated

import typer

from seqdev.commands.contacts import KeepQueuedOption
from seqdev.commands.group import Group
from seqdev.commands.options import (
    AllOption,
    App,
    DryRunOption,
    FormatOption,
    LimitOption,
    RequiredWhyOption,
    UserOption,
    WhyOption,
    YesOption,
    listed,
    open_input,
)
from seqdev.commands.planned import BATCH, BatchOption, PlanOption, Ways, carry_out, scope
from seqdev.errors import Exit, UsageError
from seqdev.journal.runs import who
from seqdev.output.render import Format, note
from seqdev.output.tables import shown
from seqdev.phone import asked_for
from seqdev.postgres.transaction import Transaction
from seqdev.repair import people as jobs
from seqdev.repair.jobs import Job
from seqdev.repair.people import BlockedPhone, People

app = typer.Typer(cls=Group, help="Keep a list of phones that are never written to. Can be undone.")

PhonesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PHONE]...", help="Phones, in any spelling.", show_default=False),
]
FileOption = Annotated[
    str | None, typer.Option("--file", metavar="FILE", help="Phones, one a line; - is stdin.")
]


@app.command()
def add(
    ctx: typer.Context,
    why: RequiredWhyOption,
    phones: PhonesArgument = None,
    file: FileOption = None,
    user: UserOption = None,
    keep_queued: KeepQueuedOption = False,
    dry_run: DryRunOption = False,
    plan: PlanOption = None,
    yes: YesOption = False,
    batch_size: BatchOption = BATCH,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Block phones: nothing is ever sent to them.

    For one user's people, or without --user for everybody's. They are compared by the digits that WhatsApp
    uses, so that every spelling is the same phone. What is to come for them is stopped, and what is queued is
    cancelled, as by contacts stop. Nobody enrols them: reason blocked. Rows that the host itself makes for
    them later are stopped by the next tick before it sends.
    """
    asked = _phones(phones, file)
    by = "@".join(who())

    def make(tx: Transaction) -> Job:
        _refuse_national(tx, asked)
        return jobs.block(People(asked, scope(tx, user, None, None).user), why, by, keep_queued)

    return carry_out(
        ctx, "block add", make, Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    )


@app.command("list")
def list_(
    ctx: typer.Context,
    user: UserOption = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """List the phones that are blocked, the latest first."""
    application: App = ctx.obj
    found = jobs.list_blocked(application.reading("block list"), user, listed(limit, show_all))
    application.writer(output).write(shown(output, "blocked", BlockedPhone, found))
    if not found:
        note("no phone is blocked")
    elif len(found) < found[0].total:
        note(f"{found[0].total:,} phones, {len(found)} shown: --limit, or --all")
    return Exit.DONE


@app.command()
def remove(
    ctx: typer.Context,
    phones: PhonesArgument = None,
    file: FileOption = None,
    user: UserOption = None,
    dry_run: DryRunOption = False,
    plan: PlanOption = None,
    yes: YesOption = False,
    why: WhyOption = None,
    batch_size: BatchOption = BATCH,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Block phones no longer.

    With --user only for that user. What was stopped stays stopped: seqdev contacts resume PHONE brings it
    back.
    """
    asked = _phones(phones, file)

    def make(tx: Transaction) -> Job:
        _refuse_national(tx, asked)
        return jobs.unblock(People(asked, scope(tx, user, None, None).user))

    code = carry_out(
        ctx, "block remove", make, Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    )
    if code == Exit.DONE:
        note("what was stopped for them stays so; to bring it back: seqdev contacts resume PHONE")
    return code


def _phones(typed: list[str] | None, file: str | None) -> tuple[str, ...]:
    """The phones that were typed and those of the file. Raises UsageError for what is none."""
    found = [asked_for(one, f"PHONE {place}") for place, one in enumerate(typed or (), start=1)]
    with ExitStack() as stack:
        if file is not None:
            found += _lines(stack.enter_context(open_input(file)))
    if not found:
        raise UsageError("which phones?", "give PHONE or --file FILE")
    return tuple(dict.fromkeys(found))


def _refuse_national(tx: Transaction, phones: tuple[str, ...]) -> None:
    if not tx.settings.region and any(_is_national(one) for one in phones):
        raise UsageError(
            "a phone begins with 0: its country is not known",
            "write it with the country code, or set the rule: seqdev rules set region MY",
        )


def _lines(lines: Iterator[str]) -> Iterator[str]:
    for place, line in enumerate(lines, start=1):
        if phone := line.strip().strip("\ufeff"):
            yield asked_for(phone, f"line {place} of the file")


def _is_national(phone: str) -> bool:
    digits = phone.lstrip(" (")
    return digits.startswith("0") and not digits.startswith("00")
