"""``seqdev resume``."""

import typer

from seqdev import pause
from seqdev.commands.options import App
from seqdev.errors import Exit
from seqdev.render import note
from seqdev.runs import who


def resume(ctx: typer.Context) -> int:
    """Lift the pause: commands that write go on from now on. Nothing is started."""
    app: App = ctx.obj
    lifted = pause.resume(app.database("resume"), *who())
    note("the pause is lifted" if lifted else "nothing was paused")
    return Exit.DONE
