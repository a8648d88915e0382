"""``make bench``: how fast a tick is, next to what the server could do at most, and to the host's own way.

    python -m tests.bench.bench [--contacts N] [--waiting N] [--rounds N] [--full]

Four contestants make the same change to the same due contacts, each on a fresh copy of one database, in
turns, and by SQL it is checked that they did: ``seqdev tick`` as cron runs it; the same with a single
connection; one bare statement in psql (limit.sql); one contact at a time with 50 connections (peer.py, on a part
of the contacts). Then a tick that finds nothing due among many waiting contacts, one that finds as many due outside
their window, and the memory of the process by the number of contacts.

The server is one of its own, with the default durability. Exit code 1: an aim is missed by more than noise.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from tabulate import tabulate

from seqdev.postgres import binaries as server_binaries
from seqdev.postgres import embedded
from seqdev.postgres.conninfo import LIBPQ_VARIABLES
from tests.world import hours

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NOISE = 0.05
"""By how much an aim may be missed, as a share of it: what two runs on a busy machine differ by."""

OF_LIMIT, OF_PEER, IDLE_SECONDS, SHUT_SECONDS, MEMORY_GROWTH = 0.8, 10.0, 0.7, 1.0, 1.0
"""The aims: of the limit's speed at least, times the peer at least, seconds at most (two), growth at most."""


class Cost(NamedTuple):
    """What a process took; ``cpu``: seconds of its own, without the server's."""

    seconds: float
    megabytes: float
    cpu: float


@dataclass
class Result:
    """The runs of one contestant: contacts a second."""

    name: str
    contacts: int
    rates: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)


@dataclass(frozen=True)
class Aim:
    """A number to reach: at least ``wanted``, or at most."""

    name: str
    wanted: float
    measured: float
    at_least: bool
    unit: str = ""

    @property
    def verdict(self) -> str:
        lack = (self.wanted / self.measured if self.at_least else self.measured / self.wanted) - 1
        return "met" if lack <= 0 else "within noise" if lack <= NOISE else "MISSED"

    def row(self) -> list[str]:
        sign = "at least" if self.at_least else "at most"
        return [
            self.name,
            f"{self.measured:.2f}",
            f"{sign} {self.wanted:g} {self.unit}".strip(),
            self.verdict,
        ]


