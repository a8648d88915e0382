"""What is longer than the terminal, through the person's pager."""

import io
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from seqdev.output.screen import height_of

_USUAL = "less"
_LESS = "FRX"
"""Options of less where the person has none: colours pass, and the text stays on the screen at the end."""


class _Page(io.StringIO):
    """Text that is for the terminal ``out``: as wide, in the same colours."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self._out = out

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._out.encoding

    def isatty(self) -> bool:
        return self._out.isatty()

    def fileno(self) -> int:
        return self._out.fileno()


@contextmanager
def paged(out: TextIO) -> Iterator[TextIO]:
    """Where to write what may be long for ``out``: shown as a whole at the end of the block.

    It goes through PAGER, or less, if stdin and ``out`` are terminals and it has more lines than that.
    ``PAGER=cat`` or an empty one turns that off.
    """
    if not (out.isatty() and sys.stdin.isatty()):
        yield out
        return
    page = _Page(out)
    yield page
    text = page.getvalue()
    pager = _pager()
    if not pager or text.count("\n") < (height_of(out) or sys.maxsize):
        out.write(text)
        return
    out.flush()
    environment = {"LESS": _LESS, "LESSSECURE": "1"} | os.environ
    shown = subprocess.Popen(pager, stdin=subprocess.PIPE, stdout=out.fileno(), env=environment)
    # Whoever has seen enough ends the pager before it has read all.
    try:
        shown.communicate(text.encode(out.encoding or "utf-8", "backslashreplace"))
    except KeyboardInterrupt:
        shown.wait()
        raise


def _pager() -> list[str]:
    """The pager's command line; empty: none is wanted, or found."""
    try:
        words = shlex.split(os.environ.get("PAGER", _USUAL))
    except ValueError:
        return []
    found = shutil.which(words[0]) if words and words[0] != "cat" else None
    return [found, *words[1:]] if found else []
