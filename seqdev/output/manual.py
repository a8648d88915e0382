"""Manual pages, made of the commands themselves: as ``man`` reads them."""

import re
from collections.abc import Iterator
from typing import Any

from seqdev import __version__


def page(command: Any, context: Any) -> str:
    """The manual page of ``command``, with all commands below it, in roff's man macros."""
    path = context.command_path
    lines = [
        f'.TH "{path.replace(" ", "-").upper()}" "1" "" "seqdev {__version__}" "seqdev"',
        ".ad l",
        ".nh",
        ".SH NAME",
        f"{_text(path.replace(' ', '-'))} \\- {_text(_first_sentence(command))}",
        ".SH SYNOPSIS",
        *_synopsis(command, context),
        ".SH DESCRIPTION",
        *_paragraphs(command.help),
        *_options(command, context, ".SH OPTIONS"),
    ]
    below = list(_below(command, context))
    if below and context.parent is None:
        lines.append(".SH COMMANDS")
        for one, inner in below:
            name = inner.command_path.replace(" ", "-")
            lines += [".TP", f".BR {_text(name)} (1)", _text(_first_sentence(one))]
    elif below:
        lines.append(".SH COMMANDS")
        for one, inner in below:
            lines += [f".SS {_text(inner.command_path)}", *_synopsis(one, inner), ".PP"]
            lines += [*_paragraphs(one.help), *_options(one, inner, ".PP\nOptions:")]
    if context.parent is None and command.epilog:
        lines += [".SH EXIT STATUS", *_paragraphs(command.epilog.partition(": ")[2])]
    lines += [".SH SEE ALSO"]
    lines += [".BR seqdev (1)," if context.parent else "seqdev COMMAND \\-\\-help,", "seqdev help TOPIC"]
    return "\n".join(lines) + "\n"


def below(command: Any, context: Any) -> dict[str, tuple[Any, Any]]:
    """The commands of a group and their contexts, by name; empty for what is no group."""
    return {inner.info_name: (one, inner) for one, inner in _below(command, context)}


def _below(command: Any, context: Any) -> Iterator[tuple[Any, Any]]:
    if not hasattr(command, "list_commands"):
        return
    for name in command.list_commands(context):
        one = command.get_command(context, name)
        yield one, type(context)(one, info_name=name, parent=context)


def _synopsis(command: Any, context: Any) -> list[str]:
    pieces = " ".join(command.collect_usage_pieces(context))
    return [f".B {_text(context.command_path)}", f".I {_text(pieces)}"] if pieces else []


def _options(command: Any, context: Any, heading: str) -> list[str]:
    """What can be given to the command, each with its meaning."""
    records = [one.get_help_record(context) for one in command.get_params(context)]
    found = [record for record in records if record and record[0] != "--help"]
    lines = [heading] if found else []
    for name, meaning in found:
        lines += [".TP", f".B {_text(name)}", *(_paragraphs(meaning) or ["\\&"])]
    return lines


def _first_sentence(command: Any) -> str:
    text = " ".join((command.help or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.) ", text)[0].rstrip(".")


def _paragraphs(text: str | None) -> list[str]:
    lines: list[str] = []
    for part in (text or "").strip().split("\n\n"):
        words = " ".join(part.split())
        lines += [".PP", _text(words)] if lines else [_text(words)] if words else []
    return lines


def _text(text: str) -> str:
    """``text`` as roff prints it: no escape, no request, and hyphens that can be copied."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    # A list of words may go on in the next line.
    text = re.sub(r"(?<=\S)([|,=])(?=\S)", r"\1\\:", text)
    return f"\\&{text}" if text.startswith((".", "'")) else text
