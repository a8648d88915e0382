"""``make bench-host``: what seqdev costs the application whose database it works on.

    python -m tests.bench.host [--contacts N] [--messages N] [--due N] [--seconds N] [--rounds N]

The host's own work, a row at a time by four connections and as one campaign's batch, on two databases that differ in
seqdev's indexes alone, in pairs, by turns. Then single-row updates of the host's beside a tick on a backlog: how long each
of them took. Writes its part of docs/host-costs.md. Exit code 1: an aim is missed by more than noise.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tabulate import tabulate

from seqdev.postgres import binaries as server_binaries
from tests.bench import page
from tests.bench.bench import HERE, NOISE, Server, say, started

WORK = {
    "insert a message": "insert.sql",
    "mark a message as sent": "sent.sql",
    "claim and complete a contact": "contact.sql",
    "edit a lead": "lead.sql",
}
"""What the host does a row at a time, and the script of pgbench that does it, in tests/bench/host."""
COST, P99, MAX = 1.15, 50.0, 250.0
"""The aims: times as long with the indexes, at most; milliseconds of a single-row update beside a tick, at most."""
CLIENTS = 4


class Host(NamedTuple):
    """The host application at work: its connections are pgbench's. How many it has of what, its scripts are told."""

    server: Server
    sizes: Mapping[str, int]

    def command(self, database: str, *options: str) -> list[str]:
        program = server_binaries.psql_path().with_name("pgbench")
        told = [part for name, number in self.sizes.items() for part in ("-D", f"{name}={number}")]
        return [
            str(program),
            "-n",
            "-M",
            "prepared",
            "-c",
            str(CLIENTS),
            *told,
            *options,
            self.server.url(database),
        ]

    def rate(self, database: str, script: str, seconds: int) -> float:
        """Transactions a second of a script in tests/bench/host."""
        command = self.command(database, "-f", str(HERE / "host" / script), "-T", str(seconds))
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            sys.exit(f"pgbench {script} ended with {ran.returncode}: {ran.stderr}")
        return next(float(line.split()[2]) for line in ran.stdout.splitlines() if line.startswith("tps"))


def indexes(server: Server, database: str) -> dict[str, str]:
    """The indexes that seqdev has made on the host's tables, and that no rule of the host's needs, with their statements."""
    found = server.run(
        "select c.relname, pg_get_indexdef(c.oid) from pg_index as i inner join pg_class as c on i.indexrelid = c.oid"
        " where c.relname like 'seqdev%' and c.relnamespace = 'public'::regnamespace and not i.indisunique"
        " order by 1",
        database,
    )
    return dict(found)


def cost(host: Host, seconds: int, rounds: int) -> Iterator[tuple[str, list[float]]]:
    """What the host does, and how many times as long it takes with the indexes, a number a pair."""
    for name, script in WORK.items():
        ratios = []
        for number in range(rounds):
            say(f"{name}: pair {number + 1} of {rounds}")
            # By turns, so that neither is always the first.
            turns = ("bare", "indexed") if number % 2 else ("indexed", "bare")
            rates = {database: host.rate(database, script, seconds) for database in turns}
            ratios.append(rates["bare"] / rates["indexed"])
        yield name, ratios
    yield "queue a campaign of 10,000, and mark it as sent", campaigns(host, "indexed", 0, rounds)


def campaigns(host: Host, database: str, begin: int, rounds: int) -> list[float]:
    """How many times as long campaigns take in a database as in ``bare``, a number a pair."""
    ratios = []
    for number in range(rounds):
        say(f"a campaign of 10,000, {database}: pair {number + 1} of {rounds}")
        turns = ("bare", database) if number % 2 else (database, "bare")
        took = {}
        for one in turns:
            host.server.run("checkpoint", one)
            first = (begin + number) * 10_000
            took[one] = host.server.psql(one, "host/campaign.sql", first=first).seconds
        ratios.append(took[database] / took["bare"])
    return ratios


def each(host: Host, definitions: Mapping[str, str], rounds: int) -> Iterator[tuple[str, list[float]]]:
    """The indexes on the messages, and how many times as long a campaign takes with that one alone."""
    for place, (name, definition) in enumerate(definitions.items()):
        host.server.run("create database one template bare strategy file_copy")
        host.server.run(definition, "one")
        host.server.run("vacuum analyze broadcast_messages", "one")
        yield f"`{name}`", campaigns(host, "one", (place + 1) * rounds, rounds)
        host.server.run("drop database one with (force)")


