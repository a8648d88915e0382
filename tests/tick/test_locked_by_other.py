"""A row that somebody keeps locked holds back those who depend on it, and nobody else."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest

from tests.world import citus
from tests.world.command import Cli
from tests.world.host import Connect, Host
from tests.world.obstacles import hold

LOCKS = {
    "lead renamed": "update leads set name = 'Ana' where phone = '60120000007'",
    "lead": "select from leads where phone = '60120000007' for update",
    "leads": "select from leads where phone like '6012000%' for update",
    "device": "select from user_devices where device_name = 'held' for update",
    "sequence": "select from sequences where name = 'held' for update",
    "step": "select from sequence_steps where trigger = 'HELD' for update",
    "user": "select from users where id in (select user_id from user_devices where device_name = 'held') for update",
}
DEPEND = {
    "lead renamed": "contact_phone = '60120000007'",
    "lead": "contact_phone = '60120000007'",
    "leads": "contact_phone like '6012000%' and sequence_stepid in"
    " (select id from sequence_steps where next_trigger = '')",
    "device": "assigned_device_id in (select id from user_devices where device_name = 'held')",
    "sequence": "sequence_id in (select id from sequences where name = 'held')",
    "step": "sequence_stepid in (select id from sequence_steps where trigger = 'HELD')",
    "user": "sequence_id in (select s.id from sequences s join user_devices d using (user_id)"
    " where d.device_name = 'held')",
}
"""Whom each of these holds back: the rows of ``sequence_contacts``."""

UNTIED = pytest.mark.plain(
    "no foreign key ties a message to a row that each node has, and a lock of that holds nobody"
)


def crowd(host: Host, number: int = 100) -> None:
    """Four times ``number`` people of two users, each with two devices and two sequences; every second of one user
    is at the last step."""
    for prefix in ("6012", "6013"):
        user = host.user()
        first = prefix == "6012"
        devices = [host.device(user, "held" if first else ""), host.device(user)]
        for place, device in enumerate(devices):
            name = "held" if first and place == 0 else f"sequence {prefix} {place}"
            sequence = host.sequence(user, name)
            last = host.step(sequence, 1, "HELD" if name == "held" else f"T{place}", "")
            other = host.step(sequence, 2, f"U{place}", f"V{place}")
            host.step(sequence, 3, f"V{place}", "")
            given = {"user": user, "devices": devices, "last": last, "other": other, "sequence": sequence,
                     "prefix": prefix, "trigger": "HELD" if name == "held" else f"T{place}", "from": place * number, "number": number, "device": device}  # fmt: skip
            host.rows(
                "insert into leads (user_id, device_id, phone, name, trigger) select %(user)s, %(device)s,"
                " %(prefix)s || lpad(i::text, 7, '0'), 'Somebody', 'KEEP,' || %(trigger)s"
                " from generate_series(%(from)s::int, %(from)s::int + %(number)s - 1) as i",
                given,
            )
            host.rows(
                "insert into sequence_contacts (sequence_id, sequence_stepid, contact_phone, assigned_device_id,"
                " status, next_trigger_time) select %(sequence)s, case when i %% 2 = 1 then %(last)s::uuid else"
                " %(other)s::uuid end, %(prefix)s || lpad(i::text, 7, '0'), (%(devices)s::uuid[])[1 + i / 2 %% 2],"
                " 'active', now() at time zone 'UTC' - interval '1 hour' + i * interval '1 ms'"
                " from generate_series(%(from)s::int, %(from)s::int + %(number)s - 1) as i",
                given,
            )


@contextmanager
def locked(host: Host, connect: Connect, statement: str) -> Iterator[Host]:
    """A psql-like session that has run ``statement``, and is left open."""
    other = Host(connect(host.url))
    other.rows("set application_name = 'forgotten psql'")
    with other.connection.transaction():
        other.rows(statement)
        yield other


def tick(seqdev: Cli, *options: str, code: int = 0) -> tuple[Any, str]:
    ran = seqdev("tick", "--format", "json", *options)
    assert ran.code == code, ran
    return json.loads(ran.out), ran.err


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQDEV_LOCK_TIMEOUT", "400ms")


@pytest.mark.thorough
@pytest.mark.cases(3)
@pytest.mark.parametrize(
    "what",
    [
        *("lead renamed", "lead"),
        pytest.param("leads", marks=pytest.mark.plain("it locks rows of several shards at once")),
        *(pytest.param(one, marks=UNTIED) for one in ("device", "sequence", "step", "user")),
    ],
)
def test_who_depends_on_a_locked_row_waits_and_all_others_go(
    host: Host, connect: Connect, seqdev: Cli, what: str
) -> None:
    crowd(host)
    if not citus.URL:
        host.rows(
            "alter table broadcast_messages add foreign key (sequence_stepid) references sequence_steps"
        )
    dependent: set[UUID] = {
        row.id for row in host.rows(f"select id from sequence_contacts where {DEPEND[what]}")
    }
    assert dependent
    with locked(host, connect, LOCKS[what]) as other:
        began = time.monotonic()
        summary, err = tick(seqdev)
        took = time.monotonic() - began
        waiting = {row.id for row in host.rows("select id from sequence_contacts where status = 'active'"
                                               " and next_trigger_time < now() at time zone 'UTC'")}  # fmt: skip
        assert waiting == dependent
        assert (summary["queued"], summary["waiting"]) == (
            400 - len(dependent),
            {"locked_by_other": len(dependent)},
        )
        table = {"user": "users", "device": "user_devices", "sequence": "sequences", "step": "sequence_steps"}
        assert (
            f"contacts wait as locked_by_other: a row of {table.get(what, 'leads')} is held by session"
            f" {other.connection.info.backend_pid} (forgotten psql, role {other.connection.info.user},"
            " in a transaction since "
        ) in err
        assert len(err.splitlines()) == 1
        assert took < (60 if citus.URL else 10), f"the tick took {took:.1f} s"
    assert not host.broken_promises()
    summary, err = tick(seqdev)
    assert (summary["queued"], summary["waiting"], err) == (len(dependent), {}, "")
    assert not host.broken_promises()


@pytest.mark.thorough
@pytest.mark.cases(2)
@pytest.mark.parametrize(
    ("policy", "what"),
    [
        *(pytest.param(policy, "device", marks=UNTIED) for policy in ("strict", "fallback", "reassign")),
        ("strict", "lead renamed"),
        pytest.param("reassign", "sequence", marks=UNTIED),
    ],
)
def test_under_every_policy_a_locked_row_holds_back_nobody_else(
    host: Host, connect: Connect, seqdev: Cli, what: str, policy: str
) -> None:
    for limit in ("in_flight", "per_hour", "per_day"):
        host.rule(f"max_{limit}", "5000")
    crowd(host, 50)
    dependent = host.value(f"select count(*) from sequence_contacts where {DEPEND[what]}")
    with locked(host, connect, LOCKS[what]):
        summary, _ = tick(seqdev, "--policy", policy)
        assert (summary["queued"], summary["waiting"]) == (200 - dependent, {"locked_by_other": dependent})
    assert tick(seqdev, "--policy", policy)[0]["queued"] == dependent
    assert not host.value("select count(*) from seqdev.change"), "somebody was moved because of a lock"
    assert not host.broken_promises()


def test_batches_go_on_past_what_is_locked(host: Host, connect: Connect, seqdev: Cli) -> None:
    crowd(host)
    # The oldest of all, more than a batch of them.
    with locked(host, connect, "select") as other:
        assert hold(other, "leads", "phone < '60120000120' and phone like '6012%'")
        summary, _ = tick(seqdev, "--batch-size", "20", "--jobs", "1")
        assert (summary["queued"], summary["waiting"]) == (340, {"locked_by_other": 60})
    assert tick(seqdev)[0]["queued"] == 60
    assert not host.broken_promises()


@pytest.mark.cases(1)
@pytest.mark.parametrize("state", ["55P03", "40001", "40P01"])
def test_a_contact_whose_trigger_says_to_try_again_keeps_nobody_back(
    host: Host, seqdev: Cli, state: str
) -> None:
    crowd(host, 75)
    host.rows(
        "create function busy() returns trigger language plpgsql as"
        f" $$ begin raise exception 'busy: %', new using errcode = '{state}'; end $$"
    )
    host.rows(
        "create trigger busy before insert on broadcast_messages for each row"
        " when (new.recipient_phone = '60120000033') execute function busy()"
    )
    summary, err = tick(seqdev)
    assert (summary["queued"], summary["waiting"], summary["quarantined"]) == (299, {"locked_by_other": 1}, 0)
    assert err == (f"seqdev: contacts wait as locked_by_other: SQLSTATE {state}, raised by function busy\n")
    host.rows("drop trigger busy on broadcast_messages")
    assert tick(seqdev)[0]["queued"] == 1
    assert not host.broken_promises()


def test_a_lock_that_goes_while_the_tick_runs_is_waited_for(
    host: Host, connect: Connect, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQDEV_LOCK_TIMEOUT", "30s")
    crowd(host, 20)
    other = connect(host.url)
    other.execute("begin")
    other.execute(LOCKS["sequence"].encode())
    # Ended by the server's clock, while the tick runs in this very process.
    other.execute("set idle_in_transaction_session_timeout = '1s'")
    summary, err = tick(seqdev)
    assert (summary["queued"], summary["waiting"], err) == (80, {}, "")
    assert not host.broken_promises()


def test_a_failed_send_and_a_reason_that_a_trigger_puts_off_do_not_stop_the_tick(
    host: Host, seqdev: Cli
) -> None:
    crowd(host, 5)
    tick(seqdev)
    host.rows("update broadcast_messages set status = 'failed' where recipient_phone = '60120000001'")
    host.write_phone("sequence_contacts", " ", "contact_phone = '60120000002' and status = 'active'")
    host.make_all_due()
    host.rows(
        "create function busy() returns trigger language plpgsql as"
        " $$ begin raise exception 'busy: %', new using errcode = '55P03'; end $$"
    )
    host.rows(
        "create trigger busy before update on sequence_contacts for each row"
        " when (new.status = 'failed' or new.contact_phone = ' ') execute function busy()"
    )
    began = time.monotonic()
    summary, err = tick(seqdev, code=3)
    assert time.monotonic() - began < 10
    assert (summary["failed_reflected"], summary["queued"], summary["waiting"]) == (0, 9, {"bad_phone": 1})
    assert "1 failed send not shown on the contact's row: SQLSTATE 55P03, raised by function busy" in err
    assert "why contacts wait was not written to last_error" in err


@pytest.mark.thorough
def test_a_table_that_is_locked_for_a_while_only_delays(host: Host, connect: Connect, seqdev: Cli) -> None:
    crowd(host, 10)
    other = connect(host.url)
    # As CREATE INDEX locks it; ended by the server, while the tick runs in this very process.
    other.execute("begin")
    other.execute("lock table broadcast_messages in share mode")
    other.execute("set idle_in_transaction_session_timeout = '4s'")
    summary, err = tick(seqdev)
    assert (summary["queued"], summary["waiting"], err) == (40, {}, "")


@pytest.mark.thorough
def test_a_trigger_that_waits_for_a_row_of_its_own_keeps_back_only_those_it_is_for(
    host: Host, connect: Connect, seqdev: Cli
) -> None:
    crowd(host, 50)
    host.rows("create table tally (device_id uuid primary key, messages int default 0)")
    host.rows("insert into tally select id from user_devices")
    host.rows(
        "create function tally() returns trigger language plpgsql as"
        " $$ begin update tally set messages = messages + 1 where device_id = new.device_id; return null; end $$"
    )
    host.rows("create trigger tally after insert on broadcast_messages for each row execute function tally()")
    (device,) = host.rows("select id from user_devices where device_name = 'held'")
    due = host.value("select count(*) from sequence_contacts where assigned_device_id = %s", device.id)
    with locked(host, connect, f"select from tally where device_id = '{device.id}' for update") as other:
        # On a busy machine the search comes to its end before it has found all of them, and says so: exit code 3.
        ran = seqdev("tick", "--format", "json", "--budget", "20s")
        assert ran.code == (3 if "stopped: other sessions hold" in ran.err else 0), ran.err
        summary = json.loads(ran.out)
        assert 0 < summary["queued"] <= 200 - due
        assert summary["queued"] == 200 - due or ran.code == 3
        assert (
            f"a row of tally is held by session {other.connection.info.backend_pid} (forgotten psql"
            in ran.err
        )
    tick(seqdev)
    assert host.value("select count(*) from broadcast_messages") == 200
    assert not host.broken_promises()


@pytest.mark.cases(2)
@pytest.mark.parametrize(
    "what", ["lead renamed", *(pytest.param(one, marks=UNTIED) for one in ("device", "sequence", "user"))]
)
def test_the_rights_of_the_tick_are_enough(
    host: Host, connect: Connect, seqdev: Cli, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    crowd(host, 20)
    dependent = host.value(f"select count(*) from sequence_contacts where {DEPEND[what]}")
    owner = host.value("select current_user")
    host.rows("create role locked_ticker login")
    try:
        assert seqdev("db", "grants", "tick", "--to", "locked_ticker", "--yes").code == 0
        monkeypatch.setenv("SEQDEV_DATABASE_URL", host.url.replace(f"user={owner}", "user=locked_ticker"))
        with locked(host, connect, LOCKS[what]) as other:
            summary, err = tick(seqdev)
        assert summary["waiting"] == {"locked_by_other": dependent}
        # When another role's transaction began is not for this one to see.
        assert err.endswith(
            f" is held by session {other.connection.info.backend_pid} (forgotten psql, role {owner})\n"
        )
        assert tick(seqdev)[0]["queued"] == dependent
    finally:
        host.rows("drop owned by locked_ticker")
        host.rows("drop role locked_ticker")
