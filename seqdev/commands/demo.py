"""``seqdev demo``."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager

import typer
from typer.core import TyperGroup

from seqdev.commands.options import App
from seqdev.demo import stage
from seqdev.demo.demo import tell
from seqdev.errors import Exit
from seqdev.output.render import Format, note
from seqdev.postgres import embedded, home
from seqdev.postgres.engine import Database
from seqdev.settings import Settings


def demo(ctx: typer.Context) -> int:
    """Show seqdev at work, in a scratch database.

    Imports leads, enrols them, ticks, and handles an incident, on the embedded server. Never works on a
    configured database. Every run starts afresh.
    """
    application: App = ctx.obj
    root = ctx.find_root().command
    assert isinstance(root, TyperGroup)
    server = embedded.start()
    note(f"the demo works only on the embedded server in {home.find()}")
    with _own_environment(), tempfile.TemporaryDirectory(prefix="seqdev-demo-") as folder:
        # Nor do other settings count, or the story would come out differently.
        settings = Settings(
            database_url=f"{server} dbname={stage.DATABASE}",
            mask=application.settings.mask,
            shown_zone=application.settings.shown_zone,
        )
        scratch = App(settings)

        def seqdev(arguments: list[str]) -> int:
            command = root.get_command(ctx, arguments[0])
            assert command is not None
            name = f"seqdev {arguments[0]}"
            return int(command.main(arguments[1:], prog_name=name, standalone_mode=False, obj=scratch) or 0)

        keeper = Database(Settings(database_url=f"{server} dbname=postgres"), "demo", note)
        stage.recreate(keeper)
        with chdir(folder):
            tell(seqdev, scratch.database("demo"), scratch.writer(Format.TABLE))
        keeper.close()
    return Exit.DONE


@contextmanager
def _own_environment() -> Iterator[None]:
    """Hide libpq's variables: PGHOSTADDR and PGSERVICE would lead away from the embedded server."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PG")}
    try:
        yield
    finally:
        os.environ.update(hidden)
