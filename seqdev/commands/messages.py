"""``seqdev repair``: messages of the queue."""

from datetime import timedelta
from typing import Annotated

import typer

from seqdev.commands.options import (
    MOST,
    AllOption,
    DryRunOption,
    FormatOption,
    LimitOption,
    UntilOption,
    UserOption,
    WhyOption,
    YesOption,
    duration,
    listed,
    since_option,
    window_of,
)
from seqdev.commands.planned import (
    BATCH,
    BatchOption,
    DeviceOption,
    PlanOption,
    SequenceOption,
    Ways,
    carry_out,
    scope,
)
from seqdev.errors import UsageError
from seqdev.moments import Moment
from seqdev.output.render import Format
from seqdev.postgres import lookup
from seqdev.postgres.transaction import Transaction
from seqdev.repair import jobs as repair
from seqdev.repair.jobs import Again, FailedFor, Job

app = typer.Typer()

MostOption = Annotated[
    int | None,
    typer.Option("--max", min=1, max=MOST, metavar="N", help="Messages, at most: oldest first."),
]


@app.command()
def failed(
    ctx: typer.Context,
    since: Annotated[Moment | None, since_option("Look at messages", "1d")] = None,
    until: UntilOption = None,
    cause: Annotated[
        list[FailedFor] | None,
        typer.Option(
            "--cause",
            help="Only messages that failed of this cause; may be repeated. Of no_answer, no_reason and "
            "other people may have the message. [default: the others]",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="DEVICE", help="The same user's device that sends them."),
    ] = None,
    spread: Annotated[
        timedelta,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            show_default=False,
            help="Lay the messages of each device out over so long, if the worker heeds scheduled_at.",
        ),
    ] = timedelta(0),
    attempts: Annotated[
        int, typer.Option("--attempts", min=1, max=20, help="Queue each message again so often, at most.")
    ] = 3,
    most: MostOption = None,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    dry_run: DryRunOption = False,
    plan: PlanOption = None,
    yes: YesOption = False,
    why: WhyOption = None,
    batch_size: BatchOption = BATCH,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Queue messages again that were not sent.

    The same rows with the same ids, on the same device unless --to names another; once it is online. Refused
    where the person may have the message, where a later step has been queued since, where somebody has
    stopped the person, where no try can succeed, and a second time within 15 minutes, a third within 30, and
    so on.
    """

    def make(tx: Transaction) -> Job:
        whose = scope(tx, user, sequence, device)
        target = lookup.resolve(tx, lookup.Kind.DEVICE, to, whose.user) if to is not None else None
        return repair.failed(
            whose, window_of(ctx, since, until), tuple(cause or ()), Again(target, most, spread, attempts)
        )

    return carry_out(
        ctx, "repair failed", make, Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    )


@app.command()
def queued(
    ctx: typer.Context,
    cancel: Annotated[bool, typer.Option("--cancel", help="Take them back: they are not sent.")] = False,
    move_to: Annotated[
        str | None,
        typer.Option("--move-to", metavar="DEVICE", help="Move them to this device of the same user."),
    ] = None,
    older_than: Annotated[
        timedelta | None,
        typer.Option(
            "--older-than", parser=duration, metavar="DURATION", help="Only those that wait for so long."
        ),
    ] = None,
    most: MostOption = None,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    dry_run: DryRunOption = False,
    plan: PlanOption = None,
    yes: YesOption = False,
    why: WhyOption = None,
    batch_size: BatchOption = BATCH,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Take back or move messages that wait in the queue.

    Only those pending, which no sender has begun; those of campaigns too. None is moved while its device is
    online. A sender that has read a message before it is taken back may send it all the same.
    """
    if cancel == (move_to is not None):
        raise UsageError("what becomes of the messages?", "give either --cancel or --move-to DEVICE")
    if all(given is None for given in (older_than, user, sequence, device)):
        raise UsageError(
            "which messages? All that wait are more than an incident has",
            "give --device, --sequence, --user or --older-than",
        )

    def make(tx: Transaction) -> Job:
        if cancel and "cancelled" not in tx.settings.failed_statuses:
            raise UsageError(
                "a message that is taken back gets the status cancelled, which failed_statuses does not name",
                "add it there, and see that the host does not send such messages",
            )
        whose = scope(tx, user, sequence, device)
        target = lookup.resolve(tx, lookup.Kind.DEVICE, move_to, whose.user) if move_to is not None else None
        return repair.queued(whose, older_than or timedelta(0), target, most)

    return carry_out(
        ctx, "repair queued", make, Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    )
