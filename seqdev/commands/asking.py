"""The question before a write: what it is about, and the answer that it takes."""

import sys
from dataclasses import dataclass

import typer

from seqdev.errors import UsageError

MANY = 1_000
"""People, up to whom a plain yes is enough."""


@dataclass(frozen=True)
class Question:
    """What somebody is asked before a write.

    ``number``: of the people or things that it is about, which has to be typed where they are more than
    ``MANY``, or where ``final`` says that no command takes it back.
    """

    text: str
    number: int = 0
    final: bool = False


def somebody_is_there() -> bool:
    """Whether a person can be asked: stdin and stderr are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: Question, yes: bool) -> bool:
    """Whether to go on: ``yes``, or the answer of the person at the terminal.

    Raises UsageError where nobody can be asked.
    """
    if yes:
        return True
    if not somebody_is_there():
        raise UsageError(
            "nothing was changed: this needs --yes when no terminal is there to ask", "add --yes"
        )
    if question.number > MANY or question.final:
        prompt = f"{question.text} To go on, type the number {question.number}"
        typed = typer.prompt(prompt, default="", show_default=False, err=True)
        return str(typed).replace(",", "").strip() == str(question.number)
    return typer.confirm(question.text, err=True)
