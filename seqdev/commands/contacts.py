"""``seqdev contacts``: what is done about a single person."""

from typing import Annotated

import typer

from seqdev.commands.group import Group
from seqdev.commands.options import (
    AllOption,
    DryRunOption,
    FormatOption,
    LimitOption,
    RequiredWhyOption,
    UserOption,
    WhyOption,
    YesOption,
    listed,
)
from seqdev.commands.planned import (
    BATCH,
    BatchOption,
    PlanOption,
    SequenceOption,
    Ways,
    carry_out,
    scope,
)
from seqdev.output.render import Format
from seqdev.phone import asked_for
from seqdev.postgres.transaction import Transaction
from seqdev.repair import people as jobs
from seqdev.repair.people import People

app = typer.Typer(cls=Group, help="Stop, resume or restart one person, skip a step. Can be undone.")

PhoneArgument = Annotated[
    str, typer.Argument(metavar="PHONE", help="The person's phone, in any spelling.", show_default=False)
]
KeepQueuedOption = Annotated[
    bool, typer.Option("--keep-queued", help="Leave the messages in the queue: they are sent.")
]


@app.command()
def stop(
    ctx: typer.Context,
    phone: PhoneArgument,
    why: RequiredWhyOption,
    sequence: SequenceOption = None,
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
    """Stop a person: nothing more is queued for them.

    Their rows to come, quarantined ones too, get the status stopped and the reason in last_error. Their
    messages that no sender has begun are cancelled, campaigns' as well. A tick that is at it at the same time
    may be faster: what comes of that is stopped as well. With --sequence only that sequence.
    """
    ways = Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    return carry_out(
        ctx,
        "contacts stop",
        lambda tx: jobs.stop(_people(tx, phone, user, sequence), why, keep_queued),
        ways,
    )


@app.command()
def resume(
    ctx: typer.Context,
    phone: PhoneArgument,
    sequence: SequenceOption = None,
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
    """Bring back what was stopped of a person.

    Rows and messages that seqdev has stopped or cancelled become what they were, with the due time that they
    had: what is overdue goes at once.
    """
    ways = Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    return carry_out(ctx, "contacts resume", lambda tx: jobs.resume(_people(tx, phone, user, sequence)), ways)


@app.command()
def skip(
    ctx: typer.Context,
    phone: PhoneArgument,
    sequence: Annotated[str, typer.Option("--sequence", metavar="NAME|ID", help="The sequence.")],
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
    """Pass a person over the step that is to come.

    The following step comes, its delay counted from now. After the last step the person ends: status stopped,
    the reason in last_error.
    """
    ways = Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    return carry_out(ctx, "contacts skip", lambda tx: jobs.skip(_people(tx, phone, user, sequence)), ways)


@app.command()
def restart(
    ctx: typer.Context,
    phone: PhoneArgument,
    sequence: Annotated[str, typer.Option("--sequence", metavar="NAME|ID", help="The sequence.")],
    why: RequiredWhyOption,
    user: UserOption = None,
    dry_run: DryRunOption = False,
    plan: PlanOption = None,
    yes: YesOption = False,
    batch_size: BatchOption = BATCH,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Let a person begin the sequence again, from its first step.

    The first step is due at once, the others after it, and each is sent once more. Their rows stay, under new
    ids. Can be undone until something was sent. Messages that wait in the queue are sent: contacts stop
    cancels them.
    """
    ways = Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    return carry_out(
        ctx, "contacts restart", lambda tx: jobs.restart(_people(tx, phone, user, sequence), why), ways
    )


def _people(tx: Transaction, phone: str, user: str | None, sequence: str | None) -> People:
    found = scope(tx, user, sequence, None)
    return People((asked_for(phone, "PHONE"),), found.user, found.sequence)
