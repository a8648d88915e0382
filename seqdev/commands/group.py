"""A group of commands: bare, it shows its help; a mistyped command is answered with those like it."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import typer
from typer._click.core import Context
from typer._click.formatting import HelpFormatter
from typer.core import TyperGroup

from seqdev.errors import Exit

_HYPHEN = "\ue001"
"""Stands for a hyphen at which no line ends: as wide as one, and assigned to nothing."""


class Formatter(HelpFormatter):
    """Lays out a help page: no word is broken at its hyphens, no option is wider than the page."""

    def write_text(self, text: str) -> None:
        """A paragraph."""
        super().write_text(_whole(text))

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Options or commands, and what they mean."""
        super().write_dl([(self._folded(name), _whole(text)) for name, text in rows], col_max, col_spacing)

    def getvalue(self) -> str:
        """The page."""
        return super().getvalue().replace(_HYPHEN, "-")

    def _folded(self, name: str) -> str:
        """An option whose choices may go on in the next line."""
        lines = [""]
        for part in re.split(r"(?<=\|)", name):
            if lines[-1] and len(lines[-1]) + len(part) > self.width - self.current_indent - 6:
                lines.append("")
            lines[-1] += part
        return f"\n{'':{self.current_indent + 4}}".join(lines)


class HelpContext(Context):
    """The context of a command, whose help page is laid out so."""

    formatter_class = Formatter


def _whole(text: str) -> str:
    return re.sub(r"(?<=[\w-])-(?=[\w-])|-(?=-?\w)", _HYPHEN, text)


class Group(TyperGroup):
    """What the root command and every group below it have in common."""

    context_class = HelpContext

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Without arguments: the help, on stderr as stdout is data, and exit code 2."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help(), err=True)
            raise typer.Exit(Exit.USAGE)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that is named. Typer's suggestions leave out commands that are imported on demand."""
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            begun = [name for name in known if name.startswith(args[0])]
            groups = {name: self.get_command(ctx, name) for name in known}
            inside = [
                f"{name} {args[0]}"
                for name, group in groups.items()
                if isinstance(group, TyperGroup) and args[0] in group.list_commands(ctx)
            ]
            alike = " or ".join(map(repr, begun or inside or get_close_matches(args[0], known)))
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {alike}?" if alike else ""))
        return super().resolve_command(ctx, args)
