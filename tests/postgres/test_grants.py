"""Roles: each command works with its role alone, no role can do more, and none sees a part of the rows."""

import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import namedtuple_row

from seqdev.cli import main
from seqdev.errors import Exit
from seqdev.postgres import binaries as server_binaries
from tests.world import citus
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.inbox import Inbox
from tests.world.repairs import message

TEMPLATE = f"grants_template{citus.OWN}"

HOST_TABLES = [
    "users",
    "user_devices",
    "leads",
    "sequences",
    "sequence_steps",
    "sequence_contacts",
    "broadcast_messages",
    "device_load_balance",
]
OWN_TABLES = [
    *("seqdev.run", "seqdev.change", "seqdev.pause", "seqdev.setting", "seqdev.blocked", "seqdev.rule"),
]

READS = [
    "db check",
    "tick --dry-run",
    "tick --compare",
    "forecast",
    "top",
    "enroll --dry-run",
    "repair assigned --dry-run",
    "repair missing --dry-run",
    "repair device OFF --to A --dry-run",
    "repair home --dry-run",
    "repair stuck --dry-run",
    "repair quarantined --dry-run",
    "repair stranded --dry-run",
    "repair step-gone --dry-run",
    "repair no-lead --dry-run",
    "repair delay-changed --dry-run",
    "repair written-by-other --dry-run",
    "repair undo {run} --dry-run",
    "repair list",
    "metrics --by device",
    "stats --by step,status",
    "runs",
    "runs --every 1m",
    "journal prune --keep 30d --dry-run",
    "report",
    "rules list",
    "config show",
    "rules get max_per_hour --device A",
    "rules history",
    "rules set policy strict --dry-run",
    "repair show {run}",
    "contacts stop 60120000001 --why x --dry-run",
    "contacts resume 60120000001 --dry-run",
    "contacts skip 60120000001 --sequence warm --dry-run",
    "contacts restart 60120000001 --sequence warm --why x --dry-run",
    "resume --device A --dry-run",
    "block add 60120000001 --why x --dry-run",
    "block remove 60120000001 --dry-run",
    "block list",
    "leads assign --distribute --dry-run",
    "leads merge --dry-run",
    "audit all",
    "audit mismatches",
    "audit devices",
    "audit devices --if-lost A",
    "audit contacts",
    "audit sequences",
    "audit leads",
    "audit collisions",
    "audit failed",
    "audit replies",
    "audit writers",
    "audit run {statement}",
    "explain 60120000001",
    "explain 60120000001 --at 1s",
    "audit mismatches --at 1s",
    "audit all --at 1s",
]
WRITES = {
    "tick": ["tick", "tick --policy strict", "tick --policy fallback", "tick --policy reassign"],
    "enroll": [
        "enroll --yes --user {user}",
        "leads import {leads} --user {user} --device A --rejects {rejects}",
        "leads import {leads} --user {user} --distribute --existing update --rejects {rejects}",
    ],
    "repair": [
        "repair assigned --yes",
        "repair missing --yes",
        "repair stuck --yes",
        "repair quarantined --yes",
        "repair stranded --yes",
        "repair step-gone --yes",
        "repair no-lead --end --yes",
        "repair delay-changed --yes",
        "repair written-by-other --yes",
        "repair queued --cancel --older-than 0s --max 1 --yes",
        "repair failed --cause other --yes",
        "repair device OFF --spread --queue --until-back --yes",
        "repair undo {run} --yes",
        "contacts skip {waits} --sequence warm --yes",
        "contacts restart {waits} --sequence warm --why x --yes",
        "contacts stop {waits} --why x --yes",
        "contacts resume {waits} --yes",
        "block add {waits} --why x --yes",
        "block remove {waits} --yes",
        "leads assign --distribute --yes",
        "leads merge --yes",
        "rules set policy strict --yes",
        "rules set policy fallback --yes",
        "rules unset policy --yes",
        "pause --device A --why x",
        "resume --device A --spread 1h --yes",
    ],
    "prune": ["journal prune --keep 30d --yes"],
}
ALLOWED = {
    "tick": ["db check", "tick --dry-run", "tick --compare", *WRITES["tick"]],
    "enroll": ["db check", "enroll --dry-run", *WRITES["enroll"]],
    # The audits: it has all that audit has, see below.
    "repair": [*(command for command in READS if command.startswith("repair")), *WRITES["repair"]],
    "audit": READS,
    "prune": ["journal prune --keep 30d --dry-run", *WRITES["prune"]],
}
REFUSED = {
    "tick": [
        "rules set policy strict --yes",
        "pause --device A --why x",
        "repair missing --yes",
        "leads assign --distribute --yes",
        WRITES["enroll"][1],
    ],
    "enroll": [
        "tick",
        "rules set policy strict --yes",
        "pause --device A --why x",
        "repair missing --yes",
        "leads assign --distribute --yes",
    ],
    "repair": ["tick", "enroll --yes", WRITES["enroll"][1], *WRITES["prune"]],
    "audit": [
        "tick",
        "rules set policy strict --yes",
        "pause --device A --why x",
        "enroll --yes",
        "repair missing --yes",
        WRITES["enroll"][1],
        *WRITES["prune"],
    ],
    "prune": ["tick", "rules set policy strict --yes", "enroll --yes", "repair missing --yes"],
}

