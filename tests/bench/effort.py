"""What a command costs the server: seconds of its processors, in all its processes.

What else the machine does has little part in that. The command's own process comes from one that has imported all.
"""

import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

import psutil

from seqdev.postgres import embedded
from tests.bench.bench import Server, say
from tests.world.forked import Forked

LITTLE, ROUNDS = 0.15, 2
"""What costs the server so many seconds at most is measured so often again, and the first time does not count."""
TICK = 0.01
"""Seconds: the least that a kernel tells of a process."""


class Job(NamedTuple):
    """A command line to measure, below a name of its own."""

    name: str
    argv: Sequence[str]
    prepare: Callable[[int], None] | None = None
    """Makes what a round finds to do, by the round's number. Such a job is measured twice, and changes the database."""
    once: bool = False
    """There is nothing more to do when it was done."""


def processors(pid: int) -> float:
    """Seconds that the server's processes have used so far; those of ended sessions are in its first process's."""
    first = psutil.Process(pid)
    total = 0.0
    for child in first.children():
        with suppress(psutil.NoSuchProcess):
            used = child.cpu_times()
            total += used.user + used.system
    used = first.cpu_times()
    return total + used.user + used.system + used.children_user + used.children_system


def quiet(server: Server) -> None:
    """So that it does nothing on its own while a command is measured."""
    server.run("alter system set autovacuum = off")
    server.run("alter system set max_wal_size = '8GB'")
    server.run("select pg_reload_conf()")


def measured(server: Server, database: str, job: Job) -> float:
    """Seconds of the server's processors in a run of the command: the mean of several, where it costs little."""
    pid = embedded.status().pid
    assert pid
    if job.prepare:
        found = []
        for number in range(ROUNDS):
            job.prepare(number)
            found.append(_rounds(server, database, job, pid, 1))
        return statistics.mean(found)
    first = _rounds(server, database, job, pid, 1)
    if job.once or first > LITTLE:
        return first
    return _rounds(server, database, job, pid, ROUNDS)


def _rounds(server: Server, database: str, job: Job, pid: int, rounds: int) -> float:
    before = processors(pid)
    for _ in range(rounds):
        argv = ["--database-url", server.url(database), *job.argv]
        ran = Forked(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        _, said = ran.communicate()
        if ran.returncode not in (0, 3):
            sys.exit(f"seqdev {' '.join(job.argv)} ended with {ran.returncode}: {said}")
    # Until the last session's process has ended.
    time.sleep(0.5)
    used = (processors(pid) - before) / rounds
    say(f"  {job.name}: {used:.3f} s")
    return used


def exponent(points: Iterable[tuple[float, float]]) -> float:
    """By which power of the size the seconds grow: the slope of their logarithms, by least squares."""
    logs = [(math.log(size), math.log(max(seconds, TICK))) for size, seconds in points]
    return statistics.linear_regression([x for x, _ in logs], [y for _, y in logs]).slope
