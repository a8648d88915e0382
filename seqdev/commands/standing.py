"""``seqdev repair``: rows that stand still."""

from typing import Annotated

import typer

from seqdev.commands.options import (
    AllOption,
    DryRunOption,
    FormatOption,
    LimitOption,
    UntilOption,
    UserOption,
    WhyOption,
    YesOption,
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
from seqdev.explain.explain import writings
from seqdev.moments import Moment
from seqdev.output.render import Format
from seqdev.repair import jobs as repair
from seqdev.repair.jobs import Renumbered

app = typer.Typer()


@app.command()
def stuck(
    ctx: typer.Context,
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
    """Release claims that a processor left behind.

    Claims on rows still to come, older than claim_timeout.
    """
    ways = Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    return carry_out(
        ctx,
        "repair stuck",
        lambda tx: repair.stuck(scope(tx, user, sequence, device)),
        ways,
    )


@app.command()
def quarantined(
    ctx: typer.Context,
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
    """Activate quarantined contacts again.

    Ticks quarantine contacts that the database refuses. Correct the cause first: the next tick quarantines
    again those that are still refused.
    """
    ways = Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    return carry_out(
        ctx, "repair quarantined", lambda tx: repair.quarantined(scope(tx, user, sequence, device)), ways
    )


@app.command()
def stranded(
    ctx: typer.Context,
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
    """Activate the next step of people for whom nobody has.

    The step before is done, and nothing of the person is active. Due by the later of the row's own time and
    the step's delay.
    """
    ways = Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    return carry_out(
        ctx, "repair stranded", lambda tx: repair.stranded(scope(tx, user, sequence, device)), ways
    )


@app.command("step-gone")
def step_gone(
    ctx: typer.Context,
    ends: Annotated[
        bool, typer.Option("--end", help="End them all, whatever step follows: they get nothing more.")
    ] = False,
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
    """Bring on people whose step was deleted.

    To the step that has its trigger now, else to the first one of its day or later, never to one that they
    have had. Whoever has no step left ends: status stopped, the reason in last_error. Refused is whose place
    is not known.
    """
    ways = Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    return carry_out(
        ctx, "repair step-gone", lambda tx: repair.step_gone(scope(tx, user, sequence, device), ends), ways
    )


@app.command("no-lead")
def no_lead(
    ctx: typer.Context,
    phone: Annotated[
        str | None, typer.Option("--phone", metavar="PHONE", help="Only the person with this phone.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="PHONE", help="With --phone: the phone that their lead has now."),
    ] = None,
    ends: Annotated[bool, typer.Option("--end", help="End them: they get nothing more.")] = False,
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
    """Move or end people whose lead is gone.

    The lead was deleted, or got another phone. Their rows still to come go to the phone that the lead has
    now: as the journal knows it, or as --phone and
    --to name it. Past rows keep the phone that was written to.
    """
    if to is not None and (phone is None or ends):
        raise UsageError("--to names the new phone of one person", "give --phone as well, and not --end")
    who = Renumbered(
        tuple(writings(phone)) if phone is not None else (),
        tuple(writings(to)) if to is not None else (),
        ends,
    )
    ways = Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    return carry_out(
        ctx, "repair no-lead", lambda tx: repair.no_lead(scope(tx, user, sequence, device), who), ways
    )


@app.command("delay-changed")
def delay_changed(
    ctx: typer.Context,
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
    """Reschedule people whose delay was changed.

    It was changed while they waited. They are due by the delay as it is now, counted from the step before.
    """
    ways = Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    return carry_out(
        ctx, "repair delay-changed", lambda tx: repair.delay_changed(scope(tx, user, sequence, device)), ways
    )


@app.command("written-by-other")
def written_by_other(
    ctx: typer.Context,
    since: Annotated[Moment | None, since_option("Look at messages", "1d")] = None,
    until: UntilOption = None,
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
    """Complete steps that another processor wrote.

    They are not written again. The row counts as claimed at the instant of that message; the tick that
    takes the claim over completes it
    without a message, and the next step goes on.
    """
    ways = Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    return carry_out(
        ctx,
        "repair written-by-other",
        lambda tx: repair.written_by_other(scope(tx, user, sequence, device), window_of(ctx, since, until)),
        ways,
    )