STATE = """
    select 'contact', status, assigned_device_id::text, (processing_device_id is null)::text, last_error, count(*)
    from sequence_contacts group by 1, 2, 3, 4, 5
    union all select 'message', status, device_id::text, null, error_message, count(*)
    from broadcast_messages group by 1, 2, 3, 4, 5
    union all select 'lead', trigger, device_id::text, niche, name, count(*) from leads group by 1, 2, 3, 4, 5
    union all select 'run', split_part(command, ' ', 1), (finished_at is null)::text, null, null, count(*)
    from seqdev.run group by 1, 2, 3, 4, 5
    union all select 'change', column_name, old.value, new.value, null, count(*)
    from seqdev.change
    cross join lateral (select case when column_name not in ('id', 'next_trigger_time', 'since', 'scheduled_at') then old_value end) as old (value)
    cross join lateral (select case when column_name not in ('id', 'next_trigger_time', 'since', 'scheduled_at') then new_value end) as new (value)
    group by 1, 2, 3, 4, 5
    order by 1, 2, 3, 4, 5
"""


class World:
    """A database in which every command has something to do, and the words that fill the commands."""

    def __init__(self, url: str, words: dict[str, str]) -> None:
        self.url = url
        self.words = words

    def arguments(self, command: str) -> list[str]:
        return [word.format(**self.words) for word in command.split()]


