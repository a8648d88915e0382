"""What to type next, for a person at a terminal: a line on stderr, the last one of a screen."""

import re
import shlex
import sys
from collections.abc import Sequence

from seqdev.commands.options import App
from seqdev.output.render import Format, note

_ID = r"[0-9a-f]{8}(?:-[0-9a-f-]{27})?\b"
_WORD = r"(?:--)?[a-z][a-z-]*\b"
_COMMAND = re.compile(rf"seqdev(?: {_ID}| {_WORD})++(?! [A-Z])")
"""A command that can be typed as it stands: no word of it stands for another."""

_CHANGES = ("repair", "leads", "enroll", "tick")
"""Commands that change something, and show with --dry-run what that would be."""


def advise(output: Format, command: str) -> None:
    """Say that ``command`` comes next, if a person reads this; of an empty one nothing."""
    if command and output is Format.TABLE and sys.stdout.isatty() and sys.stderr.isatty():
        note(f"next: {command}")


def in_earnest(app: App) -> str:
    """What was typed, without --dry-run."""
    return shlex.join(["seqdev", *(word for word in app.typed if word != "--dry-run")])


def first_of(advice: Sequence[str]) -> str:
    """The first command in ``advice`` that can be typed as it stands; if it changes something, a dry run.

    Of each advice its first command counts: what comes after it depends on what that shows.
    """
    for text in advice:
        if found := _COMMAND.match(text, max(0, text.find("seqdev "))):
            command = found[0]
            changes = command.split()[1] in _CHANGES and "--dry-run" not in command
            return f"{command} --dry-run" if changes else command
    return ""
