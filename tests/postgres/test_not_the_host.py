"""On a database that is not the host's, nothing leads to what would change it: check the connection first."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.world.command import Cli

READING = (
    ["audit", "all"],
    ["audit", "mismatches"],
    ["top", "--once"],
    ["explain", "60120000001"],
    ["metrics"],
)
WRITING = (["tick"], ["enroll", "--yes"], ["repair", "missing", "--yes"], ["db", "upgrade", "--yes"])
CHECK = ["db", "check"]

ANOTHERS = "create table users (id bigserial primary key, email text); create table orders (id bigint)"
SOME = (
    "create table users (id uuid primary key); create table leads (id uuid primary key, phone text, name text);"
    " create table user_devices (id uuid primary key, user_id uuid, device_name text, status text)"
)
LACKS = {
    "": "lacks users, user_devices, leads, sequences, sequence_steps, sequence_contacts, broadcast_messages",
    ANOTHERS: "lacks users (its id is bigint, not uuid), user_devices, leads, ",
    SOME: "lacks sequences, sequence_steps, sequence_contacts, broadcast_messages",
}


@pytest.mark.cases(3)
@pytest.mark.parametrize("tables", LACKS)
def test_whatever_is_asked_it_says_so_and_leads_to_no_change(
    empty_database: str, connect: Callable[[str], Any], seqdev: Cli, tables: str
) -> None:
    there = connect(empty_database)
    there.execute(tables or "select")
    (name,) = there.execute("select current_database()").fetchone()
    for argv in (*READING, CHECK, *WRITING):
        ran = seqdev(*argv)
        assert ran.code == 10, argv
        assert "this does not look like the host's database: " in ran.err, argv
        assert f"/{name}, schema public, {LACKS[tables]}" in ran.err, argv
        assert "check the connection before anything else: --database-url" in ran.err, argv
        assert "db upgrade" not in ran.err, argv
        assert ("db init" in ran.err) == (not tables), argv
    left = there.execute("select count(*) from pg_namespace where nspname = 'seqdev'").fetchone()
    assert left == (0,)
    if tables:
        ran = seqdev("db", "init")
        assert (ran.code, "not an empty database" in ran.err, "db upgrade" in ran.err) == (10, True, False)
        assert "check the connection" in ran.err


def test_a_schema_that_is_not_there_is_named(database: str, seqdev: Cli) -> None:
    ran = seqdev("--schema", "app", "audit", "all")
    assert ran.code == 10
    assert "schema app, lacks that schema; check the connection" in ran.err
    assert "db init" not in ran.err
    assert "db upgrade" not in ran.err


def test_what_has_no_remedy_is_not_put_right_by_an_upgrade(
    database: str, connect: Callable[[str], Any], seqdev: Cli
) -> None:
    connect(database).execute("alter table sequences drop column is_active")
    ran = seqdev("db", "check")
    assert ran.code == 10
    assert "what has no remedy is to be put right by hand first" in ran.err
    assert "does not look like" not in ran.err


def test_a_database_that_only_was_not_upgraded_is_the_hosts(
    database: str, connect: Callable[[str], Any], seqdev: Cli
) -> None:
    connect(database).execute("drop schema seqdev cascade")
    ran = seqdev("audit", "all")
    assert ran.code == 0
    assert "to bring it up to date: seqdev db upgrade" in ran.err
