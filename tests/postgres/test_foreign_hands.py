"""A ``seqdev`` schema that somebody else made, or can change: nothing is written, and no code of theirs runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.world.command import Cli
from tests.world.host import Connect, Host
from tests.world.old_hosts import everything, make

pytestmark = pytest.mark.thorough

WRITES = (
    ["tick"],
    ["enroll", "--yes"],
    ["repair", "stuck", "--yes"],
    ["leads", "assign", "--distribute", "--yes"],
    ["pause", "--why", "testing"],
    ["resume"],
    ["db", "upgrade", "--yes"],
)


@pytest.fixture
def mallory(server: str) -> Iterator[str]:
    """A role of no consequence."""
    with psycopg.connect(server, dbname="postgres", autocommit=True) as connection:
        connection.execute("create role seqdev_mallory login")
    yield "seqdev_mallory"
    with psycopg.connect(server, dbname="postgres", autocommit=True) as connection:
        databases = connection.execute("select datname from pg_database where datallowconn").fetchall()
    for (name,) in databases:
        with psycopg.connect(server, dbname=name, autocommit=True) as connection:
            connection.execute("drop owned by seqdev_mallory cascade")
    with psycopg.connect(server, dbname="postgres", autocommit=True) as connection:
        connection.execute("drop role seqdev_mallory")


def test_a_trigger_laid_before_the_upgrade_never_runs(
    empty_database: str, connect: Connect, seqdev: Cli, mallory: str
) -> None:
    host = connect(empty_database)
    make(host, "one row per step", "timestamp")
    host.execute(f"grant create on database {host.info.dbname} to {mallory}".encode())
    with connect(empty_database.replace("user=postgres", f"user={mallory}")) as theirs:
        theirs.execute("create schema seqdev")
        theirs.execute(
            "create table seqdev.run (id uuid primary key, command text, started_at timestamptz, finished_at timestamptz,"
            " counts jsonb, version text, arguments text, os_user text, database_user text, host text, pid integer,"
            " session text, backend_pid integer, exit_code integer, reason text)"
        )
        theirs.execute(
            f"create function seqdev.f() returns trigger language plpgsql as 'begin alter role {mallory} superuser;"
            " return new; end'".encode()
        )
        theirs.execute(
            "create trigger t before insert on seqdev.run for each row execute function seqdev.f()"
        )
        theirs.execute("grant usage on schema seqdev to public")
    before = everything(host)
    for command in WRITES:
        ran = seqdev(*command)
        assert (ran.code, ran.out) == (10, ""), command
    assert everything(host) == before
    checked = seqdev("db", "check")
    assert checked.code == 10
    for item in ("schema seqdev", "seqdev.run", "function seqdev.f", "trigger t on seqdev.run"):
        assert item in checked.out
    assert f"{mallory} owns it" in checked.out
    row = host.execute("select rolsuper from pg_roles where rolname = %s", [mallory]).fetchone()
    assert row == (False,)


THEIRS = {
    "the schema": ("alter schema seqdev owner to {}", "schema seqdev"),
    "the right to make tables in it": ("grant create on schema seqdev to {}", "schema seqdev"),
    "the right to make tables in it, everybody's": (
        "grant create on schema seqdev to public",
        "schema seqdev",
    ),
    "a table": ("alter table seqdev.change owner to {}", "seqdev.change"),
    "the right to make triggers": ("grant trigger on seqdev.run to {}", "seqdev.run"),
    "a function": (
        "create function seqdev.f() returns int language sql as 'select 1'; alter function seqdev.f() owner to {}",
        "function seqdev.f",
    ),
    "a trigger": (
        "create function public.f() returns trigger language plpgsql as 'begin return new; end';"
        " create trigger t before insert on seqdev.pause for each row execute function public.f()",
        "trigger t on seqdev.pause",
    ),
    "a rule": ("create rule r as on insert to seqdev.change do instead nothing", "rule r on seqdev.change"),
    "a default": (
        "create function public.f() returns text language sql as 'select text ''x''';"
        " alter table seqdev.run alter reason set default public.f()",
        "seqdev.run",
    ),
    "a check": (
        "create function public.f(text) returns boolean language sql as 'select true';"
        " alter table seqdev.run add check (public.f(reason))",
        "seqdev.run",
    ),
    "a view that every command would read": (
        "drop table seqdev.setting; create function public.f() returns text language plpgsql as"
        " 'begin raise ''its code ran''; end'; create view seqdev.setting as select public.f() as value",
        "seqdev.setting",
    ),
    "a view": (
        "alter table seqdev.pause rename to other; create view seqdev.pause as select * from seqdev.other",
        "seqdev.pause",
    ),
}


@pytest.mark.cases(3)
@pytest.mark.parametrize("case", THEIRS)
def test_whatever_others_can_change_is_refused(case: str, host: Host, seqdev: Cli, mallory: str) -> None:
    statements, item = THEIRS[case]
    assert seqdev("db", "check").code == 0
    host.rows(statements.format(mallory))
    rows = host.value("select count(*) from seqdev.run")
    for command in WRITES:
        ran = seqdev(*command)
        assert (ran.code, ran.out) == (10, ""), command
    assert host.value("select count(*) from seqdev.run") == rows
    checked = seqdev("db", "check")
    assert checked.code == 10
    assert item in checked.out


READS = (
    ["tick", "--dry-run"],
    ["tick", "--compare"],
    ["enroll", "--dry-run"],
    ["repair", "assigned", "--dry-run"],
    ["repair", "undo", "01234567", "--dry-run"],
    ["repair", "list"],
    ["repair", "show", "01234567"],
    ["runs"],
    ["runs", "01234567"],
    ["runs", "--every", "1m"],
    ["leads", "assign", "--distribute", "--dry-run"],
    ["leads", "import", "{file}", "--user", "", "--distribute", "--dry-run"],
    ["audit", "all"],
    ["audit", "mismatches"],
    ["audit", "contacts"],
    ["audit", "devices"],
    ["audit", "devices", "--if-lost", "A"],
    ["audit", "run", "{statement}"],
    ["explain", "60123456789"],
)


@pytest.mark.parametrize("table", ["run", "change"])
def test_who_only_reads_runs_no_code_of_theirs_either(
    table: str, host: Host, seqdev: Cli, mallory: str, tmp_path: Path
) -> None:
    host.device(host.user(), "A")
    files = {"file": tmp_path / "leads.csv", "statement": tmp_path / "own.sql"}
    files["file"].write_text("phone\n60123456789\n")
    files["statement"].write_text(
        "-- Runs\n--\n-- Row:\n--   id  uuid  the run\n-- Locks: none\nselect r.id from seqdev.run as r;\n"
    )
    # Whoever looks for rows, of whatever kind, finds one: it is made by a function of theirs, and the reader's rights.
    columns = host.value(
        "select string_agg(format('null::%%s as %%I', format_type(a.atttypid, a.atttypmod), a.attname), ', ')"
        " from pg_attribute as a where a.attrelid = %s::regclass and a.attnum > 0",
        f"seqdev.{table}",
    )
    host.rows(f"alter table seqdev.{table} rename to other")
    host.rows(f"grant usage, create on schema seqdev to {mallory}")
    theirs = Host(psycopg.connect(host.url.replace("user=postgres", f"user={mallory}"), autocommit=True))
    with theirs.connection:
        theirs.rows(
            f"create function seqdev.theirs() returns boolean language plpgsql as"
            f" 'begin alter role {mallory} superuser; return true; end'"
        )
        theirs.rows(f"create view seqdev.{table} as select {columns} where seqdev.theirs()")
        theirs.rows(f"grant select on seqdev.{table} to public")
    for command in READS:
        ran = seqdev(*(word.format(**files) for word in command))
        assert (ran.code, ran.out) == (10, ""), command
        assert "seqdev cannot work here: " in ran.err, command
        assert "see: seqdev db check" in ran.err, command
    nagios = seqdev("audit", "all", "--nagios")
    assert (nagios.code, nagios.err) == (3, "")
    assert nagios.out.startswith("SEQDEV UNKNOWN"), nagios.out
    assert seqdev("db", "check").code == 10
    assert not host.value("select rolsuper from pg_roles where rolname = %s", mallory), "its code ran"


@pytest.mark.parametrize(
    "whose", ["the owner of the host's tables", "a member of it", "the owner of the database"]
)
def test_who_can_put_code_into_the_hosts_tables_anyway_may_own_the_schema(
    whose: str, host: Host, database: str, seqdev: Cli, mallory: str
) -> None:
    host.rows(f"alter schema seqdev owner to {mallory}")
    for table in ("run", "change", "pause"):
        host.rows(f"alter table seqdev.{table} owner to {mallory}")
    assert seqdev("tick").code == 10
    name = host.connection.info.dbname
    if whose == "the owner of the database":
        host.rows(f"alter database {name} owner to {mallory}")
    elif whose == "a member of it":
        host.rows("create role seqdev_app")
        host.rows(f"grant seqdev_app to {mallory}")
        host.rows("alter table sequence_contacts owner to seqdev_app")
    else:
        host.rows(f"alter table sequence_contacts owner to {mallory}")
    try:
        host.rows(f"grant usage on schema public to {mallory}")
        assert seqdev("tick").code == 0
    finally:
        host.rows(f"alter database {name} owner to postgres")
        for table in ("run", "change", "pause"):
            host.rows(f"alter table seqdev.{table} owner to postgres")
        host.rows("alter schema seqdev owner to postgres")
        host.rows("alter table sequence_contacts owner to postgres")
        host.rows("drop role if exists seqdev_app")


def test_what_seqdev_grants_itself_lets_nobody_in(host: Host, seqdev: Cli, mallory: str) -> None:
    found: list[Any] = []
    for role in ("tick", "enroll", "repair", "audit", "owner"):
        found.append(seqdev("db", "grants", role, "--to", mallory, "--yes").code)
        assert seqdev("db", "check").code == 0, role
    assert found == [0, 0, 0, 0, 3]
