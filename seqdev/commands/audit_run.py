"""``seqdev audit run``: an audit of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from seqdev.audit import own as audit_run
from seqdev.commands.audited import Shown, say
from seqdev.commands.options import AllOption, App, FormatOption, LimitOption
from seqdev.errors import Exit, UsageError
from seqdev.output.render import Format, Table

app = typer.Typer()


@app.command()
def run(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.sql", help="A statement with seqdev's header.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Value of a parameter; may be repeated."),
    ] = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Run an audit of your own, read-only.

    It is one SELECT, written like the files in sql/audit; each row is a finding. The first line is its
    title, '-- …'; parameters are declared and defaulted as in seqdev's own files.
    """
    app: App = ctx.obj
    given = dict(_assignment(text) for text in set_ or ())
    shown = Shown(output, limit, show_all)
    found = audit_run.run(app.reading("audit run"), file, given, shown.rows)
    app.writer(output).write(Table("rows", found.row, found.rows))
    say(found.total, 0, len(found.rows), found.total)
    return Exit.FINDINGS if found.total else Exit.DONE


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--set {text!r} is not NAME=VALUE", "for example: --set since='2 hours'")
    return name, value
