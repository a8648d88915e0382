"""``seqdev db``: on a database that somebody else made, in every variant that is in the field."""

import json
import re
import threading
import time
from typing import Any

import psycopg
import pytest

from tests.world.command import Cli
from tests.world.host import Connect
from tests.world.old_hosts import VARIANTS, make
from tests.world.waiting import until


def content(connection: "psycopg.Connection[Any]") -> dict[str, list[Any]]:
    """Every row of the host's tables, without what an upgrade adds."""
    found = {}
    for (table,) in connection.execute(
        "select table_name from information_schema.tables where table_schema = 'public' order by 1"
    ).fetchall():
        rows = connection.execute(f"select to_jsonb(t) as row from {table} as t".encode()).fetchall()
        found[table] = sorted(json.dumps({k: v for k, v in row.items() if v is not None}) for (row,) in rows)
    return found


@pytest.mark.cases(3)
@pytest.mark.parametrize(
    ("variant", "instant"),
    [
        *((variant, "timestamp") for variant in VARIANTS),
        *((variant, "timestamptz") for variant in ("one row per person, column missing", "columns missing")),
    ],
)
def test_check_upgrade_check_enroll_tick_on_every_variant(
    variant: str, instant: str, empty_database: str, connect: Connect, seqdev: Cli
) -> None:
    host = connect(empty_database)
    make(host, variant, instant)
    before = content(host)

    assert seqdev("db", "check").code == 10
    refused = seqdev("tick")
    assert (refused.code, refused.out) == (10, "")
    assert "seqdev db upgrade" in refused.err

    upgraded = seqdev("db", "upgrade", "--yes")
    assert upgraded.code == 0, upgraded.err
    assert seqdev("db", "check").code == 0
    after = content(host)
    for table, rows in before.items():
        assert len(after[table]) == len(rows)
        if table != "sequence_contacts":
            assert after[table] == rows
    for old, new in zip(before["sequence_contacts"], after["sequence_contacts"], strict=True):
        grown = json.loads(new)
        grown.pop("sequence_stepid", None)
        grown.pop("retry_count", None)
        assert grown == {
            k: v for k, v in json.loads(old).items() if k not in ("sequence_stepid", "retry_count")
        }
    wrong = "select count(*) from sequence_contacts sc left join sequence_steps st on st.id = sequence_stepid"
    assert host.execute(f"{wrong} where st.day_number is distinct from current_step".encode()).fetchone() == (
        0,
    )

    enrolled = json.loads(seqdev("enroll", "--yes", "--format", "json").out)
    assert enrolled["sequences"][0] | {"sequence_id": ""} == {
        **{"sequence": "Warm", "sequence_id": "", "matched": 10, "enrolled": 6, "already_in": 4, "refused": 0}
    }
    summary = json.loads(seqdev("tick", "--format", "json").out)
    assert (summary["queued"], summary["waiting"]) == (10, {})
    assert host.execute(
        "select content, count(*) from broadcast_messages group by 1 order by 1"
    ).fetchall() == [("one", 8), ("two", 2)]


def test_an_upgrade_that_was_ended_goes_on(empty_database: str, connect: Connect, seqdev: Cli) -> None:
    host = connect(empty_database)
    make(host, "one row per person, column missing", "timestamp")
    # Ended after the column, half of the rows, and in the middle of an index.
    host.execute("alter table sequence_contacts add column sequence_stepid uuid")
    host.execute(
        "update sequence_contacts set sequence_stepid = '00000000-0000-4000-8000-000000000051'"
        " where current_step = 1"
    )
    host.execute("insert into sequence_contacts (contact_phone, current_step) values ('1', 1), ('1', 1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        host.execute(
            "create unique index concurrently seqdev_contacts_due on sequence_contacts (contact_phone)"
        )
    host.execute("delete from sequence_contacts where sequence_id is null")
    assert seqdev("db", "upgrade", "--yes").code == 0
    assert seqdev("db", "check").code == 0


