"""What the commands share: the application behind a command, common options, the question before a write."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, TextIO

import typer

from seqdev.config import Settings
from seqdev.db import Database
from seqdev.errors import UsageError
from seqdev.render import Format, Writer, note
from seqdev.units import parse_duration


@dataclass(frozen=True)
class App:
    """What the global options say, handed to every command."""

    settings: Settings

    def database(self, command: str) -> Database:
        """The database for ``command``, which the server shows as its application name."""
        return Database(self.settings, command, note)

    def writer(self, output: Format, out: TextIO | None = None) -> Writer:
        """The writer of this command's output, to ``out`` (default stdout)."""
        return Writer(output, self.settings.mask, out)


def duration(text: str | timedelta) -> timedelta:
    """``90s``, ``15m``, ``1h``, ``2d`` of an option as a timedelta; a default is one already."""
    if isinstance(text, timedelta):
        return text
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


FormatOption = Annotated[Format, typer.Option("--format", help="Output format.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done; read-only.")]
UserOption = Annotated[
    str | None, typer.Option("--user", metavar="ID", help="Only this user (id or prefix).")
]


def confirm(question: str, yes: bool) -> bool:
    """Whether to go on: ``yes``, or the answer of the person at the terminal.

    Raises UsageError where nobody can be asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UsageError(
            "nothing was changed: this needs --yes when no terminal is there to ask", "add --yes"
        )
    return typer.confirm(question, err=True)


@contextmanager
def open_input(name: str) -> Iterator[TextIO]:
    """The text file ``name``, or stdin for ``-``. Raises UsageError when it cannot be read."""
    if name == "-":
        if isinstance(sys.stdin, TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8-sig", errors="surrogateescape", newline="")
        yield sys.stdin
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(
                Path(name).open(encoding="utf-8-sig", errors="surrogateescape", newline="")
            )
        except OSError as error:
            raise UsageError(f"cannot read {name}: {error.strerror}") from error
        yield file
