"""The command reference, generated from the commands themselves."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer
import typer.core

from seqdev import cli

HEAD = """\
# Which commands and options are there?

What `--help` prints for every command. `make docs` writes this page from the code.

"""


def commands(command: Any, context: Any, path: str = "seqdev") -> Iterator[tuple[str, Any, Any]]:
    """The path, the command and the context of ``command`` and all below it."""
    yield path, command, context
    if isinstance(command, typer.core.TyperGroup):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, type(context)(below, info_name=name, parent=context), f"{path} {name}")


def all_commands() -> Iterator[tuple[str, Any, Any]]:
    """Every command and group, the root first."""
    root = typer.main.get_command(cli.app)
    return commands(root, root.context_class(root, info_name="seqdev"))


def reference() -> str:
    """The page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "100")
        return HEAD + "\n".join(
            f"## {path}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"
            for path, command, context in all_commands()
        )
