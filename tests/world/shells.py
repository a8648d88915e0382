"""A person at the prompt of a real shell, who types, presses Tab and Enter."""

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.world.command import ROOT

PATIENCE = 60
"""Seconds that a shell gets to answer."""

COMMANDS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
_SET_UP = {
    "bash": "source <(seqdev completion bash)",
    "zsh": "autoload -Uz compinit; compinit -u -D; source <(seqdev completion zsh)",
    "fish": "seqdev completion fish | source",
}
_STUB = """#!/bin/sh
# Completion is seqdev's own. Of everything else it notes what it was given.
case "$1" in
    completion) cd {root} && exec {python} -m seqdev "$@" ;;
    *) {{ printf '%s\\n' "$@"; printf 'end\\n'; }} > {noted}.new && mv {noted}.new {noted} ;;
esac
"""


@dataclass(frozen=True)
class Prompt:
    """The prompt of a shell, by its terminal."""

    terminal: int
    noted: Path

    def run(self, line: str) -> list[str]:
        """What seqdev is given as arguments when this is typed, and Enter pressed: \\t in it is Tab."""
        self.noted.unlink(missing_ok=True)
        os.write(self.terminal, f"{line}\n".encode())
        self._until_noted()
        return self.noted.read_text().splitlines()[:-1]

    def _until_noted(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.noted.exists():
            assert time.monotonic() < deadline, "the shell has not run seqdev"
            # What it shows has to be read, or it would stop.
            if select.select([self.terminal], [], [], 0.02)[0]:
                os.read(self.terminal, 65_536)


def _sit_down() -> None:
    """The terminal that is stdin becomes the new process's own."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def prompt(shell: str, folder: Path) -> Iterator[Prompt]:
    """The prompt of ``shell`` with seqdev's completion, in the empty ``folder``."""
    noted = folder / "noted"
    stub = folder / "bin" / "seqdev"
    stub.parent.mkdir()
    stub.write_text(_STUB.format(root=ROOT, python=sys.executable, noted=noted))
    stub.chmod(0o755)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        COMMANDS[shell],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env=os.environ
        | {
            "PATH": f"{stub.parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder),
            "TERM": "dumb",
            "PS1": "$ ",
        },
        preexec_fn=_sit_down,
    )
    os.close(theirs)
    try:
        found = Prompt(ours, noted)
        # The second line is read once the first is done.
        assert found.run(f"{_SET_UP[shell]}\nseqdev ready") == ["ready"]
        yield found
    finally:
        process.kill()
        process.wait()
        os.close(ours)
