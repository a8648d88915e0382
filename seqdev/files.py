"""Files that commands read and write."""

import os
import select
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import IO

from seqdev.errors import UsageError

_PATIENCE = 1.0
"""Seconds without input after which that is said."""


def opened(path: Path, say: Callable[[str], None]) -> BufferedReader:
    """The file at ``path``, to be read and closed. A pipe may have no writer yet: ``awaited``.

    Raises OSError when it cannot be opened.
    """
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115
    os.set_blocking(file.fileno(), True)
    awaited(file, str(path), say)
    return file


def awaited(file: IO[bytes], name: str, say: Callable[[str], None]) -> None:
    """Wait until ``file`` can be read: a pipe, a terminal. After a second without input ``say`` is told."""
    if not select.select([file], [], [], _PATIENCE)[0]:
        say(f"waiting for input from {name}")
        select.select([file], [], [])


def plain_file(path: Path) -> Path:
    """The plain file, perhaps one to be made, that ``path`` names, itself or by symbolic links.

    Raises UsageError where it is something else: a file that is put in its place would destroy it.
    """
    if str(path) == "-":
        raise UsageError("no file can be written to stdout: the report goes there", "name a file")
    named = Path(os.path.realpath(path))
    if os.path.lexists(named) and not named.is_file():
        raise UsageError(f"cannot write {path}: it is not a plain file", "name a file that can be replaced")
    return named


def _without_waiting(path: str, flags: int) -> int:
    """Open a pipe although nobody writes to it: the system would wait for a writer, and say nothing."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
