"""``seqdev db``: the embedded server, and psql."""

import os
import subprocess
from dataclasses import dataclass

import typer

from seqdev.commands.options import App, FormatOption
from seqdev.errors import Exit
from seqdev.output.columns import Code
from seqdev.output.render import Format, Table, note
from seqdev.postgres import binaries as server_binaries
from seqdev.postgres import conninfo, embedded, home
from seqdev.url import without_secrets

app = typer.Typer()


@dataclass(frozen=True)
class ServerStatus:
    """The embedded server."""

    used: bool
    """Whether commands work on it: no other database is named."""
    running: bool
    """Whether the server runs."""
    pid: Code | None
    """Its process."""
    version: str
    """Version of PostgreSQL."""
    home: str
    """Folder of its files."""
    socket: str
    """Folder of its socket."""
    log: str
    """Its log file."""


@app.command()
def up() -> int:
    """Start the embedded server, unless it is running.

    Other commands start it when they need it.
    """
    embedded.start()
    note(f"the embedded server runs in {home.find()}")
    return Exit.DONE


@app.command()
def down() -> int:
    """Stop the embedded server."""
    note("the embedded server is stopped" if embedded.stop() else "the embedded server was not running")
    return Exit.DONE


@app.command()
def status(ctx: typer.Context, output: FormatOption = Format.TABLE) -> int:
    """Show whether the embedded server runs and is used.

    Also where its files are.
    """
    application: App = ctx.obj
    found = embedded.status()
    used = not conninfo.is_named(application.settings.database_url)
    row = ServerStatus(
        used, found.running, found.pid, found.version, str(found.home), str(found.socket), str(found.log)
    )
    application.writer(output).write(Table("server", ServerStatus, [row], single=True))
    for old in home.left_behind(found.home, server_binaries.major(found.version)):
        note(f"{found.home / old / 'data'} has data of PostgreSQL {old}, which {found.version} cannot read")
    if not used:
        note("commands work on the database that is named, not on the embedded server: see seqdev db check")
    return Exit.DONE


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(ctx: typer.Context) -> int:
    """Open psql on the database that seqdev works on.

    Further arguments are passed to psql.
    """
    application: App = ctx.obj
    settings = application.settings
    # A password must not show in the process list.
    target, variables = without_secrets(application.database("db psql").conninfo())
    if password := conninfo.password(settings.database_url, settings.password_command):
        variables["PGPASSWORD"] = password
    program = server_binaries.psql_path(tls="sslmode=" in target)
    return subprocess.run([program, target, *ctx.args], env=os.environ | variables, check=False).returncode
