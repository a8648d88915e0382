"""``make bench-growth``: what commands cost as a host grows, by number of contacts.

    python -m tests.bench.growth [--millions N ...] [--work N]

For each size a database of a host that has grown for years (growth/fill.sql): three messages and 0.003 devices a contact,
as much done in a day whatever the size. On each the same commands, with the same work to do. Writes its part of
docs/host-costs.md. Exit code 1: what ought to stay flat grows. Ten million contacts take about 12 GB.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from tabulate import tabulate

from tests.bench import page
from tests.bench.bench import Server, say, started
from tests.bench.effort import Job, exponent, measured, quiet

FLAT = 0.15
"""The exponent that counts as flat, at most."""
PHONE, LONG_PHONE = "601000000300", "601600000099"
"""Of somebody in the window, and of somebody far on in the sequence of 500 steps."""
WINDOWED = ("mismatches", "contacts", "collisions", "writers", "failed")
WHOLE = ("devices", "sequences", "leads")
"""The audits of what was done in a window, and those of how things stand."""
FLAT_JOBS = ("tick, nobody due", "tick, people due", "explain")
BULK = ("leads", "sequence_contacts", "broadcast_messages")


@dataclass(frozen=True)
class Grown:
    """A database of some size."""

    server: Server
    name: str
    contacts: int
    work: int

    def build(self) -> None:
        """Fill it. Keys and indexes are made after the rows, and no foreign key is asked of them."""
        devices = max(30, self.contacts * 3 // 1000)
        self.server.make(self.name, users=devices // 10, devices=devices, due=0)
        rules = self._rules()
        self.server.run("; ".join(drop for drop, _ in rules), self.name)
        self.server.run(f"alter database {self.name} set session_replication_role = replica")
        self.server.psql(
            self.name, "growth/fill.sql", contacts=self.contacts, daily=min(1000, self.contacts // 100)
        )
        self.server.run(f"alter database {self.name} reset session_replication_role")
        for _, make in rules:
            self.server.run(f"set maintenance_work_mem = '512MB'; {make}", self.name)
        self.server.run("vacuum analyze", self.name)
        self.server.run("checkpoint", self.name)

    def _rules(self) -> list[tuple[str, str]]:
        """Of every key and index of the large tables, what drops it and what makes it."""
        found = self.server.run(
            "select format('alter table %s drop constraint %I', conrelid::regclass, conname),"
            " format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))"
            " from pg_constraint"
            f" where conrelid = any ('{{{','.join(BULK)}}}'::regclass []) and contype in ('p', 'u')"
            " union all"
            " select format('drop index %s', indexrelid::regclass), pg_get_indexdef(indexrelid)"
            " from pg_index as i"
            f" where indrelid = any ('{{{','.join(BULK)}}}'::regclass [])"
            " and not exists (select from pg_constraint where conindid = indexrelid)",
            self.name,
        )
        return [(drop, make) for drop, make in found]

    def size(self) -> str:
        ((size,),) = self.server.run(f"select pg_size_pretty(pg_database_size('{self.name}'))")
        return str(size)

    def due(self, number: int) -> None:
        self.server.psql(self.name, "growth/due.sql", first=number * self.work, people=self.work)

    def leads(self, number: int) -> None:
        self.server.psql(self.name, "growth/leads.sql", first=number * self.work, people=self.work)

    def lost(self, number: int) -> None:
        self.server.psql(self.name, "growth/lost.sql", number=number, people=self.work)

    def steps(self) -> None:
        """A sequence of 500 steps, and nobody due."""
        # Those whom enrolment has left.
        self.server.tick(self.name)
        self.server.psql(self.name, "growth/steps.sql")


def jobs(grown: Grown) -> Iterator[Job]:
    """What is measured, in this order: what reads, then what writes."""
    yield Job("tick, nobody due", ["tick"])
    yield Job("explain", ["explain", PHONE])
    for name in WINDOWED:
        yield Job(f"audit {name} --since 1d", ["audit", name, "--since", "1d"])
        yield Job(f"audit {name} --since 10d", ["audit", name, "--since", "10d"])
    for name in WHOLE:
        yield Job(f"audit {name}", ["audit", name])
    yield Job("audit all", ["audit", "all"])
    yield Job("audit all --since 10d", ["audit", "all", "--since", "10d"])
    yield Job("top --once", ["top", "--once"])
    yield Job("metrics", ["metrics"])
    yield Job("stats", ["stats"])
    yield Job("forecast", ["forecast"])
    yield Job("db check", ["db", "check"])
    yield Job("enroll, nobody new", ["enroll", "--yes"])
    yield Job("tick, people due", ["tick"], grown.due)
    yield Job("enroll, people new", ["enroll", "--yes"], grown.leads)
    yield Job("repair device, its people", ["repair", "device", "lost", "--spread", "--yes"], grown.lost)


def long_jobs() -> Iterator[Job]:
    """What is measured once there is a sequence of 500 steps."""
    for name, argv in (
        ("tick, nobody due", ["tick"]),
        ("explain", ["explain", LONG_PHONE]),
        ("audit contacts", ["audit", "contacts"]),
        ("audit sequences", ["audit", "sequences"]),
        ("audit all", ["audit", "all"]),
    ):
        yield Job(f"{name}, with 500 steps", argv)


def measure(grown: Grown) -> dict[str, float]:
    """Of each job, what it costs."""
    found = {}
    for job in jobs(grown):
        found[job.name] = measured(grown.server, grown.name, job)
    grown.steps()
    for job in long_jobs():
        found[job.name] = measured(grown.server, grown.name, job)
    return found


def table(sizes: list[float], found: list[dict[str, float]]) -> tuple[str, dict[str, float]]:
    """The jobs, a column a size, and by which power each grows."""
    powers = {
        name: exponent((size, one[name]) for size, one in zip(sizes, found, strict=True)) for name in found[0]
    }
    rows = [[name, *(f"{one[name]:.2f}" for one in found), f"{power:.2f}"] for name, power in powers.items()]
    headers = ["", *(f"{size:g} M" for size in sizes), "exponent"]
    aligned = ("left", *["right"] * (len(sizes) + 1))
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True, colalign=aligned), powers


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.growth", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--millions", type=float, nargs="+", default=[0.1, 0.3, 1, 3], help="[%(default)s]")
    parser.add_argument("--work", type=int, default=10_000, help="people due, new, of a device [%(default)s]")
    given = parser.parse_args()
    found = []
    told = []
    with started() as server:
        ((version,),) = server.run("show server_version")
        quiet(server)
        for size in given.millions:
            grown = Grown(server, "grown", round(size * 1_000_000), given.work)
            say(f"PostgreSQL {version}; {grown.contacts:,} contacts")
            grown.build()
            told.append(f"{size:g} M: {grown.size()}")
            say(told[-1])
            found.append(measure(grown))
            server.run("drop database grown with (force)")
    text, powers = table(given.millions, found)
    part = f"""{page.where("growth", version)}. Millions of contacts; 3 messages and
0.003 devices a contact ({"; ".join(told)}). At every size a day brings the same: 1,000 people take a step, and {given.work:,}
are due, new, or of the lost device. Seconds of the server's processors. The exponent: 0 is flat, 1 grows as the table does.

{text}
"""
    page.put("growth", part)
    print(part)
    if len(given.millions) < 2:
        return 0
    return int(any(powers[name] > FLAT for name in FLAT_JOBS))


if __name__ == "__main__":
    sys.exit(main())
