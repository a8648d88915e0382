"""``seqdev resume``."""

from datetime import timedelta
from typing import Annotated

import typer

from seqdev.commands.options import (
    AllOption,
    App,
    DryRunOption,
    FormatOption,
    LimitOption,
    WhyOption,
    YesOption,
    duration,
    listed,
)
from seqdev.commands.planned import BATCH, BatchOption, PlanOption, Ways, carry_out
from seqdev.errors import Exit, UsageError
from seqdev.journal import pause
from seqdev.journal.runs import who
from seqdev.output.render import Format, note
from seqdev.output.words import Clock, are, counted
from seqdev.postgres import schema
from seqdev.postgres.transaction import Transaction
from seqdev.repair import jobs
from seqdev.rules import pauses, rules
from seqdev.rules.pauses import HeldBack, PausedPart, named
from seqdev.rules.rules import Target


def resume(
    ctx: typer.Context,
    sequence: Annotated[
        str | None, typer.Option("--sequence", metavar="NAME|ID", help="Resume this sequence.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME|ID", help="Resume this device.")
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME|ID", help="Resume this user (name, id or prefix).")
    ] = None,
    spread: Annotated[
        timedelta,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            show_default=False,
            help="Lay out who is due over this time, the oldest first, instead of all at once.",
        ),
    ] = timedelta(0),
    dry_run: DryRunOption = False,
    plan: PlanOption = None,
    yes: YesOption = False,
    why: WhyOption = None,
    batch_size: BatchOption = BATCH,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Lift the pause, or that of one sequence, device or user.

    Starts nothing. With --sequence, --device or --user it says first who is due there, by age. They go with
    the next tick, all at once; with --spread their due times are laid out from now on. Can be undone. Where
    nothing is paused, nothing changes, and the exit code is 0.
    """
    app: App = ctx.obj
    parts = (user, sequence, device)
    if parts == (None, None, None):
        if spread or dry_run or plan:
            raise UsageError(
                "--spread, --dry-run and --plan are for a sequence, a device or a user",
                "give one of --sequence, --device, --user",
            )
        return _all(app, why)
    reading = app.reading("resume")
    whose, paused, held = reading.retry(lambda tx: _look(tx, parts), read_only=True)
    part = named(whose.scope, whose.id, whose.name)
    if paused is None and plan is None:
        note(f"{part} is not paused: nothing was changed")
        return Exit.DONE
    if paused:
        note(f"{paused.told(app.clock)}{'; that has ended by itself' if paused.is_over else ''}")
    _say(held, spread, app.clock)
    ways = Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    assert whose.id
    job = jobs.unpause(whose.scope, whose.id, spread)
    return carry_out(ctx, "resume", lambda _: job, ways)


def _all(app: App, why: str | None) -> int:
    database = app.database("resume", ruled=False)
    schema.require_trusted(database)
    lifted = pause.resume(database, *who(), why)
    if lifted:
        note("the pause is lifted")
        return Exit.DONE
    # A database from before the rules has no parts, and may be resumed like any other.
    reading = app.reading("resume", ruled=False)
    parts = [part for part in reading.retry(pauses.listed, read_only=True) if not part.is_over]
    note("what is paused are parts only: nothing was changed" if parts else "nothing was paused")
    for part in parts:
        note(f"to resume it: seqdev resume --{part.scope} {str(part.scope_id)[:8]}; {part.told(app.clock)}")
    return Exit.DONE


def _look(
    tx: Transaction, parts: tuple[str | None, str | None, str | None]
) -> tuple[Target, PausedPart | None, HeldBack]:
    whose = rules.target(tx, *parts)
    return whose, pauses.of(tx, whose), pauses.held_back(tx, whose)


def _say(held: HeldBack, spread: timedelta, clock: Clock) -> None:
    """Who is due, by age, and what becomes of them."""
    if not held.due:
        note("nobody is due there now")
        return
    since = f"; the oldest since {clock.with_age(held.oldest)}" if held.oldest else ""
    note(
        f"{counted(held.due, 'contact')} {are(held.due)} due now: "
        f"{held.in_hour:,} for an hour at most, {held.in_day:,} for a day at most, "
        f"{held.longer:,} for longer{since}"
    )
    if spread:
        note("they are due little by little, the oldest first")
    else:
        note(
            "they go with the next tick, all at once; to lay them out: --spread 2h; to hold back who is "
            "late: seqdev rules set max_lateness 1d"
        )