def beside(host: Host) -> tuple[int, float, list[float]]:
    """A tick on who is due, and the host's updates meanwhile: how many, seconds of the tick, their milliseconds."""
    say(f"a tick on {host.sizes['due']:,} due contacts, and the host at work")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        scripts = [
            part
            for name in ("due_contact", "due_lead")
            for part in ("-f", str(HERE / "host" / f"{name}.sql"))
        ]
        options = ("-T", "600", "-l", f"--log-prefix={log}", "-R", "200")
        working = subprocess.Popen(
            host.command("indexed", *options, *scripts), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(2)
        began = time.time()
        took = host.server.tick("indexed").seconds
        ended = time.time()
        working.terminate()
        working.wait()
        latencies = [
            # client, transaction, latency, script, second, microseconds, lag: in microseconds, the lag in it.
            (int(words[2]) - int(words[6])) / 1000
            for file in Path(folder).iterdir()
            for words in (line.split() for line in file.read_text().splitlines())
            if len(words) > 6 and words[2].isdigit() and began <= int(words[4]) <= ended
        ]
    return len(latencies), took, latencies


def table(first: str, pairs: list[tuple[str, list[float]]]) -> str:
    """What was measured, in Markdown, below ``first`` and what the ratios are."""
    rows = [
        (name, f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}")
        for name, ratios in pairs
    ]
    return tabulate(rows, [first, "median", "from, to"], tablefmt="github", disable_numparse=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.host", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--contacts", type=int, default=300_000, help="rows, of 3 a person [%(default)s]")
    parser.add_argument("--devices", type=int, default=300, help="[%(default)s]")
    parser.add_argument("--messages", type=int, default=900_000, help="[%(default)s]")
    parser.add_argument("--due", type=int, default=200_000, help="of the tick [%(default)s]")
    parser.add_argument("--seconds", type=int, default=10, help="of each run of the host's [%(default)s]")
    parser.add_argument("--rounds", type=int, default=5, help="pairs [%(default)s]")
    given = parser.parse_args()
    people = given.contacts // 3
    users = given.devices // 10
    with started() as server:
        ((version,),) = server.run("show server_version")
        say(
            f"PostgreSQL {version}; {given.contacts:,} contacts, {given.messages:,} messages, {given.due:,} due"
        )
        server.make("bare", users=users, devices=given.devices, due=0)
        server.psql("bare", "fill_history.sql", people=people, campaigns=given.messages - 2 * people)
        server.psql("bare", "host/prepare.sql")
        server.run("create database indexed template bare strategy file_copy")
        dropped = indexes(server, "bare")
        server.run("; ".join(f"drop index {name}" for name in dropped), "bare")
        host = Host(server, {"people": people, "users": users, "devices": given.devices, "due": given.due})
        pairs = list(cost(host, given.seconds, given.rounds))
        on_messages = {name: made for name, made in dropped.items() if name.startswith("seqdev_messages")}
        alone = list(each(host, on_messages, given.rounds))
        server.run("drop database bare with (force)")
        server.psql("indexed", "host/due.sql", due=given.due)
        count, took, latencies = beside(host)
    cuts = statistics.quantiles(latencies, n=100)
    p50, p99, most = cuts[49], cuts[98], max(latencies)
    text = f"""{page.where("host", version)}, {given.contacts:,}
contacts, {given.messages:,} messages, {given.devices:,} devices; {given.rounds} pairs of {given.seconds} seconds, by turns.

How many times as long the host's own work takes with seqdev's indexes ({", ".join(f"`{name}`" for name in dropped)}) as
without; a row at a time means a transaction each, by {CLIENTS} connections:

{table("the host's work", pairs)}

That is with no other index than the primary key on the messages: the more a host has of its own, the less seqdev's
add to it. What the campaign costs with one of them alone:

{table("index", alone)}

None of them can go. `seqdev_messages_person` finds a person's messages, those of campaigns too, for `explain`, the audits,
the repairs and the limit on new chats; the limits of devices count by `seqdev_messages_in_flight` and
`seqdev_messages_sent`, as do `audit devices`, `explain` and `forecast` under the policy `queue`. And as their conditions name
the status, a message that is marked as sent has a new entry in every index, the host's own too.

Beside a tick on {given.due:,} due contacts, which took {took:.1f} s, {count:,} updates of single rows of contacts and leads
took p50 {p50:.1f} ms, p99 {p99:.1f} ms, at most {most:.0f} ms. An update of a contact that a batch has claimed waits for the
end of that batch: the tick sees that at its end, and takes less from then on.
"""
    page.put("host", text)
    print(text)
    worst = max(statistics.median(ratios) for _, ratios in pairs)
    aims = ((worst, COST), (p99, P99), (most, MAX))
    return int(any(measured > aim * (1 + NOISE) for measured, aim in aims))


if __name__ == "__main__":
    sys.exit(main())
