"""``make bench-audits``: how long each audit takes on a database of some size.

    python -m tests.bench.audits [--contacts N] [--devices N] [--messages N] [--rounds N]

Each runs as an operator runs it, a process of its own, on a server of its own. Exit code 1: one takes longer
than it should.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from tabulate import tabulate

from tests.bench.bench import Server, say, started

SECONDS = 2.0
"""What an audit may take, the whole process."""

LONGER = {
    "audit contacts": "reads every contact: see sql/audit/contacts.sql",
    "audit all": "all of them, one after the other",
    "audit contacts --at 1h": "looks at everybody who waited then: see sql/audit/then_contacts.sql",
    "audit all --at 1h": "all that can tell of then, one after the other",
}
"""What may take longer, and why."""

AUDITS = ("mismatches", "devices", "contacts", "sequences", "leads", "collisions", "writers", "failed", "all")
OF_THEN = ("mismatches", "contacts", "collisions", "writers", "failed", "all")
"""Those that can say how it stood at an instant."""
PHONE = "601000000001"
"""Of the person that fill_history.sql gives a message from another device."""


def commands(server: Server) -> Iterator[list[str]]:
    """The argument lists: every audit, and what else an incident is looked into with."""
    yield from (["audit", name] for name in AUDITS)
    yield from (["audit", name, "--at", "1h"] for name in OF_THEN)
    yield ["audit", "mismatches", "--since", "1d"]
    yield ["audit", "all", "--nagios"]
    yield ["top", "--once"]
    ((device,),) = server.run("select id from user_devices order by id limit 1", "history")
    yield ["audit", "devices", "--if-lost", str(device)]
    yield ["explain", PHONE]
    yield ["explain", PHONE, "--at", "1h"]
    yield ["tick", "--dry-run"]
    yield ["tick", "--compare"]
    yield ["repair", "assigned", "--dry-run"]
    yield ["repair", "device", str(device), "--spread", "--dry-run"]


def seconds(server: Server, command: list[str]) -> float:
    """What the whole process takes; ends the benchmark where the command fails."""
    began = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-m", "seqdev", "--database-url", server.url("history"), *command],
        capture_output=True,
        check=False,
        text=True,
    )
    took = time.monotonic() - began
    if ran.returncode not in (0, 1, 2, 3) or (ran.returncode in (1, 2) and "--nagios" not in command):
        sys.exit(f"seqdev {' '.join(command)} ended with {ran.returncode}: {ran.stderr}")
    return took


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.audits", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--contacts", type=int, default=1_000_000, help="rows, of 3 a person [%(default)s]")
    parser.add_argument("--devices", type=int, default=3_000, help="[%(default)s]")
    parser.add_argument("--messages", type=int, default=3_000_000, help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=3, help="[%(default)s]")
    given = parser.parse_args()
    people = given.contacts // 3
    with started() as server:
        ((version,),) = server.run("show server_version")
        say(f"PostgreSQL {version}; {given.contacts:,} contacts, {given.messages:,} messages")
        server.make("history", users=max(1, given.devices // 10), devices=given.devices, due=0)
        server.psql("history", "fill_history.sql", people=people, campaigns=given.messages - 2 * people)
        rows = []
        for command in commands(server):
            name = " ".join(command)
            say(name)
            took = [seconds(server, command) for _ in range(given.rounds)]
            rows.append((name, statistics.median(took)))
    print(
        tabulate(
            [
                (name, f"{median:.2f}", LONGER.get(name, "TOO LONG") if median > SECONDS else "")
                for name, median in rows
            ],
            ["", "seconds", ""],
            disable_numparse=True,
            colalign=("left", "right", "left"),
        )
    )
    return int(any(median > SECONDS and name not in LONGER for name, median in rows))


if __name__ == "__main__":
    sys.exit(main())
