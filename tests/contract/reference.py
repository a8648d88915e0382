"""The command reference of README.md, generated from the commands themselves.

``python -m tests.reference`` prints it, ``--write`` puts it in its place.
"""

import os
import sys
from collections.abc import Iterator
from typing import Any

import typer
import typer.core

from seqdev import cli
from tests.world.command import ROOT

README = ROOT / "README.md"
BEGIN = "<!-- reference: make docs writes it -->\n"
END = "<!-- end of reference -->\n"


def helps(command: Any, context: Any, path: str) -> Iterator[tuple[str, str]]:
    """The path and the help text of a command and all below it."""
    yield path, command.get_help(context)
    if isinstance(command, typer.core.TyperGroup):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from helps(below, type(context)(below, info_name=name, parent=context), f"{path} {name}")


def reference() -> str:
    """The reference as markdown."""
    os.environ["COLUMNS"] = "100"
    root = typer.main.get_command(cli.app)
    context = root.context_class(root, info_name="seqdev")
    parts = [
        f"### {path}\n\n```text\n{text.rstrip()}\n```\n" for path, text in helps(root, context, "seqdev")
    ]
    return "\n".join(parts)


def placed(readme: str) -> str:
    """``readme`` with the reference in its place."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{reference()}\n{END}{after}"


if __name__ == "__main__":
    if "--write" in sys.argv:
        README.write_text(placed(README.read_text()))
    else:
        print(reference())
