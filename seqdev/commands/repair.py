"""``seqdev repair``."""

from typing import Annotated
from uuid import UUID

import typer

from seqdev.audit import audit
from seqdev.audit import rows as audit_rows
from seqdev.audit.audit import Criteria
from seqdev.commands import messages, standing
from seqdev.commands.group import Group
from seqdev.commands.options import (
    MOST,
    AllOption,
    App,
    DryRunOption,
    FormatOption,
    LimitOption,
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
from seqdev.errors import Exit, NotFound, UsageError
from seqdev.journal import runs
from seqdev.moments import Moment
from seqdev.output import words
from seqdev.output.render import Format, note
from seqdev.postgres import lookup, schema
from seqdev.postgres.transaction import Transaction
from seqdev.repair import history as repair_history
from seqdev.repair import jobs as repair
from seqdev.repair.history import ChangingRun
from seqdev.repair.jobs import Cause, Job, Mismatches, Removal

app = typer.Typer(cls=Group, help="Correct what audits find. Every change is journaled and can be undone.")
app.add_typer(standing.app)
app.add_typer(messages.app)


@app.command()
def assigned(
    ctx: typer.Context,
    since: Annotated[Moment | None, since_option("Look at messages", "1h")] = None,
    cause: Annotated[
        list[Cause] | None,
        typer.Option(
            "--cause",
            help="Only mismatches of this cause; may be repeated. "
            f"[default: those for which the audit recommends it: {', '.join(repair.RECOMMENDED)}]",
        ),
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="Past rows (completed, failed) instead of those still to come.")
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
    """Assign the device that last wrote to a person.

    For people whose last message in a sequence is a mismatch, by the rules and of the causes of audit
    mismatches: their rows still to come are assigned to the device that sent it. Never to a device that is
    deleted, gone or another user's. With --history, each past row is assigned to the device of its own last
    message instead.
    """
    causes = tuple(cause or repair.RECOMMENDED)

    def make(tx: Transaction) -> Job:
        window = window_of(ctx, since)
        asked = Criteria(window, user, sequence, device)
        found = audit.counted(tx, audit_rows.MISMATCHES, asked)
        which = Mismatches(window, history, causes)
        return repair.assigned(scope(tx, user, sequence, device), which, found)

    ways = Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    return carry_out(ctx, "repair assigned", make, ways)


@app.command()
def missing(
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
    """Assign the lead's device where none is assigned.

    For rows still to come; the lead is the same user's. Refused where the lead has no device, where it is
    gone or another user's, and where the person's other rows and messages of that sequence name another
    device, so that more than one fits.
    """
    ways = Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    return carry_out(
        ctx, "repair missing", lambda tx: repair.missing(scope(tx, user, sequence, device)), ways
    )


@app.command()
def device(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The lost device; deleted, its whole id.")],
    to: Annotated[
        str | None, typer.Option("--to", metavar="NEW", help="The device of the same user that takes over.")
    ] = None,
    spread: Annotated[
        bool,
        typer.Option(
            "--spread",
            help="Spread over the same user's available devices, as even as can be by what they own.",
        ),
    ] = False,
    user: UserOption = None,
    queue: Annotated[
        bool,
        typer.Option(
            "--queue",
            help="Also the messages pending in its queue, unless it is online.",
        ),
    ] = False,
    most: Annotated[
        int | None, typer.Option("--max", min=1, max=MOST, metavar="N", help="People to move, at most.")
    ] = None,
    until_back: Annotated[
        bool, typer.Option("--until-back", help="For a time: repair home brings them back.")
    ] = False,
    dry_run: DryRunOption = False,
    plan: PlanOption = None,
    yes: YesOption = False,
    why: WhyOption = None,
    batch_size: BatchOption = BATCH,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Move the people of a lost device to other devices.

    Moves their leads, and their rows still to come. Those never written to come first. A person moves as a
    whole. Says how many messages stay in the queue of the lost device; --queue moves those that no sender has
    begun.
    """
    if bool(to) == spread:
        raise UsageError("where do the people go?", "give either --to NEW or --spread")

    def make(tx: Transaction) -> Job:
        lost, owner = _lost(tx, old)
        people = lookup.resolve(tx, lookup.Kind.USER, user) if user is not None else None
        target = _target(tx, to, people or owner) if to else None
        if target == lost:
            raise UsageError("--to names the lost device itself", "name another one")
        return repair.device(tx, tx.settings, Removal(lost, target, people, most, queue), until_back)

    return carry_out(
        ctx, "repair device", make, Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    )


def _lost(tx: Transaction, text: str) -> tuple[UUID, UUID | None]:
    """The lost device and its user; of a device that is deleted, its whole id is enough."""
    try:
        found = lookup.find(tx, lookup.Kind.DEVICE, text)
    except NotFound:
        try:
            return UUID(text), None
        except ValueError:
            pass
        raise
    return found.id, found.user_id


def _target(tx: Transaction, text: str, owner: UUID | None) -> UUID:
    try:
        return lookup.resolve(tx, lookup.Kind.DEVICE, text, owner)
    except NotFound as error:
        if owner and tx.rows(lookup.Kind.DEVICE.value, text=text, user=None):
            raise UsageError(
                f"device {text!r} belongs to another user than the lost one", "name a device of the same user"
            ) from error
        raise


@app.command()
def home(
    ctx: typer.Context,
    user: UserOption = None,
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
    """Bring people back to their device.

    For those moved with repair device --until-back, once the device is online again. Whoever was moved
    since stays. Those whose device is not back are listed, with exit code 3.
    """

    def make(tx: Transaction) -> Job:
        whose = scope(tx, user, None, device)
        return repair.home(whose.user, whose.device)

    return carry_out(
        ctx, "repair home", make, Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    )


@app.command()
def undo(
    ctx: typer.Context,
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="The run, or the beginning of its id; last: the newest in effect."
        ),
    ],
    dry_run: DryRunOption = False,
    plan: PlanOption = None,
    yes: YesOption = False,
    why: WhyOption = None,
    batch_size: BatchOption = BATCH,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Undo what a run has changed.

    This is itself a run, which can be undone. Rows that were changed since, or whose step was done since, are
    left as they are and listed, with exit code 3. last is the newest run in effect that can be undone: no
    tick, and no undo, so that one after the other the runs before it are undone.
    """

    application: App = ctx.obj

    def look(tx: Transaction) -> tuple[UUID, ChangingRun | None]:
        if run == "last":
            newest = repair_history.last(tx)
            return newest.run_id, newest
        found = runs.find(tx, run, to_undo=True)
        return found, repair_history.of(tx, found)

    whose, became = application.reading("repair undo").retry(look, read_only=True)
    if became and (run == "last" or became.undone_by):
        note(repair_history.described(became, application.clock))
    ways = Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    return carry_out(
        ctx,
        "repair undo",
        lambda _: repair.undo(whose),
        ways,
        # What leads merge may do before the upgrade is undone before it, too.
        schema.require_but_duplicates,
    )


@app.command("list")
def list_(
    ctx: typer.Context,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """List the runs that have changed rows.

    Newest first: how much each changed, and whether it was undone.
    """
    application: App = ctx.obj
    found = repair_history.list_runs(application.reading("repair list"), listed(limit, show_all))
    writer = application.writer(output)
    writer.write(repair_history.runs_table(writer, found))
    if not found:
        note("no run has changed rows")
    elif len(found) < found[0].total:
        note(f"{found[0].total:,} runs, {len(found)} shown: --limit, or --all")
    return Exit.DONE


@app.command()
def show(
    ctx: typer.Context,
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="The run, or the beginning of its id; last: that which undo last would undo."
        ),
    ],
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Show what a run has changed: its journal."""
    application: App = ctx.obj
    writer = application.writer(output)
    with application.reading("repair show").transaction(read_only=True) as tx:
        found = repair_history.last(tx).run_id if run == "last" else runs.find(tx, run)
        counted = repair_history.Counted(repair_history.changes(tx, found, listed(limit, show_all)))
        writer.write(repair_history.changes_table(writer, counted))
    more = "" if counted.shown == counted.total else f", {counted.shown} shown: --limit, or --all"
    note(f"run {found}: {words.counted(counted.total, 'change')}{more}")
    return Exit.DONE
