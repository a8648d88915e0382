"""``seqdev help``: pages of the documentation, without a network."""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill, wrap
from typing import Annotated

import typer

from seqdev.errors import Exit, UsageError
from seqdev.output.screen import width_of

_PACKAGED = Path(__file__).parents[1] / "docs"
ROOT = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "docs"
"""The folder of the pages: inside the installed package, beside it in a source tree."""


_COLUMNS = re.compile(r"\S {2,}\S|^ |^─")
"""What a line of a table has, and a sentence does not."""


@dataclass(frozen=True)
class Topic:
    """Where the documentation tells of it: a page, or those of its sections."""

    about: str
    page: str
    sections: tuple[str, ...] = ()


TOPICS = {
    "incident": Topic("what to do in an incident", "incidents.md"),
    "policies": Topic(
        "which device sends",
        "policies-and-reasons.md",
        (
            *("When a contact is due", "Policies", "Limits of a device"),
            *("When a device is lost", "What a tick writes"),
        ),
    ),
    "reasons": Topic("why a contact waits", "policies-and-reasons.md", ("Reasons to wait",)),
    "exit-codes": Topic("what an exit code means", "exit-codes.md"),
    "time-zones": Topic("in which time zone instants are read, decided and shown", "time-zones.md"),
    "rules": Topic("what every host obeys, and how it is set", "configuration.md", ("Rules",)),
    "first-contact": Topic("a database that seqdev has never worked on", "runbooks/first-contact.md"),
    "wrong-number": Topic("a message came from another number", "runbooks/wrong-number.md"),
    "nothing-received": Topic("somebody got nothing", "runbooks/nothing-received.md"),
    "banned-device": Topic("a device is banned", "runbooks/banned-device.md"),
    "cron-stopped": Topic("no tick has run for a while", "runbooks/cron-stopped.md"),
}


def help(
    ctx: typer.Context,
    topic: Annotated[
        str | None, typer.Argument(metavar="[TOPIC]", help=f"{', '.join(TOPICS)}; or a command.")
    ] = None,
) -> int:
    """Explain a topic: incident, policies, reasons, exit-codes, time-zones, rules.

    From the documentation that is installed with seqdev; it needs no network and no database.
    """
    root = ctx.find_root()
    if topic is None:
        lines = [(f"seqdev help {name}", one.about) for name, one in TOPICS.items()]
        lines.append(("seqdev COMMAND --help", "what a command does, and its options"))
        begins = max(len(command) for command, _ in lines) + 2
        for command, about in lines:
            line = f"{command:{begins}}{about}"
            typer.echo(
                fill(line, width_of(sys.stdout), subsequent_indent=" " * begins, break_on_hyphens=False)
            )
        return Exit.DONE
    topic = topic.lower()
    if topic in TOPICS:
        _show(text(TOPICS[topic]))
        return Exit.DONE
    command = root.command.get_command(root, topic)  # type: ignore[attr-defined] # it is a group
    if command is None:
        raise UsageError(
            f"no topic {topic!r}", f"topics: {', '.join(TOPICS)}; or a command, see seqdev --help"
        )
    typer.echo(command.get_help(type(root)(command, info_name=topic, parent=root)))
    return Exit.DONE


def text(topic: Topic) -> str:
    """What the documentation says of it, in Markdown, links as their words."""
    page = (ROOT / topic.page).read_text(encoding="utf-8")
    if topic.sections:
        parts = {part.partition("\n")[0]: part for part in re.split(r"^## ", page, flags=re.M)[1:]}
        page = "\n".join(f"## {parts[name].rstrip()}\n" for name in topic.sections)
    page = re.sub(r"^<!-- .* -->\n", "", page, flags=re.M)
    return re.sub(r"\[([^\]]+)\]\([^)\s]+\)", r"\1", page)


def fitted(page: str, width: int) -> str:
    """The page with no line of a screen or of commands wider than ``width``.

    A comment goes above its command. That and sentences go on in the next line, rows of tables are cut.
    """
    lines: list[str] = []
    inside = False
    for line in page.split("\n"):
        if line.startswith("```"):
            inside = not inside
            # Without colours: those of a shell's words are not everybody's.
            lines.append("```" if inside else line)
            continue
        if not inside or len(line) <= width:
            lines.append(line)
            continue
        command, _, comment = line.partition("   # ")
        if comment:
            lines += [f"# {part}" for part in wrap(comment, width - 2, break_on_hyphens=False)]
        command = command.rstrip()
        if not _COLUMNS.search(command):
            # Commands as a shell takes them.
            more = " \\" if command.startswith("$ ") else ""
            *parts, last = wrap(command, width - 2, subsequent_indent="  ", break_on_hyphens=False) or [""]
            lines += [*(part + more for part in parts), last]
        elif len(command) <= width:
            lines.append(command)
        elif command[: width - 1].strip():
            lines.append(command[: width - 1].rstrip() + "…")
    return "\n".join(lines)


def _show(page: str) -> None:
    """Print the page; on a terminal laid out for it, through a pager where it is longer than the screen."""
    if not sys.stdout.isatty():
        typer.echo(page, nl=False)
        return
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.theme import Theme

    # Without a background of their own: they are read on dark terminals and on light ones.
    headings = {f"markdown.h{level}": "bold" for level in range(2, 7)}
    plain = dict.fromkeys(("markdown.code_block", "markdown.list", "markdown.item.number"), "none")
    tables = {"markdown.table.border": "dim", "markdown.table.header": "bold"}
    own = Theme({"markdown.code": "bold", **headings, **plain, **tables})
    width = width_of(sys.stdout)
    page = fitted(page, width - 2)
    laid_out = Markdown(page, code_theme="ansi_dark")
    console = Console(width=width, theme=own)
    with console.capture() as captured:
        console.print(laid_out)
    lines = captured.get()
    if "…" in lines:
        laid_out = Markdown(
            f"{page}\n… stands for what is cut: widen the terminal.\n", code_theme="ansi_dark"
        )
        lines += "\n… stands for what is cut: widen the terminal.\n"
    if lines.count("\n") < console.height:
        typer.echo(lines, nl=False)
        return
    # Colours, a page that fits is just printed, and it stays on the screen.
    os.environ.setdefault("LESS", "-FRX")
    with console.pager(styles=True):
        console.print(laid_out)
