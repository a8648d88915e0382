"""Processes of seqdev: forked from one that has imported everything, or started anew."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.world.command import ROOT, Ran, command


class Forks:
    """Runs command lines in forked processes, which start in no time. One at a time."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="seqdev-faults-")
        self._lock = threading.Lock()
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.launcher", "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def run(
        self,
        argv: list[str],
        environment: Mapping[str, str],
        point: str = "",
        hit: int | str = 1,
        kill_after: float | None = None,
    ) -> Ran:
        """Run to the end, to the failpoint, or to SIGKILL after so many seconds: exit code, stdout, stderr."""
        out, err = (Path(self._folder.name) / name for name in ("out", "err"))
        request = {
            "argv": argv,
            "environment": os.environ | dict(environment),
            "point": point,
            "hit": hit,
            "kill_after": kill_after,
            "out": str(out),
            "err": str(err),
        }
        assert self._server.stdin
        assert self._server.stdout
        with self._lock:
            self._server.stdin.write(json.dumps(request) + "\n")
            self._server.stdin.flush()
            code = int(self._server.stdout.readline())
            return Ran(code, *(path.read_text(errors="backslashreplace") for path in (out, err)))

    def end(self) -> None:
        self._server.communicate()
        self._folder.cleanup()


def start(database: str, *argv: object, **environment: object) -> "subprocess.Popen[str]":
    """A process of seqdev of its own."""
    return subprocess.Popen(
        command(*(str(argument) for argument in argv)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
        cwd=ROOT,
        env=os.environ
        | {"SEQDEV_DATABASE_URL": database}
        | {name: str(value) for name, value in environment.items()},
    )


def ended(process: "subprocess.Popen[str]", timeout: float = 120) -> Ran:
    """What a process did that comes to its end."""
    out, err = process.communicate(timeout=timeout)
    return Ran(process.returncode, out, err)
