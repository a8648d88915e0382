"""``seqdev pause``."""

from datetime import timedelta
from functools import partial
from typing import Annotated

import typer

from seqdev.commands.options import App, duration, ended, journaled, reason_of
from seqdev.errors import Exit, UsageError
from seqdev.journal import pause as switch
from seqdev.journal.runs import who
from seqdev.output.render import note
from seqdev.output.words import counted
from seqdev.postgres import schema
from seqdev.postgres.transaction import Transaction
from seqdev.rules import pauses, rules
from seqdev.rules.pauses import Until
from seqdev.rules.rules import Change, Target


def pause(
    ctx: typer.Context,
    why: Annotated[
        str,
        typer.Option(
            "--why", metavar="TEXT", parser=reason_of, help="What for: whoever is stopped reads it."
        ),
    ],
    sequence: Annotated[
        str | None, typer.Option("--sequence", metavar="NAME|ID", help="Pause this sequence only.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME|ID", help="Pause this device only.")
    ] = None,
    user: Annotated[
        str | None,
        typer.Option("--user", metavar="NAME|ID", help="Pause this user only (name, id or prefix)."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="INSTANT",
            help="When the pause of a sequence, device or user ends by itself, in the zone of the database: "
            "'2026-12-01 08:00'.",
        ),
    ] = None,
    wait: Annotated[
        timedelta,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            show_default=False,
            help="Wait this long for running batches. [default: 30s]",
        ),
    ] = timedelta(seconds=30),
) -> int:
    """Pause all commands that write, or one sequence, device or user.

    Without --sequence, --device or --user: tick, enroll, leads and repair, on every host. Running ones end
    at their next batch with exit code 4, and new ones refuse to start; what was done stays. Returns when no
    batch is running any more: exit code 0, or 13 when one still is after --wait; the pause is set all the
    same. Commands that only read go on, and so do db upgrade and dry runs. If a pause is set already, it
    stays, with its reason.

    With one of them: ticks go on, and who is due of that sequence, device or user waits as paused, under
    every policy. A running tick obeys from its next batch on, for which this waits. Enrolments go on: those
    people wait too. Nobody is moved to another device, and a paused device takes nobody. What is in the
    queue already is sent: see seqdev repair queued. Pausing again with another --until changes the end.
    """
    app: App = ctx.obj
    database = app.database("pause", ruled=False)
    schema.require_trusted(database)
    if (sequence, device, user) == (None, None, None):
        if until is not None:
            raise UsageError(
                "--until is for the pause of a sequence, a device or a user",
                "give one of --sequence, --device, --user; a pause of all ends by seqdev resume",
            )
        paused, new = switch.pause(database, *who(), why)
        note(f"{'paused' if new else 'paused already, nothing changed:'} {paused.told(app.clock)}")
        switch.wait(database, wait, note)
        note("no batch is running; to go on: seqdev resume")
        return Exit.DONE
    return _part(ctx, (user, sequence, device), (until, why), wait)


def _part(
    ctx: typer.Context,
    part: tuple[str | None, str | None, str | None],
    said: tuple[str | None, str],
    wait: timedelta,
) -> int:
    """Pause one user, sequence or device, as a run of its own: also while all is paused."""
    app: App = ctx.obj
    until, why = said
    database = app.database("pause")
    schema.require(database)

    def plan(tx: Transaction) -> tuple[Target, Until | None, Change, pauses.PausedPart | None]:
        whose = rules.target(tx, *part)
        ends = pauses.until(tx, until) if until is not None else None
        return whose, ends, *pauses.planned(tx, whose, ends, why)

    whose, ends, change, before = database.retry(plan, read_only=True)
    if change.old_value == change.new_value:
        assert before
        note(f"paused already, nothing changed: {before.told(app.clock)}")
    else:
        with journaled(ctx, database, "pause", why) as run:
            database.retry(partial(rules.apply, run=run.id, changes=[change]))
            run.counts = {"changed": 1}
            ended(run, Exit.DONE)
        if before and not before.is_over:
            note(f"until now: {before.told(app.clock)}")
        end = f"until {ends.shown} in {ends.zone}, the zone of the database" if ends else "until resumed"
        note(f"paused: {pauses.named(whose.scope, whose.id, whose.name)}, {end}: {why}")
    switch.wait(database, wait, note)
    held = database.retry(lambda tx: pauses.held_back(tx, whose), read_only=True)
    option = f"--{whose.scope} {str(whose.id)[:8]}"
    note(f"{counted(held.due, 'contact')} due, and waiting; to go on: seqdev resume {option}")
    if ends:
        note("when the pause ends by itself, all who are due by then go at once")
    if held.pending:
        cancel = f"seqdev repair queued {option} --cancel"
        note(
            f"{counted(held.pending, 'message')} in the queue, and sent all the same; "
            f"to take them back: {cancel}"
        )
    return Exit.DONE
