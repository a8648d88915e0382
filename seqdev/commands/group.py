"""A group of commands: bare, it shows its help; a mistyped command is answered with those like it."""

from difflib import get_close_matches
from typing import Any

import typer
from typer.core import TyperGroup

from seqdev.errors import Exit


class Group(TyperGroup):
    """What the root command and every group below it have in common."""

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
