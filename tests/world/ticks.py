"""Ticks as processes of their own."""

import json
import os
import subprocess
from typing import Any

from tests.world.forked import Forked


class Ticks:
    """Tick processes, all ended when the test is."""

    def __init__(self, database: str) -> None:
        self.database = database
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *options: object, **environment: object) -> "subprocess.Popen[str]":
        variables = {name: str(value) for name, value in environment.items()}
        process = Forked(
            ["tick", "--format", "json", *(str(option) for option in options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"SEQDEV_DATABASE_URL": self.database} | variables,
        )
        self._started.append(process)
        return process

    def run(self, *options: object, **environment: object) -> Any:
        """A whole tick: its summary."""
        return self.end(self.start(*options, **environment))

    @staticmethod
    def end(process: "subprocess.Popen[str]") -> Any:
        """The summary of a tick that must come to its end by itself."""
        out, err = process.communicate(timeout=180)
        assert process.returncode == 0, f"exit code {process.returncode}: {err}"
        return json.loads(out)

    def kill_all(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()
