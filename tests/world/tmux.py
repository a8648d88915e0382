"""A terminal of tmux: what a person sees there at an instant, and the keys that they press."""

import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.world.command import command

PATIENCE = 120
"""Seconds that a busy machine is given to show something."""


def found() -> bool:
    """Whether there is a tmux on this machine."""
    return shutil.which("tmux") is not None


@dataclass(frozen=True)
class Tmux:
    """A window with one program in it, on a server of its own at ``socket``."""

    socket: Path

    def run(self, *words: str) -> str:
        """What tmux answers to a command of its own."""
        ran = subprocess.run(
            ["tmux", "-S", str(self.socket), *words], capture_output=True, text=True, check=True
        )
        return ran.stdout

    def press(self, *keys: str) -> None:
        """Press keys, by the names that tmux gives them."""
        self.run("send-keys", *keys)

    @property
    def shown(self) -> str:
        """What the screen shows now."""
        return self.run("capture-pane", "-p")

    def see(self, *words: str, gone: str = "") -> str:
        """The screen, once all ``words`` stand on it at one time, and ``gone`` does not."""
        end = time.monotonic() + PATIENCE
        while True:
            shown = self.shown
            if all(word in shown for word in words) and not (gone and gone in shown):
                return shown
            assert time.monotonic() < end, f"not {words} without {gone!r}:\n{shown}"
            time.sleep(0.2)

    def press_until(self, key: str, word: str) -> None:
        """Press ``key``, and again while it had no effect: ``word`` does not stand on the screen."""
        end = time.monotonic() + PATIENCE
        while word not in self.shown:
            assert time.monotonic() < end, f"not {word} after {key}:\n{self.shown}"
            self.press(key)
            again = time.monotonic() + 10
            while word not in self.shown and time.monotonic() < again:
                time.sleep(0.2)

    @property
    def program(self) -> psutil.Process:
        """The program in the window."""
        return psutil.Process(int(self.run("display-message", "-p", "#{pane_pid}")))

    def end(self) -> None:
        """Wait until the program has ended by itself."""
        end = time.monotonic() + PATIENCE
        while self.run("display-message", "-p", "#{pane_dead}").strip() != "1":
            assert time.monotonic() < end, self.shown
            time.sleep(0.2)


@contextmanager
def tmux(folder: Path, *arguments: str, columns: int = 120, lines: int = 40) -> Iterator[Tmux]:
    """seqdev with ``arguments`` in a window of that size; its socket is in ``folder``."""
    window = Tmux(folder / "tmux")
    settings = folder / "tmux.conf"
    # What has ended is kept, so that one sees that it has.
    settings.write_text(
        "set -g remain-on-exit on\nset -g default-terminal tmux-256color\nset -s escape-time 0\n"
    )
    size = ["-x", str(columns), "-y", str(lines)]
    # exec: the program is the window's own process.
    line = f"exec env -u COLUMNS -u LINES {shlex.join(command(*arguments))}"
    window.run("-f", str(settings), "new-session", "-d", *size, line)
    try:
        yield window
    finally:
        with suppress(subprocess.CalledProcessError):
            window.run("kill-server")