@pytest.fixture(scope="session")
def prepared(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world that the tests have copies of."""
    tmp_path = tmp_path_factory.mktemp("grants")
    with psycopg.connect(server, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"create database {TEMPLATE} template {template}".encode())
    database = f"{server} dbname={TEMPLATE}"

    def seqdev(*argv: str) -> int:
        return main(["--database-url", database, *argv])

    with psycopg.connect(database, autocommit=True, row_factory=namedtuple_row) as connection:
        host = Host(connection)
        user = host.user()
        host.rows("alter table users add column email text")
        first, off = host.device(user, "A"), host.device(user, "OFF", "offline")
        host.device(user, "B")
        sequence, (entry, _) = host.simple_sequence(user, steps=2)
        host.simple_sequence(user, "NEXT")
        ends = host.sequence(user, "ends")
        last = host.step(ends, 1, "ENDS", "NEXT")
        for number in range(1, 4):
            host.lead(user, first, f"6012000000{number}", "ENDS")
            host.contact(ends, last, f"6012000000{number}", first if number < 3 else None)
        for number in range(1, 4):
            host.lead(user, off, f"6012000010{number}", "WARM")
            host.contact(sequence, entry, f"6012000010{number}", off)
        # What a tick has left behind: sent by another device, and one that failed.
        assert seqdev("tick", "--policy", "fallback", "--max-messages", "5") == 0
        host.rows(
            "update broadcast_messages set status = 'failed', error_message = 'no route'"
            " where id in (select id from broadcast_messages order by device_id, recipient_phone limit 1)"
        )
        for number in range(1, 4):
            host.lead(user, off, f"6012000020{number}", "WARM")
            host.lead(user, None, f"6012000030{number}", "WARM")
            host.contact(sequence, entry, f"6012000040{number}", first)
            host.contact(sequence, entry, f"6012000050{number}", off)
            host.contact(
                sequence,
                entry,
                f"6012000060{number}",
                first,
                timedelta(hours=1),
                processing_device_id=off,
                processing_started_at="2020-01-01",
            )
            host.contact(
                sequence, entry, f"6012000080{number}", first, timedelta(hours=1), status="set_aside"
            )
            host.lead(user, first, f"6012000070{number}")
            host.contact(sequence, entry, f"6012000070{number}", None, timedelta(hours=1))
        # For the repairs of what stands still: a row made beforehand, one of a deleted step, one without a lead, one
        # that another processor has written, one due by another delay, and a message in the queue of OFF.
        later = host.value(
            "select id from sequence_steps where sequence_id = %s and day_number = 2", sequence
        )
        host.contact(sequence, entry, "60120000901", first, status="completed")
        host.contact(sequence, later, "60120000901", first, status="pending")
        host.contact(sequence, UUID(int=1), "60120000902", first, current_trigger="WARM")
        host.contact(sequence, entry, "60120000903", first, lead=False)
        message(host, host.contact(sequence, entry, "60120000904", first), first, own=False)
        for phone in ("60120000906", "+60120000906"):
            host.lead(user, first, phone)
        host.rows("update sequence_steps set trigger_delay_hours = 48 where id = %s", later)
        host.rows(
            "insert into broadcast_messages (user_id, device_id, recipient_phone, status)"
            " values (%s, %s, '60120000905', 'pending')",
            *(user, off),
        )
        # Somebody may enter again.
        once, (only,) = host.simple_sequence(user, "ONCE")
        host.rule("reenrol_after", "1d", sequence=once)
        host.contact(once, only, "60120000908", first, status="completed", completed_at=datetime(2026, 1, 1))
        host.lead(user, first, "60120000908", "ONCE")
        # Somebody replies; a row and a message are to come for them.
        host.rule("stop_on_reply", "true", sequence=sequence)
        host.contact(sequence, later, "60120000907", first, timedelta(hours=1))
        for status in ("sent", "pending"):
            host.rows(
                "insert into broadcast_messages (user_id, device_id, recipient_phone, sequence_id, status, sent_at)"
                " values (%s, %s, '60120000907', %s, %s, case when %s::text = 'sent' then timestamp '2026-01-01' end)",
                *(user, first, sequence, status, status),
            )
        Inbox(host).receives(first, "60120000907@s.whatsapp.net")
        # As the host writes them.
        host.rows(
            "update broadcast_messages set content = coalesce(content, ''), media_url = coalesce(media_url, ''),"
            " recipient_name = coalesce(recipient_name, '')"
        )
        assert seqdev("repair", "device", "OFF", "--to", "B", "--max", "1", "--yes") == 0
        run = host.value("select id from seqdev.run where command like 'repair%%'")
        # A year ago, of somebody who is gone.
        host.rows(
            "with run as (insert into seqdev.run (id, command, started_at, version)"
            " values (gen_random_uuid(), 'tick', now() - interval '1 year', '1') returning id, started_at)"
            " insert into seqdev.change (run_id, table_name, row_id, column_name, changed_at)"
            " select id, 'sequence_contacts', gen_random_uuid(), 'status', started_at from run"
        )
    if citus.URL:
        citus.leave(server, TEMPLATE)
    leads = tmp_path / "leads.csv"
    leads.write_text("phone,name\n60120000800,New\n60120000801,Newer\n60120000201,Known\nx,Bad\n")
    statement = tmp_path / "own.sql"
    statement.write_text(
        "-- A statement of one's own\n-- Row:\n--   n  bigint  rows\n-- Locks: none\nselect count(*) as n from leads;\n"
    )
    return World(
        database,
        {
            "user": str(user),
            "run": str(run),
            "leads": str(leads),
            "rejects": str(tmp_path / "rejects.csv"),
            "statement": str(statement),
            "waits": "60120000701",
        },
    )


@pytest.fixture
def world(prepared: World, make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> World:
    """A copy of it, which every command works on unless told otherwise."""
    url = make_database(TEMPLATE)
    monkeypatch.setenv("SEQDEV_DATABASE_URL", url)
    return World(url, prepared.words)


@pytest.fixture
def host(world: World) -> Iterator[Host]:
    with psycopg.connect(world.url, autocommit=True, row_factory=namedtuple_row) as connection:
        yield Host(connection)


@pytest.fixture
def login() -> Iterator[Callable[..., str]]:
    """Makes a login role that can do nothing in a database, PUBLIC's defaults included; returns its URL."""
    made: list[tuple[str, str]] = []

    def make(database: str, role: str = "seqdev_tester") -> str:
        with psycopg.connect(database, autocommit=True) as connection:
            name = connection.info.dbname
            connection.execute(f"create role {role} login".encode())
            made.append((database, role))
            connection.execute(f"revoke all on database {name} from public".encode())
            connection.execute("revoke all on schema public from public")
        return database.replace("user=postgres", f"user={role}")

    yield make
    for database, role in reversed(made):
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(f"drop owned by {role} cascade".encode())
            connection.execute(f"drop role {role}".encode())


def state(url: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(STATE.encode()).fetchall()


def without_ids(text: str) -> str:
    return re.sub("[0-9a-f-]{36}", "ID", text)


@pytest.mark.cases(1)
@pytest.mark.parametrize("role", ALLOWED)
def test_each_command_does_with_its_role_alone_what_it_does_for_the_owner(
    role: str,
    world: World,
    make_database: Callable[[str], str],
    login: Callable[..., str],
    seqdev: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_role, by_owner = world.url, make_database(TEMPLATE)
    url = login(by_role)
    assert seqdev("db", "grants", role, "--to", "seqdev_tester", "--yes").code == 0
    before = state(by_owner)
    for command in ALLOWED[role]:
        monkeypatch.setenv("SEQDEV_DATABASE_URL", by_owner)
        expected = seqdev(*world.arguments(command))
        monkeypatch.setenv("SEQDEV_DATABASE_URL", url)
        ran = seqdev(*world.arguments(command))
        assert expected.code in (0, 3), expected.err
        # A role that may not write, or not read every message, makes a check or two less, and says so.
        if (role, command) != ("enroll", "db check"):
            assert ran.code == expected.code, command
            assert len(ran.out.splitlines()) == len(expected.out.splitlines()), command
        if command != "db check":
            assert without_ids(ran.err) == without_ids(expected.err), command
        after = state(by_owner)
        assert state(by_role) == after, command
        # Otherwise it would prove nothing.
        assert (after != before) is (command in WRITES.get(role, [])), command
        before = after


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("role", "command"),
    [
        ("audit", "audit devices --user"),
        ("enroll", "enroll --dry-run --user"),
        ("repair", "repair missing --dry-run --user"),
    ],
)
def test_a_role_may_read_a_name_of_users_where_there_is_one_and_never_an_email(
    role: str,
    command: str,
    world: World,
    login: Callable[..., str],
    seqdev: Cli,
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    connect: Callable[[str], Any],
) -> None:
    url = login(world.url)
    assert seqdev("db", "grants", role, "--to", "seqdev_tester", "--yes").code == 0
    # What the host has added since.
    host.rows("alter table users add full_name varchar(255), add username text, add password_hash text")
    host.rows("update users set full_name = 'Alice Tan', email = 'alice@example.com', username = 'at'")
    monkeypatch.setenv("SEQDEV_DATABASE_URL", url)
    ran = seqdev(*command.split(), "alice tan")
    assert (ran.code, ran.out) == (2, "")
    assert "this role may not read users.full_name, users.username, users.email: give its id, or" in ran.err
    assert seqdev(*command.split(), world.words["user"][:8]).code in (0, 3)
    monkeypatch.setenv("SEQDEV_DATABASE_URL", world.url)
    ran = seqdev("db", "grants", role, "--to", "seqdev_tester", "--yes")
    assert "grant select (id, full_name) on table public.users to seqdev_tester;" in ran.out
    monkeypatch.setenv("SEQDEV_DATABASE_URL", url)
    assert seqdev(*command.split(), "alice tan").code in (0, 3)
    ran = seqdev(*command.split(), "alice@example.com")
    assert (ran.code, "may not read users.username, users.email" in ran.err) == (2, True)
    with connect(url) as session:
        for column in ("email", "username", "password_hash"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(f"select {column} from users".encode())


def test_who_repairs_can_do_all_that_an_auditor_can(database: str, seqdev: Cli) -> None:
    audit, repair = (
        set(re.findall("^grant .*?;", seqdev("db", "grants", role, "--to", "postgres").out, re.M))
        for role in ("audit", "repair")
    )
    assert len(audit) > 10
    assert audit < repair


def test_who_repairs_can_pause_and_go_on_and_nobody_else(
    world: World, login: Callable[..., str], seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for role in ("repair", "tick"):
        url = login(world.url, f"seqdev_{role}_tester")
        assert seqdev("db", "grants", role, "--to", f"seqdev_{role}_tester", "--yes").code == 0
        monkeypatch.setenv("SEQDEV_DATABASE_URL", url)
        expected = Exit.DONE if role == "repair" else Exit.PERMISSION
        assert seqdev("pause", "--why", "testing").code == expected
        assert seqdev("resume").code == expected
        monkeypatch.setenv("SEQDEV_DATABASE_URL", world.url)


@pytest.mark.cases(2)
@pytest.mark.parametrize("role", REFUSED)
def test_a_command_of_another_role_is_refused_and_nothing_is_written(
    role: str,
    world: World,
    login: Callable[..., str],
    seqdev: Cli,
    monkeypatch: pytest.MonkeyPatch,
    connect: Callable[[str], Any],
) -> None:
    url = login(world.url)
    assert seqdev("db", "grants", role, "--to", "seqdev_tester", "--yes").code == 0
    monkeypatch.setenv("SEQDEV_DATABASE_URL", url)
    before = [row for row in state(world.url) if row[0] != "run"]
    for command in REFUSED[role]:
        ran = seqdev(*world.arguments(command))
        assert (ran.code, ran.out) == (12, ""), command
        assert len(ran.err.splitlines()) == 2
        assert "seqdev db grants" in ran.err
    assert [row for row in state(world.url) if row[0] != "run"] == before
    with connect(url) as session:
        for table in [*HOST_TABLES, *OWN_TABLES]:
            pruned = role == "prune" and table in ("seqdev.run", "seqdev.change")
            deleting = [] if pruned else [f"delete from {table}"]
            for statement in (*deleting, f"truncate {table}", f"drop table {table}"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    session.execute(statement.encode())
        statements = [
            "update seqdev.change set new_value = ''",
            "update seqdev.run set command = ''",
            "update leads set user_id = null",
            "update sequence_contacts set contact_name = ''",
            "update broadcast_messages set content = ''",
            "create table public.t ()",
        ]
        if role in ("tick", "enroll"):
            statements += ["select content from broadcast_messages", "select * from user_devices"]
        if role == "audit":
            statements += ["insert into seqdev.run default values", "create temporary table t ()"]
        for statement in [*statements, "select * from users"]:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(statement.encode())


def test_the_audits_work_where_the_role_can_only_read(
    world: World, login: Callable[..., str], seqdev: Cli, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = login(world.url)
    host.rows("alter role seqdev_tester set default_transaction_read_only = on")
    assert seqdev("db", "grants", "audit", "--to", "seqdev_tester", "--yes").code == 0
    monkeypatch.setenv("SEQDEV_DATABASE_URL", url)
    for command in ("audit all", "explain 60120000001", "tick --dry-run"):
        assert seqdev(*command.split()).code in (0, 3)


@pytest.mark.thorough
def test_a_role_that_may_not_read_what_a_rule_names_is_named_and_its_grants_come_to_it(
    world: World, login: Callable[..., str], seqdev: Cli, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = login(world.url)
    host.rows("create schema inbox create table answers (phone text, device_id uuid, replied_at timestamp)")
    host.rows("create view inbox.replies as select * from inbox.answers")
    host.rule("stop_on_reply", "true")
    assert seqdev("db", "grants", "tick", "--to", "seqdev_tester", "--yes").code == 0
    setting = ["rules", "set", "replies_from", "inbox.replies", "--yes"]
    ran = seqdev(*setting)
    assert (ran.code, "ticks run as seqdev_tester, which may not read it" in ran.err) == (2, True), ran.err
    typed = "grant usage on schema inbox to seqdev_tester; grant select on inbox.replies to seqdev_tester"
    assert typed in ran.err
    host.rows(typed)
    ran = seqdev(*setting)
    assert ran.code == 0, ran.err
    host.rows("revoke all on schema inbox from seqdev_tester; revoke all on inbox.replies from seqdev_tester")
    monkeypatch.setenv("SEQDEV_DATABASE_URL", url)
    ran = seqdev("tick")
    assert (ran.code, "give it the right: seqdev db grants" in ran.err) == (3, True), ran.err
    for role, command in (("tick", "tick"), ("audit", "audit replies"), ("repair", "audit replies")):
        monkeypatch.setenv("SEQDEV_DATABASE_URL", world.url)
        host.rows("drop owned by seqdev_tester")
        assert seqdev("db", "grants", role, "--to", "seqdev_tester", "--yes").code == 0
        monkeypatch.setenv("SEQDEV_DATABASE_URL", url)
        ran = seqdev(*command.split())
        assert ran.code in (0, 3), ran.err


def test_the_owner_upgrades_the_tables_of_another_role(
    world: World, login: Callable[..., str], seqdev: Cli, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    login(world.url, "seqdev_tester_app")
    url = login(world.url)
    host.rows("grant usage on schema public to seqdev_tester_app")  # foreign keys are checked as it
    host.rows("alter schema seqdev owner to seqdev_tester_app")
    for table in [*HOST_TABLES, "whatsapp_messages", *OWN_TABLES]:
        host.rows(f"alter table {table} owner to seqdev_tester_app")
    host.rows("drop index seqdev_leads_phone")
    host.rows("alter table sequence_contacts drop column last_error")
    monkeypatch.setenv("SEQDEV_DATABASE_URL", url)
    assert seqdev("db", "upgrade", "--yes").code == 12
    monkeypatch.setenv("SEQDEV_DATABASE_URL", world.url)
    ran = seqdev("db", "grants", "owner", "--to", "seqdev_tester", "--yes")
    assert ran.code == 0, ran.err
    monkeypatch.setenv("SEQDEV_DATABASE_URL", url)
    assert seqdev("db", "upgrade", "--yes").code == 0
    assert seqdev("tick").code == 0


def test_the_owner_makes_the_tables_of_an_empty_database(
    empty_database: str, login: Callable[..., str], seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = login(empty_database)
    assert seqdev("db", "grants", "owner", "--to", "seqdev_tester", "--yes").code == 0
    monkeypatch.setenv("SEQDEV_DATABASE_URL", url)
    assert seqdev("db", "init").code == 0
    assert seqdev("tick").code == 0


def test_nobody_becomes_a_superuser(world: World, login: Callable[..., str], seqdev: Cli) -> None:
    login(world.url)
    ran = seqdev("db", "grants", "owner", "--to", "seqdev_tester", "--yes")
    assert ran.code == 3
    assert "grant postgres" not in ran.out
    assert "-- not granted, because a superuser owns them: public.broadcast_messages" in ran.out


def test_without_yes_it_is_a_script_for_psql(
    world: World, login: Callable[..., str], seqdev: Cli, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = login(world.url, '"seqdev tester; drop"').replace('"seqdev tester; drop"', "'seqdev tester; drop'")
    ran = seqdev("db", "grants", "tick", "--to", "seqdev tester; drop")
    assert ran.code == 0
    assert "nothing was changed" in ran.err
    assert not host.value("select has_table_privilege('seqdev tester; drop', 'sequence_contacts', 'select')")
    done = subprocess.run(
        [server_binaries.psql_path(), "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", world.url],
        input=ran.out,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    monkeypatch.setenv("SEQDEV_DATABASE_URL", url)
    assert seqdev("tick").code == 0


def test_the_schema_of_the_host_can_have_any_name(
    world: World, login: Callable[..., str], seqdev: Cli, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = login(world.url)
    host.rows('alter schema public rename to "The App"')
    assert seqdev("--schema", "The App", "db", "grants", "tick", "--to", "seqdev_tester", "--yes").code == 0
    monkeypatch.setenv("SEQDEV_DATABASE_URL", url)
    assert seqdev("--schema", "The App", "tick").code == 0


def test_a_role_or_a_schema_that_is_not_there_is_refused(database: str, seqdev: Cli) -> None:
    ran = seqdev("db", "grants", "tick", "--to", "nobody_here", "--yes")
    assert (ran.code, ran.out) == (2, "")
    assert "create role" in ran.err
    ran = seqdev("--schema", "nowhere", "db", "grants", "tick", "--to", "postgres", "--yes")
    assert (ran.code, ran.out) == (10, "")


@pytest.mark.thorough
@pytest.mark.parametrize("role", ["tick", "audit"])
def test_rows_that_a_policy_hides_are_an_error_never_decided_without(
    role: str,
    world: World,
    login: Callable[..., str],
    seqdev: Cli,
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = login(world.url)
    host.rows("alter table sequence_contacts enable row level security")
    host.rows("create policy part on sequence_contacts using (contact_phone like '%1')")
    ran = seqdev("db", "grants", role, "--to", "seqdev_tester", "--yes")
    assert ran.code == 3
    assert "row-level security hides rows of sequence_contacts" in ran.err
    before = [row for row in state(world.url) if row[0] != "run"]
    monkeypatch.setenv("SEQDEV_DATABASE_URL", url)
    command = world.arguments(WRITES.get(role, ["audit all"])[0])
    ran = seqdev(*command)
    assert (ran.code, ran.out) == (12, "")
    assert "row-level security" in ran.err
    assert "bypassrls" in ran.err
    assert [row for row in state(world.url) if row[0] != "run"] == before
    host.rows("alter role seqdev_tester bypassrls")
    assert seqdev(*command).code in (0, 3)