@dataclass(frozen=True)
class Server:
    """The server of the benchmark: makes, copies and drops databases, and runs programs on them."""

    conninfo: str

    def url(self, database: str) -> str:
        return f"{self.conninfo} dbname={database}"

    def run(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def psql(self, database: str, file: str, **variables: int) -> Cost:
        options = [part for name, value in variables.items() for part in ("-v", f"{name}={value}")]
        command = [
            str(server_binaries.psql_path()),
            self.url(database),
            "-Xq",
            "-v",
            "ON_ERROR_STOP=1",
            *options,
        ]
        return measure([*command, "-f", str(HERE / file)])

    def seqdev(self, database: str, *argv: str) -> Cost:
        return measure([sys.executable, "-m", "seqdev", "--database-url", self.url(database), *argv])

    def tick(self, database: str, *options: str) -> Cost:
        return self.seqdev(database, "tick", "--budget", "1h", *options)

    def make(self, name: str, **rows: int) -> None:
        """A database as ``seqdev db init`` makes it, filled with generated rows."""
        self.run(f"create database {name}")
        self.seqdev(name, "db", "init")
        self.psql(name, "fill.sql", **rows)

    @contextmanager
    def copy(self, template: str) -> Iterator[str]:
        """A copy of ``template`` at rest: no contestant pays for what was written before it."""
        self.run(f"create database contest template {template} strategy file_copy")
        self.run("checkpoint")
        try:
            yield "contest"
        finally:
            self.run("drop database contest with (force)")


def measure(command: list[str]) -> Cost:
    """Run ``command`` to its end: the time of the whole process, and its peak memory.

    The kernel counts this process too where the child began as its fork: so it has to stay small.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            said.seek(0)
            sys.exit(f"{' '.join(command[:4])} … ended with {child.returncode}: {said.read().decode()}")
    megabytes = usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024 * 1024)
    return Cost(seconds, megabytes, usage.ru_utime + usage.ru_stime)


def contest(server: Server, contacts: int, part: int, rounds: int) -> tuple[list[Result], float]:
    """The contestants, ``rounds`` times in turns, and the peak memory of the tick."""
    tick = Result("seqdev tick", contacts)
    alone = Result("seqdev tick --jobs 1", contacts)
    limit = Result("one bare statement in psql (the limit)", contacts)
    peer = Result("one at a time, 50 connections (the peer)", part)
    memory = 0.0
    for number in range(1, rounds + 1):
        states = []
        with server.copy("due") as database:
            say(f"round {number} of {rounds}: seqdev tick")
            cost = server.tick(database)
            states.append(server.run((HERE / "state.sql").read_text(), database))
        memory = max(memory, cost.megabytes)
        tick.rates.append(contacts / cost.seconds)
        with server.copy("due") as database:
            say(f"round {number} of {rounds}: with one connection")
            alone.rates.append(contacts / server.tick(database, "--jobs", "1").seconds)
            states.append(server.run((HERE / "state.sql").read_text(), database))
        with server.copy("due") as database:
            say(f"round {number} of {rounds}: the limit")
            limit.rates.append(contacts / server.psql(database, "limit.sql").seconds)
            states.append(server.run((HERE / "state.sql").read_text(), database))
        ((queued, *_),) = states[0]
        if queued != contacts or not states[0] == states[1] == states[2]:
            sys.exit(f"not the same change: {contacts} contacts, tick, with one connection, limit: {states}")
        with server.copy("due") as database:
            say(f"round {number} of {rounds}: the peer")
            peer.rates.append(run_peer(server, database, part))
            ((queued, completed, *_),) = server.run((HERE / "state.sql").read_text(), database)
        if (queued, completed) != (part, part):
            sys.exit(f"the peer queued {queued} and completed {completed} of {part} contacts")
    return [tick, alone, limit, peer], memory


def run_peer(server: Server, database: str, contacts: int) -> float:
    """Contacts a second of the peer, by its own clock: connecting and reading the steps is not counted."""
    command = [sys.executable, "-m", "tests.bench.peer", server.url(database), str(contacts)]
    said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    done, seconds = said.split()
    return int(done) / float(seconds)


def idle(server: Server, waiting: int) -> float:
    """The median seconds of a whole process that finds nothing due among ``waiting`` contacts."""
    say(f"a database of {waiting:,} waiting contacts")
    server.make("waiting", users=300, devices=3000, due=0, waiting=waiting)
    server.tick("waiting")
    seconds = statistics.median(server.tick("waiting").seconds for _ in range(5))
    server.run("drop database waiting with (force)")
    return seconds


def outside(server: Server, due: int) -> float:
    """The median seconds of a whole process that finds ``due`` contacts due, all of them outside their window."""
    say(f"a database of {due:,} contacts due outside their window")
    server.make("shut", users=300, devices=3000, due=due)
    server.seqdev("shut", "rules", "set", "window", hours.around(6, 12), "--yes")
    server.tick("shut")
    seconds = statistics.median(server.tick("shut").seconds for _ in range(5))
    server.run("drop database shut with (force)")
    return seconds


def memory_at(server: Server, contacts: int) -> float:
    """The peak megabytes of a tick over ``contacts`` due contacts."""
    say(f"memory of a tick over {contacts:,} due contacts")
    server.make("memory", due=contacts)
    megabytes = server.tick("memory").megabytes
    server.run("drop database memory with (force)")
    return megabytes


@contextmanager
def started() -> Iterator[Server]:
    """A server in a folder of its own, as it is for everybody: it survives a power cut."""
    for name in (*LIBPQ_VARIABLES, *(name for name in os.environ if name.startswith("SEQDEV_"))):
        os.environ.pop(name, None)
    os.environ["XDG_CONFIG_HOME"] = "/nonexistent"
    folder = Path(tempfile.mkdtemp(prefix="seqdev-bench-"))
    folder.chmod(0o711)
    os.environ["SEQDEV_HOME"] = str(folder / "home")
    try:
        yield Server(embedded.start())
    finally:
        embedded.stop()
        shutil.rmtree(folder)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--contacts", type=int, default=200_000, help="due contacts [%(default)s]")
    parser.add_argument("--waiting", type=int, default=1_000_000, help="of the idle tick [%(default)s]")
    parser.add_argument("--rounds", type=int, default=2, help="of the contest [%(default)s]")
    parser.add_argument("--peer", type=int, default=5_000, help="contacts of the peer [%(default)s]")
    parser.add_argument("--full", action="store_true", help="memory at 1,000,000 contacts, not --contacts")
    given = parser.parse_args()
    with started() as server:
        ((version,),) = server.run("show server_version")
        say(f"PostgreSQL {version}; a database of {given.contacts:,} due contacts")
        server.make("due", due=given.contacts)
        results, memory = contest(server, given.contacts, min(given.peer, given.contacts), given.rounds)
        server.run("drop database due with (force)")
        few = memory_at(server, 1_000)
        many = 1_000_000 if given.full else given.contacts
        growth = (memory_at(server, many) if given.full else memory) / few
        nothing = idle(server, given.waiting)
        shut = outside(server, given.waiting)
    tick, _, limit, peer = results
    rows = [
        [
            result.name,
            f"{result.contacts:,}",
            " ".join(f"{rate:,.0f}" for rate in result.rates),
            f"{result.rate:,.0f}",
            f"{result.rate / limit.rate:.2f}",
            f"{result.rate / peer.rate:.1f}",
        ]
        for result in results
    ]
    headers = ["", "contacts", "a second, by round", "median", "of the limit", "of the peer"]
    print(tabulate(rows, headers, disable_numparse=True, colalign=("left", *["right"] * 5)))
    print()
    aims = [
        Aim("tick, of the limit", OF_LIMIT, tick.rate / limit.rate, True),
        Aim("tick, times the peer", OF_PEER, tick.rate / peer.rate, True),
        Aim(f"tick with nothing due, {given.waiting:,} waiting", IDLE_SECONDS, nothing, False, "seconds"),
        Aim(f"tick with {given.waiting:,} due outside their window", SHUT_SECONDS, shut, False, "seconds"),
        Aim(f"memory at {many:,} contacts, of that at 1,000 ({few:.0f} MB)", MEMORY_GROWTH, growth, False),
    ]
    print(tabulate([aim.row() for aim in aims], ["", "measured", "aim", ""], disable_numparse=True))
    return int(any(aim.verdict == "MISSED" for aim in aims))


if __name__ == "__main__":
    sys.exit(main())
