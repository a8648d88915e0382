"""What the role brings along, what it may see, and a schema that changes under it."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.processes import ended, start
from tests.faults.reconcile import outcome
from tests.faults.record import Held, fault
from tests.faults.world import SESSIONS, World, role, wait

Worlds = Callable[..., World]

WAITING = SESSIONS + " and wait_event_type = 'Lock'"


SETTINGS = [
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
]


@pytest.mark.thorough
@fault("a role with all of these defaults at once", quick=True)
def test_the_settings_of_a_role_change_nothing_together(make_world: Worlds, held: Held) -> None:
    world = make_world()
    world.ok("tick", "--batch-size", 20)
    world.account()
    wanted, world = outcome(world.host), make_world()
    with role(world, *SETTINGS, superuser=True):
        ran = world.run("tick", "--batch-size", 20)
        assert ran.code == 0, ran.err
    world.account(wanted)
    held.tries += len(SETTINGS)


@fault("the role's default: {setting}", setting=SETTINGS)
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
def test_rows_hidden_by_a_policy_are_not_taken_for_missing(make_world: Worlds, held: Held) -> None:
    for table in ("leads", "sequence_contacts", "broadcast_messages", "user_devices"):
        world = make_world()
        world.host.rows(f"alter table {table} enable row level security")
        world.host.rows(f"create policy half on {table} using (get_byte(uuid_send(id), 15) < 128)")
        with role(world):
            for argv in (["tick"], ["enroll", "--yes"], ["repair", "missing", "--yes"]):
                ran = world.run(*argv)
                # Enrolment and repair can do without the messages.
                needless = table == "broadcast_messages" and argv != ["tick"]
                assert ran.code == 12 or (needless and ran.code in (0, 3)), (table, argv, ran)
                held.tries += 1
        world.host.rows(f"alter table {table} disable row level security")
        world.account()


def changed_in_mid_run(world: World, *change: str) -> Any:
    """Ticks begin; the schema changes under them; how the first one ended."""
    process = start(world.url, "tick", "--batch-size", 3)
    wait(lambda: world.host.value("select count(*) from broadcast_messages where campaign_id is null") > 30)
    for statement in change:
        world.host.rows(statement)
    ran = ended(process)
    world.look(ran)
    return ran


@fault("a column dropped in mid-run, each of five", column=[
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


@fault("a trigger that raises on one row")
def test_a_poisonous_row_is_quarantined_and_the_others_go(make_world: Worlds, held: Held) -> None:
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
    assert ran.code == 3, ran.err
    due = world.host.value(
        "select count(*) from sequence_contacts where status = 'active' and contact_phone ~ '^601990'"
        " and next_trigger_time < now() at time zone 'UTC' - interval '50 seconds'"
    )
    assert due == 0, "others were held back"
    aside = world.host.rows(
        "select contact_phone, last_error from sequence_contacts where status = 'set_aside'"
    )
    assert {row.contact_phone for row in aside} == {victim}
    assert all("22023" in row.last_error and "CANARY" not in row.last_error for row in aside)
    world.reconcile()
    world.host.rows("drop trigger poison on broadcast_messages")
    assert world.run("repair", "quarantined", "--yes", shows=True).code == 0
    world.account()
    held.tries += 1
