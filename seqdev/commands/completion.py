"""``seqdev completion``: the shells' completion, and the answers to what they ask."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer._click.shell_completion import CompletionItem, _resolve_context, _resolve_incomplete

from seqdev import settings as config
from seqdev.errors import Exit
from seqdev.output.text import visible
from seqdev.postgres.names import Question, asking
from seqdev.settings import RULES

SCRIPTS = Path(__file__).parents[1] / "shells"
_BY_NAME = {"user": "users", "sequence": "sequences", "device": "devices", "lost": "devices"}
_BY_METAVAR = {
    **dict.fromkeys(("DEVICE", "NEW", "OLD"), "devices"),
    **dict.fromkeys(("RUN", "[RUN]"), "runs"),
}
"""What of the database a parameter wants, by its name, or where that says less by what the help calls it."""


class Shell(StrEnum):
    """Shells that can complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@dataclass(frozen=True)
class Typed:
    """A command line up to the cursor: its words without their quotes, and the last one as it was typed."""

    words: Sequence[str]
    last: str


def completion(
    ctx: typer.Context,
    shell: Annotated[Shell, typer.Argument(help="The shell.")],
    words: Annotated[
        bool,
        typer.Option("--words", hidden=True, help="Complete the words that stdin holds, NUL after each."),
    ] = False,
) -> int:
    """Print what makes a shell complete commands, options and names.

    In ~/.bashrc: source <(seqdev completion bash). In ~/.zshrc: source <(seqdev completion zsh). In fish:
    seqdev completion fish | source. Names of devices, sequences, users and runs come from the database, if it
    answers in time: see the setting completion_timeout. A password_command is not run for that.
    """
    if not words:
        typer.echo((SCRIPTS / f"seqdev.{shell}").read_text(), nl=False)
        return Exit.DONE
    # Whatever goes wrong: the person is typing, and would see it in the middle of the line.
    try:
        lines = _answer(ctx, shell, sys.stdin.buffer.read().decode(errors="surrogateescape").split("\0")[:-1])
    except Exception:
        lines = ["values"]
    finally:
        asking().end()
        asking.cache_clear()
    typer.echo("\n".join(lines))
    return Exit.DONE


def _answer(ctx: typer.Context, shell: Shell, given: Sequence[str]) -> list[str]:
    """What the shell gets to read: ``files`` where it knows better, else ``values`` and one a line."""
    if shell is Shell.BASH:
        breaks, line = given
        typed = _parsed(line)
    else:
        typed = Typed([_unquoted(word) for word in given], given[-1])
    root = ctx.find_root().command
    *before, last = typed.words[1:]
    context = _resolve_context(root, {}, "seqdev", before)
    wanted, incomplete = _resolve_incomplete(context, before, last)
    if "FILE" in (getattr(wanted, "metavar", None) or ""):
        return ["files"]
    items = [
        item
        for item in _items(context, wanted, incomplete)
        # What cannot be typed as it is, and what would do something to the terminal.
        if item.value.lower().startswith(incomplete.lower()) and visible(item.value) == item.value
    ]
    if shell is Shell.BASH:
        return ["values", *quoted((item.value for item in items), typed.last, breaks)]
    # Fish wants whole words, the others what follows the sign.
    whole = (
        typed.last[: typed.last.find("=") + 1] if shell is Shell.FISH and typed.last.startswith("-") else ""
    )
    return ["values", *(f"{whole}{item.value}\t{_line(item.help or '')}" for item in items)]


def _items(context: Any, wanted: Any, incomplete: str) -> list[Any]:
    """What ``wanted``, a command or one of its parameters, can be completed to."""
    kind = kind_of(wanted)
    if kind == "rules":
        return [CompletionItem(name) for name in RULES]
    if not kind:
        return list(wanted.shell_complete(context, incomplete))
    typed = context.find_root().params
    flags = {name: typed.get(name) for name in ("database_url", "schema")}
    settings = config.load(typed.get("config_file"), os.environ, flags)
    if settings.password_command:
        # It may want a finger on a key.
        return []
    given = {"beginning": incomplete}
    if kind == "runs":
        given["changing"] = str(context.command_path.startswith("seqdev repair "))
    elif kind != "users":
        given["user"] = context.params.get("user") or ""
    question = Question(kind, given, settings.database_url, settings.schema)
    left = settings.completion_timeout.total_seconds() - time.process_time()
    return [CompletionItem(one.value, help=one.meaning) for one in asking().names(question, left)]


def kind_of(parameter: Any) -> str | None:
    """What ``parameter`` wants: rules, or devices, sequences, users or runs of the database."""
    metavar = getattr(parameter, "metavar", None) or ""
    if metavar in ("NAME", "[NAME]") and parameter.param_type_name == "argument":
        return "rules"
    return _BY_METAVAR.get(metavar) or (
        _BY_NAME.get(parameter.name) if metavar in ("ID", "NAME|ID") else None
    )


def _line(text: str) -> str:
    return visible(" ".join(text.split()))


_WORD = re.compile(r"""(?:\\(?:.|$) | '[^']*(?:'|$) | "(?:\\.|[^"\\])*(?:"|\\?$) | [^\s'"\\])+""", re.VERBOSE)
_PIECE = re.compile(r"""\\(?P<sign>.?) | '(?P<single>[^']*)'? | "(?P<double>(?:\\.|[^"\\])*)"?""", re.VERBOSE)
_CLOSED = re.compile(r"""(?:\\. | '[^']*' | "(?:\\.|[^"\\])*" | [^'"\\])*""", re.VERBOSE)
_QUOTES: Mapping[str, Callable[[str], str]] = {
    "": lambda text: re.sub(r"([^\w@%+,./-])", r"\\\1", text),
    "'": lambda text: text.replace("'", r"'\''"),
    '"': lambda text: re.sub(r'([$`"\\])', r"\\\1", text),
}
"""How a text is written in bash, by the quote that is open."""


def _parsed(line: str) -> Typed:
    found = list(_WORD.finditer(line))
    words = [_unquoted(one[0]) for one in found]
    if found and found[-1].end() == len(line):
        return Typed(words, found[-1][0])
    return Typed([*words, ""], "")


def _unquoted(word: str) -> str:
    """A word as the command gets it."""

    def plain(piece: re.Match[str]) -> str:
        if piece["double"] is not None:
            return re.sub(r'\\([$`"\\])', r"\1", piece["double"])
        return piece["sign"] or piece["single"] or ""

    return _PIECE.sub(plain, word)


def quoted(values: Iterable[str], last: str, breaks: str) -> list[str]:
    """``values`` as bash inserts them in place of the ``last`` word: each one word, and harmless.

    Bash replaces what follows an open quote, or the last of the signs ``breaks``; what is before it stays.
    """
    end = _CLOSED.match(last).end()  # type: ignore[union-attr] # it matches the empty text
    quote = last[end : end + 1]
    if quote == "\\":
        return []
    if not quote:
        places = [sign.end() for sign in re.finditer(r"\\.|.", last) if sign[0] in breaks]
        end = places[-1] if places else 0
    kept = _unquoted(last[: end + len(quote)])
    standing = len(kept.partition("=")[2] if kept.startswith("-") else kept)
    # Within double quotes nothing keeps bash from taking ! for a command of its history.
    return [_QUOTES[quote](one[standing:]) for one in values if quote != '"' or "!" not in one]
