"""Other sessions and the role's own settings: locks held, isolation, timeouts, look-alikes, hidden rows."""

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.faults.conftest import scale
from tests.faults.processes import ended, start
from tests.faults.reconcile import outcome
from tests.faults.record import Held, fault
from tests.faults.world import SESSIONS, World, wait

Worlds = Callable[..., World]

WAITING = SESSIONS + " and wait_event_type = 'Lock'"


@pytest.fixture
def expected(make_world: Worlds) -> list[str]:
    """The outcome of a tick that nothing befalls."""
    world = make_world()
    world.ok("tick")
    world.account()
    return outcome(world.host)


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


@fault("the role's default: {setting}", setting=[
    "default_transaction_isolation = serializable",
    "default_transaction_isolation = 'repeatable read'",
    "statement_timeout = '50ms'",
    "lock_timeout = '1ms'",
    "idle_in_transaction_session_timeout = '5ms'",
    "default_transaction_read_only = on",
    "timezone = 'Pacific/Kiritimati'",
    "datestyle = 'SQL, DMY'",
    "intervalstyle = 'sql_standard'",
    "standard_conforming_strings = off",
    "client_encoding = latin1",
    "bytea_output = escape",
    "plan_cache_mode = force_generic_plan",
    "session_replication_role = replica",
    "row_security = off",
    "extra_float_digits = -15",
    "search_path = 'nowhere'",
])  # fmt: skip
def test_the_settings_of_a_role_change_nothing(
    make_world: Worlds, held: Held, expected: list[str], setting: str
) -> None:
    world = make_world()
    with role(world, setting, superuser="replica" in setting):
        # More than 50 ms of work, in a transaction of its own settings.
        ran = world.run("tick", "--batch-size", 20)
        assert ran.code == 0, ran.err
    world.account(expected)
    held.tries += 1


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
            ran = world.run("tick", "--budget", "3s", SEQDEV_LOCK_TIMEOUT="500ms")
            assert ran.code in (0, 13), ran
            world.nothing_left_behind()
            world.reconcile()
        world.account(expected)
        held.tries += 1


@fault("ACCESS EXCLUSIVE held on {table}", table=[
    "sequence_contacts", "broadcast_messages", "leads", "user_devices", "sequences", "sequence_steps", "seqdev.run",
    "seqdev.change",
])  # fmt: skip
def test_a_locked_table_ends_in_13_within_the_patience(
    make_world: Worlds, held: Held, expected: list[str], table: str
) -> None:
    world = make_world()
    commands = (["tick", "--budget", "3s"], ["repair", "device", "device 11", "--to", "device 12", "--yes"])
    with psycopg.connect(world.url) as other:
        other.execute(f"lock table {table} in access exclusive mode".encode())
        began = time.monotonic()
        running = [start(world.url, *argv, SEQDEV_LOCK_TIMEOUT="1s") for argv in commands]
        for argv, process in zip(commands, running, strict=True):
            ran = ended(process)
            world.look(ran, shows=True)
            assert ran.code in (0, 13), ran
            # Every statement that needs the table is in both; only these two can do without.
            assert ran.code == 13 or table in (
                "seqdev.change",
                "broadcast_messages",
                "sequences",
                "sequence_steps",
            ), (argv, ran)
        assert time.monotonic() - began < 60
        world.nothing_left_behind()
    world.reconcile()
    world.host.rows("update seqdev.run set command = command")
    world.account()
    held.tries += len(commands)


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


@fault("a hostile search_path with look-alike tables, functions and operators")
def test_look_alikes_in_the_search_path_are_not_met(
    make_world: Worlds, held: Held, expected: list[str]
) -> None:
    world = make_world()
    rows = world.host.rows
    rows("create schema evil")
    for table in (
        "sequence_contacts",
        "broadcast_messages",
        "leads",
        "user_devices",
        "sequences",
        "sequence_steps",
    ):
        rows(f"create table evil.{table} (like public.{table} including all)")
    for function in (
        "now() returns timestamptz",
        "md5(text) returns text",
        "btrim(text) returns text",
        "count(bigint) returns bigint",
    ):
        if not function.startswith("count"):
            rows(f"create function evil.{function} language plpgsql as $$ begin raise 'fooled'; end $$")
    rows(
        "create function evil.same(uuid, uuid) returns boolean language plpgsql as $$ begin raise 'fooled'; end $$"
    )
    rows("create operator evil.= (leftarg = uuid, rightarg = uuid, function = evil.same)")
    with role(world, "search_path = evil, public, pg_catalog") as name:
        rows(f"grant usage on schema evil to {name}")
        rows(f"grant all on all tables in schema evil to {name}")
        for argv in (
            ["tick"],
            ["enroll", "--dry-run"],
            ["repair", "assigned", "--dry-run"],
            ["audit", "all"],
            ["db", "check"],
        ):
            ran = world.run(*argv, shows=True)
            assert ran.code in (0, 3), (argv, ran)
            held.tries += 1
    for table in ("sequence_contacts", "broadcast_messages", "leads"):
        assert world.host.value(f"select count(*) from evil.{table}") == 0
    rows("drop schema evil cascade")
    world.account(expected)


