"""Repairs ended at any moment, and among others who write to the same rows: journal and rows agree.

SEQDEV_TEST_SEED repeats the choices, not the moments: those are the machine's.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from seqdev.postgres.engine import Database
from tests.world.command import Cli
from tests.world.forked import Forked
from tests.world.host import Connect, Host
from tests.world.repairs import assert_journal_leads_back, only, reasons, repair, run, setting, snapshot


def start(database: str, *argv: str) -> "subprocess.Popen[str]":
    return Forked(
        list(argv),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"SEQDEV_DATABASE_URL": database},
    )


def alone(host: Host) -> None:
    """Wait until the sessions of killed processes have ended."""
    while host.value(
        "select count(*) from pg_stat_activity where datname = current_database() and application_name ~ '^seqdev'"
    ):
        time.sleep(0.02)


@pytest.mark.thorough
def test_killed_at_any_moment_journal_and_rows_agree(
    host: Host, database: str, seqdev: Cli, seed: int
) -> None:
    chance = random.Random(seed)
    user = host.user()
    a = host.device(user, "A", "offline")
    for name in "BCD":
        host.device(user, name)
    sequence, (step,) = host.simple_sequence(user)
    host.rows(
        "with l as (insert into leads (user_id, device_id, phone) select %(u)s, %(a)s, '6012' || i from generate_series(1, 900) i)"
        " insert into sequence_contacts (sequence_id, sequence_stepid, contact_phone, assigned_device_id, next_trigger_time)"
        " select %(s)s, %(st)s, '6012' || i, %(a)s, now() from generate_series(1, 900) i",
        {"u": user, "a": a, "s": sequence, "st": step},
    )
    before = snapshot(host)
    argv = ["repair", "device", "A", "--spread", "--yes", "--batch-size", "7"]
    cut = 0
    for _ in range(5):
        process = start(database, *argv)
        had = host.value("select count(*) from seqdev.change")
        deadline = time.monotonic() + 30
        while host.value("select count(*) from seqdev.change") <= had and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        alone(host)
        cut += host.value("select count(*) from leads where device_id = %s", a) > 0
        assert_journal_leads_back(host, before)
        # Whoever has moved, has moved as a whole.
        assert not host.rows(
            "select 1 from leads l join sequence_contacts sc on sc.contact_phone = l.phone"
            " where sc.assigned_device_id <> l.device_id"
        )
    assert cut > 1, "no run was cut off in the middle"
    repair(seqdev, "device", "A", "--spread")
    owned = [row.count for row in host.rows("select count(*) from leads group by device_id order by 1")]
    assert owned == [300, 300, 300]
    for row in run(seqdev, "repair", "list", "--all"):
        repair(seqdev, "undo", row["run_id"])
    assert snapshot(host) == before


@pytest.mark.thorough
@pytest.mark.usefixtures("without_delay")
def test_repairs_both_ways_among_ticks_end_and_break_nothing(
    host: Host, database: str, connect: Connect, seed: int
) -> None:
    user = host.user()
    a, b = host.device(user, "A"), host.device(user, "B")
    sequence, steps = host.simple_sequence(user, steps=2)
    host.rows("update sequence_steps set trigger_delay_hours = 0")
    host.rows(
        "with l as (insert into leads (user_id, device_id, phone, trigger)"
        "   select %(u)s, (%(d)s::uuid[])[1 + i %% 2], '6012' || i, 'WARM' from generate_series(1, 2500) i)"
        " insert into sequence_contacts (sequence_id, sequence_stepid, contact_phone, assigned_device_id, next_trigger_time)"
        " select %(s)s, %(st)s, '6012' || i, (%(d)s::uuid[])[1 + i %% 2], now() - i * interval '1 second' from generate_series(1, 2500) i",
        {"u": user, "d": [a, b], "s": sequence, "st": steps[0]},
    )
    before = snapshot(host)
    jobs = [
        ["tick", "--batch-size", "300"],
        ["tick", "--batch-size", "170"],
        ["repair", "device", "A", "--to", "B", "--yes", "--batch-size", "50"],
        ["repair", "device", "B", "--to", "A", "--yes", "--batch-size", "70"],
        ["repair", "device", "B", "--to", "A", "--yes", "--max", "500"],
    ]
    processes = [start(database, *argv) for argv in jobs]
    codes = [process.wait(timeout=100) for process in processes]
    assert codes[:2] == [0, 0]
    assert set(codes[2:]) <= {0, 3}
    start(database, "tick").wait(timeout=100)
    start(database, "tick").wait(timeout=100)
    assert not host.broken_promises()
    assert host.value("select count(*) from broadcast_messages") == 5000
    assert host.value("select count(*) from seqdev.change") > 0
    # The journal of each row is a chain that ends in what the row is now.
    assert not host.rows(
        """
        select 1 from (
            select ch.*, lead(old_value) over w as next_old, row_number() over w as n,
                lead(id) over w is null as is_last
            from seqdev.change ch window w as (partition by row_id, column_name order by id)
        ) j
        left join leads l on l.id = j.row_id left join sequence_contacts sc on sc.id = j.row_id
        where not is_last and next_old is distinct from new_value
            or is_last and new_value is distinct from coalesce(l.device_id, sc.assigned_device_id)::text
        """
    )
    for change in host.rows("select distinct on (row_id) * from seqdev.change order by row_id, id"):
        if str(change.row_id) in before[change.table_name]:
            assert before[change.table_name][str(change.row_id)][change.column_name] == change.old_value


def test_a_row_taken_between_plan_and_lock_is_kept(
    host: Host, database: str, seqdev: Cli, connect: Connect
) -> None:
    """The row is locked by another session when the repair comes to it, and changed when it gets it."""
    a, b, first, second = setting(host)
    other = connect(database)
    other.execute("begin")
    other.execute("update sequence_contacts set status = 'completed' where id = %s", (first,))
    process = start(database, "repair", "device", "A", "--to", "B", "--yes")
    while not host.value(
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    ):
        time.sleep(0.02)
        assert process.poll() is None
    other.execute("commit")
    assert process.wait(timeout=30) == 3
    rows = dict(host.rows("select id, assigned_device_id from sequence_contacts"))
    assert rows == {first: a, second: b}
    assert host.value("select count(*) from seqdev.change") == 1
    assert host.value("select counts ->> 'kept' from seqdev.run where command = 'repair device'") == "1"


def test_an_answer_lost_at_commit_is_not_taken_for_a_change_by_others(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction is tried again although it was committed, as after a failover."""
    once = Database.retry

    def twice(self: Database, work: Callable[[Any], Any], **options: Any) -> Any:
        if not options.get("read_only") and "_chunk" in repr(work):
            once(self, work, **options)
        return once(self, work, **options)

    monkeypatch.setattr(Database, "retry", twice)
    _, b, first, second = setting(host)
    with only(host, {(first, "assigned_device_id"): b, (second, "assigned_device_id"): b}):
        result = repair(seqdev, "device", "A", "--to", "B")
    assert (result["summary"]["changed"], result["summary"]["kept"]) == (2, 0)


PHONES = [f"6012000000{number}" for number in range(7)]


def test_who_is_refused_by_the_database_stays_and_the_others_are_repaired(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user, "A")
    sequence, (step,) = host.simple_sequence(user)
    rows = {phone: host.contact(sequence, step, phone, None) for phone in PHONES}
    host.rows("update leads set device_id = %s", device)
    refused = PHONES[3]
    host.rows(
        f"alter table sequence_contacts add check (contact_phone <> '{refused}' or assigned_device_id is null)"
    )
    changed = {(row, "assigned_device_id"): device for phone, row in rows.items() if phone != refused}
    with only(host, changed):
        result = repair(seqdev, "missing", code=3)
    assert result["summary"]["reasons"] == {"refused_by_database": 1}
    assert (result["summary"]["changed"], result["summary"]["kept"]) == (len(PHONES) - 1, 0)
    assert reasons(result) == {refused: "refused_by_database"}
    with only(host, {}):
        ran = seqdev("repair", "missing", "--yes")
    assert ran.code == 3
    assert "1 row is unchanged, since the database refuses it: " in ran.err
    assert refused not in ran.err
