"""Where Citus has distributed the host's tables."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from seqdev.errors import SchemaError
from seqdev.postgres import queries
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.settings import Settings
from tests.world import citus
from tests.world.command import Cli
from tests.world.host import Connect, Host

pytestmark = pytest.mark.skipif(not citus.URL, reason="NOT TESTED: SEQDEV_TEST_CITUS_URL names no Citus")

SETTINGS = (
    "TimeZone",
    "lock_timeout",
    "statement_timeout",
    "search_path",
    "row_security",
    "DateStyle",
    "jit",
    "client_connection_check_interval",
)


@pytest.fixture
def elsewhere(database: str, connect: Connect) -> str:
    """A database whose shards are reached by connections of their own, which begin with other settings."""
    connection = connect(database)
    name = connection.info.dbname
    for setting in (
        "citus.enable_local_execution = off",
        "timezone = 'Asia/Kuala_Lumpur'",
        "lock_timeout = '1h'",
        "datestyle = 'SQL, DMY'",
        "row_security = on",
    ):
        connection.execute(f"alter database {name} set {setting}".encode())
    return database


def test_the_settings_of_a_transaction_hold_on_all_nodes(host: Host, elsewhere: str) -> None:
    user = host.user()
    for number in range(20):
        host.lead(user, None, f"60123450{number:03}")
    host.connection.close()
    # Asked of each row, so that the node that has it answers.
    asked = ", ".join(f"current_setting('{name}' || left(phone, 0))" for name in SETTINGS)
    settings = replace(Settings(), database_url=elsewhere, timezone="America/Lima")
    database = Database(settings, "test", print)
    expected = ("America/Lima", "5s", "5min", "public, pg_temp", "off", "ISO, YMD", "off", "200ms")
    for _ in range(2):
        with database.transaction() as transaction:
            assert transaction.distributed
            answers = transaction.made(f"select distinct {asked} from leads", lambda *values: values)
            assert answers == [expected]
            transaction.wait_at_most(timedelta(milliseconds=20))
            (answer,) = transaction.made(f"select distinct {asked} from leads", lambda *values: values)
            assert answer[1] == "20ms"
    database.close()


@pytest.fixture
def empty_citus(empty_database: str) -> str:
    """The URL of a database with Citus and nothing else, which every command of the test works on."""
    citus.extend(empty_database)
    return empty_database


def test_init_distributes_and_check_knows_it(empty_citus: str, seqdev: Cli) -> None:
    made = seqdev("db", "init", "--distributed")
    assert made.code == 0, made.err
    found = {
        one["item"]: one
        for one in json.loads(seqdev("db", "check", "--no-probe", "--ok", "--format", "json").out)
    }
    for item in (
        "users on all nodes",
        "device_load_balance on all nodes",
        "leads distributed by phone",
        "sequence_contacts distributed by contact_phone",
        "broadcast_messages distributed by recipient_phone",
        "sequence_contacts unique (contact_phone, id)",
        "broadcast_messages unique (id, recipient_phone)",
        "zone of all nodes",
    ):
        assert found[item]["status"] == "ok", item
    assert not [item for item in found if " foreign key " in item or " key " in item]
    assert seqdev("db", "upgrade").err.startswith("seqdev: nothing to do\n")


def test_init_wants_the_extension_before_it_makes_anything(empty_database: str, seqdev: Cli) -> None:
    ran = seqdev("db", "init", "--distributed")
    assert (ran.code, ran.out) == (2, "")
    assert "no Citus" in ran.err
    assert "create extension citus" in ran.err
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("select to_regclass('users')").fetchone() == (None,)


def test_where_nothing_is_distributed_it_is_plain_postgres(empty_citus: str, seqdev: Cli) -> None:
    assert seqdev("db", "init").code == 0
    assert seqdev("tick").code == 0
    assert seqdev("db", "check", "--no-probe").code == 0


def test_the_upgrade_prints_what_distributes_in_an_order_that_works_and_runs_none_of_it(
    empty_citus: str, seqdev: Cli, connect: Connect
) -> None:
    seqdev("db", "init")
    host = connect(empty_citus)
    host.execute("create function nothing() returns trigger language plpgsql as 'begin return new; end'")
    host.execute("create trigger hosts before insert on leads for each row execute function nothing()")
    host.execute("create table opened (message_id uuid references broadcast_messages)")
    host.execute("alter table broadcast_messages alter recipient_phone type text")
    printed = seqdev("db", "upgrade", "--distributed")
    assert printed.code == 0
    assert "nothing was changed: " in printed.err
    assert host.execute("select count(*) from pg_dist_partition").fetchone() == (0,)
    for statement in printed.out.splitlines():
        if not statement.startswith("--"):
            host.execute(statement.encode())
    again = seqdev("db", "upgrade", "--distributed")
    assert (again.code, again.out) == (0, "")
    assert seqdev("db", "check", "--no-probe").code == 0


@pytest.mark.parametrize(
    ("wrong", "item", "cure"),
    [
        (
            "select undistribute_table('sequence_contacts')",
            "sequence_contacts distributed by contact_phone",
            "select create_distributed_table('public.sequence_contacts', 'contact_phone',"
            " colocate_with => 'public.leads')",
        ),
        (
            "select alter_distributed_table('broadcast_messages', colocate_with => 'none')",
            "broadcast_messages distributed by recipient_phone",
            "select alter_distributed_table('public.broadcast_messages', distribution_column => 'recipient_phone',"
            " colocate_with => 'public.leads')",
        ),
        (
            "alter table sequence_steps drop constraint sequence_steps_sequence_id_fkey;"
            " select undistribute_table('sequence_steps')",
            "sequence_steps on all nodes",
            "select create_reference_table('public.sequence_steps')",
        ),
        (
            "alter table leads add foreign key (user_id) references users",
            "leads foreign key leads_user_id_fkey",
            "alter table leads drop constraint leads_user_id_fkey",
        ),
    ],
)
def test_what_is_distributed_in_part_or_apart_is_refused_with_the_statement_that_cures_it(
    host: Host, seqdev: Cli, wrong: str, item: str, cure: str
) -> None:
    host.rows(wrong)
    for command in (["tick"], ["enroll", "--yes"]):
        ran = seqdev(*command)
        assert (ran.code, ran.out) == (10, "")
        assert item in ran.err
        assert cure in ran.err
    upgrade = seqdev("db", "upgrade", "--yes")
    assert upgrade.code == 10
    assert f"{item} is wrong, and no upgrade can help" in upgrade.err
    check = seqdev("db", "check", "--no-probe", "--format", "json")
    assert check.code == 10
    assert [one["item"] for one in json.loads(check.out) if one["status"] == "wrong"] == [item]
    # A pause is what has to work all the same.
    assert seqdev("pause", "--why", "Citus").code == 0
    host.rows(cure)
    assert seqdev("resume").code == 0
    assert seqdev("db", "check", "--no-probe").code == 0


def test_the_upgrade_makes_its_table_known_on_all_nodes(host: Host, seqdev: Cli) -> None:
    host.rows("drop table device_load_balance")
    host.rows("drop index seqdev_leads_phone")
    ran = seqdev("db", "upgrade", "--yes")
    assert ran.code == 0, ran.err
    assert host.value(
        "select citus_table_type from citus_tables where table_name::text = 'device_load_balance'"
    ) == ("reference")
    assert seqdev("db", "check", "--no-probe").code == 0


def test_a_worker_is_refused_and_the_coordinator_named(host: Host, seqdev: Cli) -> None:
    # What this node is a worker of it says itself.
    host.rows("update pg_dist_local_group set groupid = 7")
    for command in (["tick"], ["db", "check"], ["db", "upgrade", "--yes"], ["audit", "leads"]):
        ran = seqdev(*command)
        assert (ran.code, ran.out) == (10, "")
        assert "this is a worker of Citus" in ran.err
        info = host.connection.info
        assert f"connect to its coordinator: {info.host}:{info.port}" in ran.err


def test_what_citus_does_not_run_is_said_to_be_that(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    # As if nothing had been written for it.
    monkeypatch.setattr(queries, "_DISTRIBUTED", "_nowhere.sql")
    database = Database(replace(Settings(), database_url=host.url), "test", print)
    with pytest.raises(SchemaError) as caught:
        database.retry(lambda tx: tx.rows(Query("gates/sent.sql", object)))
    database.close()
    assert "Citus" in caught.value.message
    assert "does not run sql/gates/sent.sql" in caught.value.message
    assert "docs/citus.md" in caught.value.hint


def test_an_operators_own_statement_that_citus_does_not_run_is_refused_with_its_reason(
    host: Host, seqdev: Cli, tmp_path: Path
) -> None:
    file = tmp_path / "own.sql"
    file.write_text("-- T\nselect l.name from leads as l inner join sequence_contacts as sc on l.id = sc.id;")
    ran = seqdev("audit", "run", file)
    assert (ran.code, ran.out) == (2, "")
    assert "own.sql: the server refuses it: the query contains a join that requires" in ran.err
    assert "writes" not in ran.err


@pytest.mark.parametrize("statements_after", [0, 1])
def test_a_transaction_that_loses_a_node_is_done_anew(
    host: Host, elsewhere: str, connect: Connect, statements_after: int
) -> None:
    user = host.user()
    for number in range(20):
        host.lead(user, None, f"60123450{number:03}", name="nobody")
    host.connection.close()
    administrator = connect(elsewhere)
    tried = []

    def work(transaction: Transaction) -> None:
        transaction.ddl("update leads set name = name || ' more'")
        tried.append(transaction.now)
        if len(tried) == 1:
            ended = administrator.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database()"
                " and application_name like 'citus_internal%'"
            )
            assert ended.fetchall()
        for _ in range(statements_after):
            transaction.ddl("update leads set name = name || '!'")

    database = Database(replace(Settings(), database_url=elsewhere), "test", print)
    database.retry(work)
    database.close()
    assert len(tried) == 2
    names = administrator.execute("select distinct name from leads").fetchall()
    assert names == [("nobody more" + "!" * statements_after,)]
