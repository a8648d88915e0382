"""Files that commands read and write."""

import errno
import os
import select
import tempfile
from collections.abc import Callable
from contextlib import suppress
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


def writable(path: Path) -> None:
    """Raises UsageError where ``put`` could not write to ``path``, as far as that can be seen beforehand."""
    folder = plain_file(path).parent
    if not os.access(folder, os.W_OK | os.X_OK):
        trouble = os.strerror(errno.EACCES if folder.is_dir() else errno.ENOENT)
        raise UsageError(f"cannot write {path}: {trouble}", "see that its folder can be written")


def put(path: Path, text: str, mode: int = 0o644) -> None:
    """Write ``text`` to the file ``path``, whole or not at all; by its ``mode`` everybody may read it.

    Raises UsageError where it cannot be written.
    """
    # Not for commands that write no file: it takes a while.

    named = plain_file(path)
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{named.name}.", dir=named.parent)
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fchmod(handle, mode)
            os.fsync(handle)
        os.replace(temporary, named)
        temporary = ""
        folder = os.open(named.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # The new name, too, survives a power cut.
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}", "see that its folder can be written"
        ) from error
    finally:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)


def _without_waiting(path: str, flags: int) -> int:
    """Open a pipe although nobody writes to it: the system would wait for a writer, and say nothing."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
