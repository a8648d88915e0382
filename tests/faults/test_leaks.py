"""Canaries: phones, names, texts and a password are looked for where they must not be."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from tests.faults.processes import ended, start
from tests.faults.reconcile import assert_no_leak
from tests.faults.record import Held, fault
from tests.faults.world import World
from tests.world.command import Ran
from tests.world.waiting import in_background

Worlds = Callable[..., World]

SECRET = "CANARY-password"

COMMANDS = [
    ["tick", "--batch-size", "10"],
    ["tick", "--policy", "reassign"],
    ["tick", "--dry-run"],
    ["tick", "--compare"],
    ["--mask", "enroll", "--yes"],
    ["--mask", "repair", "assigned", "--since", "1d", "--yes"],
    ["--mask", "repair", "device", "device 11", "--to", "device 12", "--yes"],
    ["--mask", "repair", "missing", "--yes"],
    ["--mask", "repair", "stuck", "--yes"],
    ["--mask", "repair", "list"],
    ["audit", "all"],
    ["--mask", "audit", "mismatches", "--all", "--matches"],
    ["--mask", "audit", "contacts"],
    ["--mask", "audit", "leads"],
    ["audit", "devices"],
    ["db", "check"],
]


class Spy:
    """Looks at process lists, the kernel's and the server's, as often as it can."""

    def __init__(self, world: World) -> None:
        info = world.host.connection.info
        self._url = f"host={info.host} user={info.user} dbname={info.dbname}"
        self.seen: set[str] = set()
        self.looks = 0

    def __call__(self, over: threading.Event) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not over.wait(0.002):
                rows = connection.execute(
                    "select concat_ws(' ', application_name, query, state) from pg_stat_activity"
                    " where datname = current_database() and pid <> pg_backend_pid()"
                ).fetchall()
                self.seen |= {str(row[0]) for row in rows}
                for file in Path("/proc").glob("[0-9]*/cmdline"):
                    try:
                        text = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    except OSError:
                        continue
                    if "seqdev" in text and "pytest" not in text:
                        self.seen.add(text)
                self.looks += 1


def spied(world: World, argv: list[str]) -> Ran:
    """The command in a process of its own, while the spy looks."""
    ran = ended(start(f"{world.url} password={SECRET}", *argv))
    time.sleep(0.01)
    return ran


@fault(
    "canaries looked for in stdout, stderr, the journal of runs, /proc/*/cmdline and pg_stat_activity",
    quick=False,
)
def test_no_command_shows_a_phone_a_text_or_a_password(make_world: Worlds, held: Held) -> None:
    world = make_world()
    spy = Spy(world)
    said = []
    with in_background(spy):
        for argv in COMMANDS:
            ran = spied(world, argv)
            assert ran.code in (0, 3), (argv, ran)
            said.append((argv, ran))
    for argv, ran in said:
        assert_no_leak(ran.err, f"stderr of {argv}")
        # Names are what an audit is there to show; phones are masked.
        assert_no_leak(ran.out.replace("CANARY-NAME", ""), f"stdout of {argv}")
        held.tries += 1
    assert spy.looks > 20
    assert any("seqdev tick" in text for text in spy.seen), "the spy saw nothing"
    assert any("tick/claim.sql" in text for text in spy.seen), "the spy saw no statement"
    for text in spy.seen:
        assert_no_leak(text, "a process list")
    world.account()


@fault("canaries in the errors of refused logins, statements and servers")
def test_no_error_shows_a_phone_a_text_or_a_password(make_world: Worlds, held: Held) -> None:
    world = make_world()
    info = world.host.connection.info
    for url in (
        f"postgresql://user:{SECRET}@127.0.0.1:1/none",
        f"postgresql://user:{SECRET}@x@127.0.0.1:1/none",
        f"postgresql://user:{SECRET}@nowhere.invalid/none",
        f"host={info.host} user=nobody_here password={SECRET} dbname={info.dbname}",
        f"host={info.host} user={info.user} password={SECRET} dbname=none_such",
        f"host={info.host} user={info.user} pasword={SECRET}",
        f"host={info.host} user={info.user} password='{SECRET}",
    ):
        for options in ([], ["--debug"]):
            ran = ended(start(url, *options, "tick"))
            assert ran.code in (2, 12, 13), (url, ran)
            assert SECRET.lower() not in (ran.out + ran.err).lower().replace("traceback", ""), url
            held.tries += 1
    # What the host's own constraints and triggers say has data in it.
    for change in (
        "create unique index on broadcast_messages (recipient_phone, sequence_id) where campaign_id is null and sequence_id is not null",
        "alter table broadcast_messages add check (recipient_phone <> '601990000001')",
        "alter table broadcast_messages alter column recipient_phone type varchar(11)",
        "create function loud() returns trigger language plpgsql as $$ begin raise '% %', new.recipient_phone, new.content; end $$;"
        " create trigger loud before insert on broadcast_messages for each row execute function loud()",
    ):
        world = make_world()
        try:
            world.host.connection.execute(change.encode())
        except psycopg.Error:
            continue
        ran = ended(start(world.url, "tick"))
        assert_no_leak(ran.err, f"stderr after {change}")
        assert_no_leak(ran.out, "stdout")
        held.tries += 1
        world.reconcile()
