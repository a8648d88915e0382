"""``seqdev pause``."""

from datetime import timedelta
from typing import Annotated

import typer

from seqdev.commands.options import App, duration
from seqdev.errors import Exit, UsageError
from seqdev.journal import pause as switch
from seqdev.journal.runs import who
from seqdev.output.render import note
from seqdev.postgres import schema


def pause(
    ctx: typer.Context,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="What for: whoever is stopped reads it.")],
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
    """Pause all commands that write, on every host.

    These are tick, enroll, leads and repair. Running ones end at their next batch with exit code 4, and new
    ones refuse to start; what was done stays. Returns when no batch is running any more: exit code 0, or 13
    when one still is after --wait; the pause is set all the same. Commands that only read go on, and so do
    db upgrade and dry runs. If a pause is set already, it stays, with its reason.
    """
    app: App = ctx.obj
    if not why.strip():
        raise UsageError("--why is empty", "say what for: it is all that those who are stopped get to know")
    database = app.database("pause", ruled=False)
    schema.require_trusted(database)
    paused, new = switch.pause(database, *who(), why.strip())
    note(f"{'paused' if new else 'paused already, nothing changed:'} {paused}")
    switch.wait(database, wait, note)
    note("no batch is running; to go on: seqdev resume")
    return Exit.DONE
