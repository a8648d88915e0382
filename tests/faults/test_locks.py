"""What other sessions hold: rows, tables, the other order of locks."""

import random
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack

import psycopg

from tests.faults.processes import ended, start
from tests.faults.record import Held, fault
from tests.faults.world import SESSIONS, World, role, scale, wait

Worlds = Callable[..., World]

WAITING = SESSIONS + " and wait_event_type = 'Lock'"


@fault("serializable as the default, two ticks and the host at once")
def test_serializable_ticks_side_by_side_come_to_their_end(make_world: Worlds, held: Held) -> None:
    world = make_world(200)
    with role(world, "default_transaction_isolation = serializable"):
        processes = [start(world.url, "tick", "--batch-size", 10) for _ in range(2)]
        with psycopg.connect(world.url) as host:
            while any(process.poll() is None for process in processes):
                try:
                    host.execute("update leads set niche = niche where id in (select id from leads limit 5)")
                    host.commit()
                except psycopg.errors.SerializationFailure:
                    host.rollback()
        for process in processes:
            ran = ended(process)
            world.look(ran)
            assert ran.code == 0, ran.err
            held.tries += 1
    world.account()


@fault("foreign row locks on a third of the due contacts")
def test_locked_contacts_hold_nobody_else_back(make_world: Worlds, held: Held, expected: list[str]) -> None:
    for strength in ("update", "no key update", "share", "key share"):
        world = make_world()
        with psycopg.connect(world.url) as other:
            locked = other.execute(
                f"select id from sequence_contacts where get_byte(decode(md5(id::text), 'hex'), 0) % 3 = 0 for {strength}".encode()
            ).fetchall()
            summary = world.ok("tick", "--budget", "5s")
            free = world.host.value(
                "select count(*) from sequence_contacts where status = 'active' and contact_phone ~ '^601990'"
                " and not id = any(%s)", [row[0] for row in locked],
            )  # fmt: skip
            # The second steps of those who got the first one are there, and active; nobody else is.
            done = world.host.value(
                "select count(*) from sequence_contacts where status = 'completed' and sequence_stepid in (select id from sequence_steps where trigger = 'WARM')"
                " and contact_phone ~ '^601990'"
            )
            assert free == done, "somebody unlocked was left"
            assert summary["queued"]
        world.account(expected)
        held.tries += len(locked)


@fault("foreign row locks on leads, sequences and devices")
def test_locked_leads_and_devices_end_in_a_good_exit_and_are_done_afterwards(
    make_world: Worlds, held: Held, expected: list[str]
) -> None:
    for table in ("leads", "user_devices", "sequences", "sequence_steps", "users"):
        world = make_world()
        with psycopg.connect(world.url) as other:
            other.execute(f"select from {table} for update".encode())
            ran = world.run("tick", "--budget", "3s", SEQDEV_LOCK_TIMEOUT="1s")
            assert ran.code in (0, 13), ran
            world.nothing_left_behind()
            world.reconcile()
        world.account(expected)
        held.tries += 1


LOCKED = {
    # Exit codes of a tick and of a repair. 13, but where the table is not needed.
    "sequence_contacts": (13, 13),
    "broadcast_messages": (13, 0),
    "leads": (13, 13),
    "user_devices": (13, 13),
    "sequences": (13, 0),
    "sequence_steps": (13, 0),
    "seqdev.run": (13, 13),
    "seqdev.change": (0, 13),
}


@fault("ACCESS EXCLUSIVE held on each of 8 tables")
def test_a_locked_table_ends_in_13_within_the_patience(make_world: Worlds, held: Held) -> None:
    commands = (["tick", "--budget", "3s"], ["repair", "device", "device 11", "--to", "device 12", "--yes"])
    worlds = {table: make_world() for table in LOCKED}
    with ExitStack() as stack:
        running = []
        began = time.monotonic()
        for table, world in worlds.items():
            other = stack.enter_context(psycopg.connect(world.url))
            other.execute(f"lock table {table} in access exclusive mode".encode())
            running.append([start(world.url, *argv, SEQDEV_LOCK_TIMEOUT="1s") for argv in commands])
        for (table, world), processes in zip(worlds.items(), running, strict=True):
            for process, least in zip(processes, LOCKED[table], strict=True):
                ran = ended(process)
                world.look(ran, shows=True)
                assert ran.code in (least, 13), (table, ran)
                held.tries += 1
            world.nothing_left_behind()
        took = time.monotonic() - began
    assert took < 90
    held.note(f"all ended within {took:.0f} s")
    for world in worlds.values():
        world.account()


@fault("ACCESS EXCLUSIVE taken again and again for a moment")
def test_short_table_locks_only_delay(make_world: Worlds, held: Held, chance: random.Random) -> None:
    world = make_world(200)
    process = start(world.url, "tick", "--batch-size", 5)
    wait(lambda: world.host.value("select count(*) from seqdev.run"))
    while process.poll() is None:
        with psycopg.connect(world.url) as other:
            other.execute(
                f"lock table {chance.choice(['sequence_contacts', 'broadcast_messages', 'leads'])}".encode()
            )
            time.sleep(0.02)
        time.sleep(0.02)
        held.tries += 1
    ran = ended(process)
    world.look(ran)
    assert ran.code == 0, ran.err
    world.account()


@fault("repairs against ticks, in opposite orders")
def test_repairs_and_ticks_in_opposite_orders_never_fail_on_a_deadlock(
    make_world: Worlds, held: Held
) -> None:
    for _ in range(scale(3)):
        world = make_world(200)
        processes: list[subprocess.Popen[str]] = [
            start(world.url, *argv)
            for argv in (
                ["tick", "--batch-size", 50],
                ["tick", "--batch-size", 20, "--policy", "reassign"],
                ["repair", "device", "device 11", "--to", "device 12", "--yes", "--batch-size", 20],
                ["repair", "device", "device 12", "--to", "device 11", "--yes", "--batch-size", 30],
                ["leads", "assign", "--rebalance", "--yes", "--batch-size", 20],
                ["enroll", "--yes"],
            )
        ]
        for process in processes:
            ran = ended(process)
            world.look(ran, shows=True)
            assert ran.code in (0, 3), ran
            held.tries += 1
        world.nothing_left_behind()
        world.account()
