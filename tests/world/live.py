"""A person who watches a live screen, and presses keys."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.world.command import ROOT, command, hear

PATIENCE = 60
"""Seconds that a busy machine is given to show something."""
_STILL = 0.4
"""Seconds without a change after which a screen stands still: it looks anew every second."""
_CODES = re.compile(r"\x1b(?:\[[0-9;?<>=$]*[a-zA-Z]|\][^\x07\x1b]*(?:\x07|\x1b\\)|P[^\x1b]*\x1b\\|[=>])")


class Live:
    """What the terminal has shown since the last key, without its codes."""

    def __init__(self, process: "subprocess.Popen[bytes]", terminal: int) -> None:
        self.process = process
        self._terminal = terminal
        self._raw = ""

    @property
    def shown(self) -> str:
        """What was shown."""
        return _CODES.sub("", self._raw)

    def see(self, *words: str) -> str:
        """Wait until all of ``words`` have been shown; what was."""
        end = time.monotonic() + PATIENCE
        while not all(word in self.shown for word in words):
            assert time.monotonic() < end, f"{words} are not in {self.shown[-3000:]!r}"
            if select.select([self._terminal], [], [], 0.2)[0]:
                try:
                    self._read()
                except OSError:
                    raise AssertionError(f"ended without {words}: {self.shown[-3000:]!r}") from None
        return self.shown

    def press(self, keys: str) -> None:
        """Type ``keys``, as a person does: when the screen stands still. What was shown before is forgotten."""
        while select.select([self._terminal], [], [], _STILL)[0]:
            self._read()
        self._raw = ""
        os.write(self._terminal, keys.encode())

    def end(self) -> int:
        """The exit code, once the command has ended by itself."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < end:
            if select.select([self._terminal], [], [], 0.2)[0]:
                try:
                    self._read()
                except OSError:
                    break
        return self.process.wait(timeout=PATIENCE)

    def _read(self) -> None:
        self._raw += os.read(self._terminal, 65_536).decode(errors="replace")


@contextmanager
def live(*arguments: str, columns: int = 120, lines: int = 40) -> Iterator[Live]:
    """seqdev with ``arguments`` on a terminal of that size."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = subprocess.Popen(
        command(*arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        | {"TERM": "xterm-256color"},
        preexec_fn=hear,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Live(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
