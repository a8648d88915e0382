"""``seqdev man``."""

import shutil
import subprocess
import sys
from typing import Annotated

import typer

from seqdev.errors import Exit, UsageError
from seqdev.output import manual


def man(
    ctx: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[COMMAND]...", help="The command: audit, or audit mismatches.", show_default=False
        ),
    ] = None,
) -> int:
    """Show the manual page of a command.

    On a terminal man shows it, where there is one; elsewhere it is printed as man reads it. The pages that
    are installed are the same: man seqdev-audit.
    """
    context = ctx.find_root()
    found = context.command
    for name in command or ():
        below = manual.below(found, context)
        if name not in below:
            raise UsageError(f"no command {name!r}", f"see: {context.command_path} --help")
        found, context = below[name]
    page = manual.page(found, context)
    if sys.stdout.isatty() and (program := shutil.which("man")):
        return subprocess.run([program, "-l", "-"], input=page, text=True, check=False).returncode
    typer.echo(page, nl=False)
    return Exit.DONE
