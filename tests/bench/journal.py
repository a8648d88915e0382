"""``make bench-journal``: what commands cost beside a year of the journal.

    python -m tests.bench.journal [--runs N] [--changes N] [--contacts N]

Minutely ticks of three hosts, repairs and what they changed (fill_journal.sql), beside contacts that wait. What reads the
journal is measured before there is one, where it can be, and with the year. Writes its part of docs/host-costs.md.
"""

import argparse
import sys
from collections.abc import Iterator

from tabulate import tabulate

from tests.bench import page
from tests.bench.bench import Server, say, started
from tests.bench.effort import Job, measured, quiet

PHONE = "601000000100"
"""Of somebody who waits."""


def jobs(run: str) -> Iterator[Job]:
    """What is measured; ``run``: the beginning of a repair's id, which are not there before there is a journal."""
    yield Job("tick, nobody due", ["tick"])
    yield Job("runs", ["runs"])
    yield Job("runs --command repair", ["runs", "--command", "repair"])
    yield Job("runs --every 1m", ["runs", "--every", "1m"])
    yield Job("repair list", ["repair", "list"])
    if run:
        yield Job("runs RUN", ["runs", run])
        yield Job("repair show RUN", ["repair", "show", run])
        yield Job("repair undo RUN --dry-run", ["repair", "undo", run, "--dry-run"])
        yield Job("repair undo last --dry-run", ["repair", "undo", "last", "--dry-run"])
    yield Job("explain", ["explain", PHONE])
    yield Job("audit contacts", ["audit", "contacts"])
    yield Job("audit all", ["audit", "all"])
    yield Job("stats", ["stats"])
    yield Job("top --once", ["top", "--once"])
    yield Job("metrics", ["metrics"])
    yield Job("report", ["report"])
    yield Job("db check", ["db", "check"])
    if run:
        yield Job("journal prune --dry-run", ["journal", "prune", "--keep", "90d", "--dry-run"])
        yield Job("journal prune", ["journal", "prune", "--keep", "90d", "--yes"], once=True)


def measure(server: Server, database: str, *, journal: bool) -> dict[str, float]:
    """Of each job, what it costs."""
    run = ""
    if journal:
        ((run,),) = server.run(
            "select left(id::text, 13) from seqdev.run where command = 'repair device' order by started_at desc limit 1",
            database,
        )
    return {job.name: measured(server, database, job) for job in jobs(run)}


def table(before: dict[str, float], after: dict[str, float]) -> str:
    """The jobs, without the journal and with it."""
    rows = [
        [
            name,
            *(f"{one[name]:.2f}" if name in one else "" for one in (before, after)),
        ]
        for name in after
    ]
    aligned = ("left", "right", "right")
    return tabulate(
        rows, ["", "no journal", "a year of it"], tablefmt="github", disable_numparse=True, colalign=aligned
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.journal", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1_500_000, help="[%(default)s]")
    parser.add_argument("--changes", type=int, default=10_000_000, help="[%(default)s]")
    parser.add_argument("--contacts", type=int, default=1_000_000, help="who wait [%(default)s]")
    given = parser.parse_args()
    with started() as server:
        ((version,),) = server.run("show server_version")
        quiet(server)
        server.make("year", users=30, devices=300, due=0, waiting=given.contacts)
        before = measure(server, "year", journal=False)
        server.run("truncate seqdev.run, seqdev.change", "year")
        say(f"{given.runs:,} runs, {given.changes:,} changes")
        server.psql("year", "fill_journal.sql", runs=given.runs, changes=given.changes)
        after = measure(server, "year", journal=True)
    part = f"""{page.where("journal", version)}: {given.runs:,} runs (a tick a minute on each of
three hosts, and repairs), {given.changes:,} changes, {given.contacts:,} contacts who wait, 300 devices. Seconds of the
server's processors.

{table(before, after)}
"""
    page.put("journal", part)
    print(part)
    return 0


if __name__ == "__main__":
    sys.exit(main())
