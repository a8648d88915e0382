"""``seqdev resume``."""

import typer

from seqdev.commands.options import App
from seqdev.errors import Exit
from seqdev.journal import pause
from seqdev.journal.runs import who
from seqdev.output.render import note
from seqdev.postgres import schema


def resume(ctx: typer.Context) -> int:
    """Lift the pause: commands that write work again. Starts nothing."""
    app: App = ctx.obj
    database = app.database("resume", ruled=False)
    schema.require_trusted(database)
    lifted = pause.resume(database, *who())
    note("the pause is lifted" if lifted else "nothing was paused")
    return Exit.DONE
