"""``make bench-rules``: what a tick costs with ten rules set, next to one with none.

    python -m tests.bench.rules [--due N] [--devices N] [--rounds N]

The same tick, under the same policy, on copies of two databases that differ in their rules alone, by turns; no limit
binds, and the window is open, so that both write the same messages. Counted is the CPU time of the client and of the
server, which other work on the machine lengthens least. Exit code 1: the aim is missed by more than noise.
"""

import argparse
import statistics
import sys

from tabulate import tabulate

from seqdev.postgres import embedded
from tests.bench.bench import HERE, NOISE, Aim, Server, say, started
from tests.bench.effort import processors, quiet
from tests.world import hours

RULES = {
    "max_in_flight": "5000",
    "max_per_hour": "5000",
    "max_per_day": "50000",
    "warm_up": "10000 +1000",
    "new_chats_per_day": "5000",
    "window": hours.around(-6, 6),
    "zone": "UTC",
    "grace": "1h",
    "return_home": "true",
    "max_lateness": "2d",
}
COST = 1.10
"""The aim: times the CPU time of a tick without rules, at most."""


def tick(server: Server, template: str) -> tuple[float, list[tuple[object, ...]]]:
    """CPU seconds of a tick on a copy of ``template``, and what the copy looks like then."""
    pid = embedded.status().pid
    assert pid
    with server.copy(template) as database:
        before = processors(pid)
        own = server.tick(database).cpu
        took = own + processors(pid) - before
        return took, server.run((HERE / "state.sql").read_text(), database)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.rules", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--due", type=int, default=60_000, help="due contacts [%(default)s]")
    parser.add_argument("--devices", type=int, default=3_000, help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=5, help="pairs [%(default)s]")
    given = parser.parse_args()
    with started() as server:
        ((version,),) = server.run("show server_version")
        quiet(server)
        say(f"PostgreSQL {version}; {given.due:,} due contacts of {given.devices:,} devices")
        server.make("plain", users=given.devices // 10, devices=given.devices, due=given.due)
        server.seqdev("plain", "rules", "set", "policy", "reassign", "--yes")
        server.run("create database ruled template plain strategy file_copy")
        for name, value in RULES.items():
            server.seqdev("ruled", "rules", "set", name, value, "--yes")
        rows = []
        for number in range(given.rounds):
            say(f"pair {number + 1} of {given.rounds}")
            # By turns, so that neither is always the first.
            turns = ("plain", "ruled") if number % 2 else ("ruled", "plain")
            took, states = {}, []
            for template in turns:
                took[template], state = tick(server, template)
                states.append(state)
            if states[0] != states[1] or states[0][0][0] != given.due:
                sys.exit(f"not the same change: {states}")
            rows.append((took["plain"], took["ruled"], took["ruled"] / took["plain"]))
    print(
        tabulate(
            [[f"{number:.2f}" for number in row] for row in rows],
            ["no rule: CPU s", "ten rules: CPU s", "ratio"],
            disable_numparse=True,
            colalign=("right", "right", "right"),
        )
    )
    print()
    aim = Aim("tick with ten rules, of one with none", COST, statistics.median(row[2] for row in rows), False)
    print(tabulate([aim.row()], ["", "measured", "aim", ""], disable_numparse=True))
    return int(aim.wanted * (1 + NOISE) < aim.measured)


if __name__ == "__main__":
    sys.exit(main())