@fault("row-level security that hides rows from the role")
def test_rows_hidden_by_a_policy_are_not_taken_for_missing(
    make_world: Worlds, held: Held, expected: list[str]
) -> None:
    for table in ("leads", "sequence_contacts", "broadcast_messages", "user_devices"):
        world = make_world()
        world.host.rows(f"alter table {table} enable row level security")
        world.host.rows(f"create policy half on {table} using (get_byte(uuid_send(id), 15) < 128)")
        with role(world):
            for argv in (["tick"], ["enroll", "--yes"], ["repair", "missing", "--yes"]):
                ran = world.run(*argv)
                assert ran.code == 12, (table, argv, ran)
                held.tries += 1
        world.host.rows(f"alter table {table} disable row level security")
        world.account(expected)


def changed_in_mid_run(world: World, *change: str) -> Any:
    """Ticks begin; the schema changes under them; how the first one ended."""
    process = start(world.url, "tick", "--batch-size", 3)
    wait(lambda: world.host.value("select count(*) from broadcast_messages where campaign_id is null") > 30)
    for statement in change:
        world.host.rows(statement)
    ran = ended(process)
    world.look(ran)
    return ran


@fault("column {column} dropped in mid-run", column=[
    "broadcast_messages.recipient_name", "sequence_contacts.processing_device_id", "sequence_steps.next_trigger",
    "user_devices.status", "leads.trigger",
])  # fmt: skip
def test_a_column_dropped_in_mid_run_ends_it_in_10(make_world: Worlds, held: Held, column: str) -> None:
    world = make_world(200)
    table, name = column.split(".")
    kept = world.host.value("select count(*) from broadcast_messages")
    ran = changed_in_mid_run(world, f"alter table {table} rename {name} to gone_{name}")
    assert ran.code == 10, ran
    # Not half done: put back, everything adds up.
    assert world.run("tick").code in (10, 0)
    world.host.rows(f"alter table {table} rename gone_{name} to {name}")
    assert world.host.value("select count(*) from broadcast_messages") >= kept
    world.nothing_left_behind()
    world.account()
    held.tries += 1


@fault("database renamed away, schema dropped, role locked out in mid-run")
def test_what_is_taken_away_in_mid_run_ends_it_with_its_code(make_world: Worlds, held: Held) -> None:
    for taken, given, code in (
        ("alter schema seqdev rename to gone", "alter schema gone rename to seqdev", 10),
        (
            "alter table broadcast_messages rename to gone",
            "alter table gone rename to broadcast_messages",
            10,
        ),
    ):
        world = make_world(200)
        ran = changed_in_mid_run(world, taken)
        assert ran.code == code, ran
        world.host.rows(given)
        world.account()
        held.tries += 1
    world = make_world(200)
    with role(world) as name:
        ran = changed_in_mid_run(world, f"revoke insert on broadcast_messages from {name}")
        assert ran.code == 12, ran
    world.account()
    held.tries += 1


@fault(
    "a trigger that raises on one row",
)
def test_a_poisonous_row_is_set_aside_and_the_others_go(make_world: Worlds, held: Held) -> None:
    world = make_world()
    victim = world.host.value(
        "select contact_phone from sequence_contacts where status = 'active' and contact_phone ~ '^601990' order by id limit 1"
    )
    world.host.rows(
        "create function poison() returns trigger language plpgsql as"
        " $$ begin raise sqlstate '22023' using message = 'CANARY ' || new.recipient_phone; end $$"
    )
    world.host.rows(
        "create trigger poison before insert on broadcast_messages for each row"
        f" when (new.recipient_phone = '{victim}') execute function poison()"
    )
    ran = world.run("tick", "--batch-size", 20)
    assert ran.code in (0, 3), ran.err
    left = world.host.rows(
        "select contact_phone, last_error from sequence_contacts where status = 'active'"
        " and contact_phone ~ '^601990' and next_trigger_time < now() at time zone 'UTC' - interval '50 seconds'"
    )
    assert {row.contact_phone for row in left} == {victim}, "others were held back"
    assert all(row.last_error and "CANARY" not in row.last_error for row in left)
    world.reconcile()
    world.host.rows("drop trigger poison on broadcast_messages")
    held.tries += 1
