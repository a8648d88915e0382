"""A world: a database with the host's tables filled, commands run on it, and the account afterwards."""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults.processes import Forks
from tests.faults.reconcile import DUE, assert_no_leak, broken, outcome
from tests.faults.record import Held
from tests.world.command import Ran
from tests.world.host import Host

SESSIONS = (
    "select count(*) from pg_stat_activity where datname = current_database() and application_name ~ '^seqdev'"
    " and state <> 'idle'"
)
"""At work, or in a transaction. A pooler keeps idle ones, and their names."""
LOCKS = (
    "select count(*) from pg_locks l join pg_stat_activity a using (pid)"
    " where a.datname = current_database() and a.application_name ~ '^seqdev' and l.locktype <> 'virtualxid'"
)
"""What others could wait for; not the lock that every transaction has on its own number."""
LEFT = (
    "select a.pid, a.application_name, a.state, a.query, l.locktype, l.mode from pg_stat_activity a left join pg_locks l"
    " using (pid) where a.datname = current_database() and a.application_name ~ '^seqdev' order by l.mode"
)


class World:
    """One scenario's database. ``url`` is what commands are given; ``host`` looks at it directly."""

    def __init__(self, url: str, host: Host, forks: Forks, held: Held) -> None:
        self.url = url
        self.host = host
        self.held = held
        self._forks = forks

    def run(
        self, *argv: object, point: str = "", hit: int | str = 1, shows: bool = False, **environment: object
    ) -> Ran:
        """A command in a process of its own, perhaps killed at a failpoint; what it says is searched for leaks.

        ``shows``: the command is there to show phones on stdout.
        """
        variables = {name: str(value) for name, value in environment.items()}
        ran = self._forks.run(
            [str(argument) for argument in argv], {"SEQDEV_DATABASE_URL": self.url} | variables, point, hit
        )
        self.look(ran, shows)
        return ran

    def look(self, ran: Ran, shows: bool = False) -> None:
        """Search what a command has said for what it must not say."""
        assert_no_leak(ran.err, "stderr")
        if not shows:
            assert_no_leak(ran.out, "stdout")

    def trace(self, *argv: object) -> list[str]:
        """The failpoints that a whole run of the command passes, in their order."""
        with tempfile.NamedTemporaryFile(prefix="seqdev-trace-") as file:
            ran = self.run(*argv, point="trace", hit=file.name, shows=True)
            assert ran.code in (0, 3), ran.err
            return Path(file.name).read_text().split()

    def ok(self, *argv: object, codes: tuple[int, ...] = (0,)) -> Any:
        """A command that must come to a good end: its JSON."""
        ran = self.run(*argv, "--format", "json", shows=True)
        assert ran.code in codes, (argv, ran.code, ran.err)
        return json.loads(ran.out)

    def rest(self, policy: str = "queue") -> None:
        """Clean ticks under ``policy``, and then under queue, until they find nothing more to do."""
        for last in dict.fromkeys((policy, "queue")):
            while self.ok("tick", "--policy", last)["queued"]:
                pass
        assert not (left := self.host.value(DUE)), f"{left} due contacts are left"

    def nothing_left_behind(self, within: float = 2.0) -> float:
        """Wait for the transactions of ended processes to be gone, and their locks; the seconds that took."""
        began = time.monotonic()
        wait(lambda: not self.host.value(SESSIONS) and not self.host.value(LOCKS), within)
        took = time.monotonic() - began
        left = self.host.rows(LEFT) if took >= within else []
        assert not left, f"transactions or locks were there for {took:.1f} s: {left[:3]}"
        return took

    def reconcile(self) -> None:
        """Every row, now: I1, I2, I3, and the journal of runs shows nothing that it must not show."""
        assert not (found := broken(self.host)), found[:5]
        runs = self.host.rows("select to_jsonb(r)::text as run from seqdev.run r")
        assert_no_leak("\n".join(row.run for row in runs), "seqdev.run")
        self.held.reconciled += self.host.value("select count(*) from broadcast_messages")

    def account(self, expected: list[str] | None = None, devices: bool = True, policy: str = "queue") -> None:
        """Everything after a fault: rows now, then clean ticks, and nothing is lost, nothing twice.

        ``expected``: the outcome of the same without the fault.
        """
        self.reconcile()
        self.rest(policy)
        self.reconcile()
        if expected is not None:
            now = outcome(self.host, devices)
            assert now == expected, sorted(set(now) ^ set(expected))[:6]


def wait(condition: Callable[[], Any], patience: float = 60.0) -> None:
    """Until ``condition`` holds, or ``patience`` seconds are over: the caller asks again."""
    deadline = time.monotonic() + patience
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)


def scale(number: int) -> int:
    """``number`` of tries or people, times SEQDEV_TEST_FAULTS_SCALE (default 1), at least 1."""
    return max(1, int(number * float(os.environ.get("SEQDEV_TEST_FAULTS_SCALE") or 1)))


@contextmanager
def role(world: World, *settings: str, superuser: bool = False) -> Iterator[str]:
    """The world's commands log in as a role with these settings: its name."""
    name = world.host.connection.info.dbname + "_role"
    world.host.rows(f"create role {name} login {'superuser' if superuser else ''}")
    for schema in ("public", "seqdev"):
        world.host.rows(f"grant all on schema {schema} to {name}")
        world.host.rows(f"grant all on all tables in schema {schema} to {name}")
        world.host.rows(f"grant all on all sequences in schema {schema} to {name}")
    for setting in settings:
        world.host.rows(f"alter role {name} set {setting}")
    direct, world.url = world.url, f"{world.url} user={name}"
    try:
        yield name
    finally:
        world.url = direct
        world.host.rows(f"drop owned by {name}")
        world.host.rows(f"drop role {name}")
