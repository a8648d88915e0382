"""The command line as tests call it."""

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ran:
    """What a command did: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str


Cli = Callable[..., Ran]
Start = Callable[..., "subprocess.Popen[str]"]
"""Starts a process, which ends with the test."""


def command(*argv: str) -> list[str]:
    """The argument list that runs seqdev as a process of its own."""
    return [sys.executable, "-m", "seqdev", *argv]


def url(server: str, name: str) -> str:
    """A database URL that the command line takes."""
    return f"{server} dbname={name}"


def hear() -> None:
    """A shell in the background lets its children ignore SIGINT: a test's do not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