@pytest.mark.thorough
def test_an_upgrade_waits_for_nobody_long_and_blocks_nobody_behind_it(
    empty_database: str, connect: Connect, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, other = connect(empty_database), connect(empty_database)
    make(host, "columns missing", "timestamp")
    monkeypatch.setenv("SEQDEV_LOCK_TIMEOUT", "1s")
    read = 0
    done = threading.Event()

    def heartbeat() -> None:
        nonlocal read
        while not done.is_set():
            other.execute("select count(*) from sequence_contacts")
            read += 1
            time.sleep(0.02)

    worker = threading.Thread(target=heartbeat)
    waits = "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')"
    with host.transaction():
        host.execute("select * from sequence_contacts")
        host.execute("select * from broadcast_messages")
        worker.start()
        ran: list[Any] = []
        upgrade = threading.Thread(target=lambda: ran.append(seqdev("db", "upgrade", "--yes")))
        upgrade.start()
        watching = connect(empty_database)
        until(lambda: watching.execute(waits).fetchall()[0][0], "the upgrade to wait")
        # An upgrade that waits for as long as it takes would let nobody read until this transaction ends.
        before = read
        until(lambda: read > before + 5, "others to read while it waits")
    upgrade.join(60)
    done.set()
    worker.join(10)
    assert ran[0].code == 0, ran[0].err


def test_what_no_upgrade_can_help_is_named_and_nothing_is_done(
    empty_database: str, connect: Connect, seqdev: Cli
) -> None:
    host = connect(empty_database)
    make(host, "one row per step", "timestamp")
    host.execute("alter table broadcast_messages add column tenant int not null default 1")
    host.execute("alter table broadcast_messages alter column tenant drop default")
    host.execute("alter table sequence_contacts alter column id type text")
    checked = json.loads(seqdev("db", "check", "--format", "json").out)
    wrong = {finding["item"] for finding in checked if finding["status"] == "wrong"}
    assert wrong == {"broadcast_messages.tenant", "sequence_contacts.id"}
    assert seqdev("db", "upgrade", "--yes").code == 10
    assert seqdev("tick").code == 10


def test_without_a_terminal_an_upgrade_needs_yes(empty_database: str, connect: Connect, process: Cli) -> None:
    make(connect(empty_database), "one row per person", "timestamp")
    ran = process("db", "upgrade")
    assert ran.code == 2
    assert "--yes" in ran.err
    first = ran.out.splitlines()[2]
    assert "sequence_contacts unique (sequence_id, contact_phone): wrong" in first
    assert "ON CONFLICT (sequence_id, contact_phone) fails until it names sequence_stepid" in first
    assert process("db", "check").code == 10


def test_rows_from_the_future_point_at_the_time_zone(database: str, connect: Connect, seqdev: Cli) -> None:
    host = connect(database)
    host.execute("insert into users values ('00000000-0000-4000-8000-000000000001')")
    host.execute(
        "insert into user_devices (id, user_id, device_name) values"
        " ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000001', 'One')"
    )
    host.execute(
        "insert into broadcast_messages (user_id, device_id, recipient_phone, status, sent_at, created_at)"
        " select id, id, '1', 'sent', now() at time zone 'Asia/Kuala_Lumpur', now() at time zone 'Asia/Kuala_Lumpur'"
        " from users"
    )
    ran = seqdev("db", "check")
    assert ran.code == 3
    assert "broadcast_messages.sent_at in the future" in ran.out
    right = seqdev("--timezone", "Asia/Kuala_Lumpur", "db", "check", "--ok", "--format", "json")
    assert "in the future" not in [row["item"] for row in json.loads(right.out) if row["status"] != "ok"]
    # Once it is kept with the database, everybody reads in it.
    assert seqdev("db", "zone", "Asia/Kuala_Lumpur").code == 0
    assert seqdev("db", "check").code == 0


def test_an_empty_database_is_told_from_one_that_lacks_something(empty_database: str, seqdev: Cli) -> None:
    ran = seqdev("tick")
    assert (ran.code, ran.out) == (10, "")
    assert "seqdev db init" in ran.err
    assert seqdev("db", "init").code == 0
    assert seqdev("db", "check").code == 0
    again = seqdev("db", "init")
    assert again.code == 10
    assert "not an empty database" in again.err


def test_the_tables_may_be_in_another_schema(empty_database: str, connect: Connect, seqdev: Cli) -> None:
    host = connect(empty_database)
    host.execute('create schema "Odd ""name"')
    host.execute('set search_path = "Odd ""name"')
    make(host, "one row per person", "timestamp")
    options = ("--schema", 'Odd "name')
    assert seqdev(*options, "db", "upgrade", "--yes").code == 0
    assert seqdev(*options, "db", "check").code == 0
    assert seqdev(*options, "enroll", "--yes").code == 0
    assert json.loads(seqdev(*options, "tick", "--format", "json").out)["queued"] == 10
    assert seqdev("db", "check").code == 10
    assert seqdev("--schema", "nowhere", "db", "check").code == 10


def test_the_journal_is_made_by_the_upgrade_alone(empty_database: str, connect: Connect, seqdev: Cli) -> None:
    host = connect(empty_database)
    make(host, "one row per step", "timestamp")
    seqdev("db", "check")
    seqdev("tick", "--dry-run")
    assert host.execute("select count(*) from pg_namespace where nspname = 'seqdev'").fetchone() == (0,)


@pytest.mark.cases(2)
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_first_upgrade_does_what_it_has_shown(
    variant: str, empty_database: str, connect: Connect, seqdev: Cli
) -> None:
    make(connect(empty_database), variant, "timestamp")
    ran = seqdev("db", "upgrade", "--yes", "--format", "json")
    assert ran.code == 0
    shown = {finding["item"] for finding in json.loads(ran.out)}
    done = set(re.findall("^seqdev: upgrade: (.*)$", ran.err, re.MULTILINE))
    # Rows are given their step where the column for it is there.
    assert done - shown <= {"sequence_contacts without sequence_stepid"}
    assert shown <= done
