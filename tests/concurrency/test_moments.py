"""Two sessions, interleaved by hand: what each protection is for, one moment at a time.

Ticks keep apart by locks on devices. Here the statements run without the ticks around them, so that what stands
behind those locks (row locks, keys, ids) is seen to hold by itself.
"""

import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest

from seqdev.enroll.rows import APPLY
from seqdev.postgres.engine import BEGIN, Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.settings import Settings
from seqdev.tick.batch import LOCK
from seqdev.tick.claims import CLAIM
from tests.world import citus
from tests.world.command import Cli
from tests.world.host import Connect, Host
from tests.world.statements import run

ADVISORY = "select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())"


@pytest.fixture
def sessions(database: str, connect: Connect) -> tuple[Host, Host]:
    """Two more sessions beside the host's."""
    return Host(connect(database)), Host(connect(database))


def beside(session: Host, work: Callable[[], Any], others: Host) -> Callable[[], Any]:
    """Begin ``work`` on ``session`` in a thread, and come back when it has ended or waits for a lock.

    What comes back waits for its end, and returns what it returned, or raises what it raised.
    """
    ended: list[Any] = []
    raised: list[BaseException] = []

    def guarded() -> None:
        try:
            ended.append(work())
        except BaseException as error:
            raised.append(error)

    def result() -> Any:
        thread.join(timeout=30)
        if raised:
            raise raised[0]
        return ended[0]

    waits = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
    pid = session.connection.info.backend_pid
    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    while thread.is_alive() and not others.value(waits, pid):
        time.sleep(0.005)
    return result


def world(host: Host, contacts: int = 6, steps: int = 1) -> tuple[UUID, UUID]:
    """A user with a device and its due contacts: user and device."""
    user = host.user()
    device = host.device(user)
    sequence, (step, *_) = host.simple_sequence(user, steps=steps)
    for number in range(contacts):
        host.contact(sequence, step, f"6012{number:06}", device)
    return user, device


def claim(session: Host, device: UUID) -> int:
    with session.connection.transaction():
        run(session, BEGIN)
        (row,) = run(session, CLAIM, asked=[device], take=4)
        return int(row.claimed)


def test_two_claims_of_one_device_at_once_take_no_contact_twice(
    host: Host, sessions: tuple[Host, Host]
) -> None:
    _, device = world(host)
    first, second = sessions
    with first.connection.transaction():
        run(first, BEGIN)
        assert [row.claimed for row in run(first, CLAIM, asked=[device], take=4)] == [4]
        other = beside(second, lambda: claim(second, device), host)
    # It took the rows that the first had not locked, whether it waited or not; on Citus it leaves to the next
    # what it has found before the first changed it.
    assert other() == (0 if citus.URL else 2)
    if citus.URL:
        assert claim(second, device) == 2
    sent = host.rows(
        "select recipient_phone, count(*)::integer as messages from broadcast_messages group by 1"
    )
    assert all(row.messages == 1 for row in sent), f"contacts with two messages: {sent}"
    assert len(sent) == 6
    assert not host.broken_promises()


@pytest.mark.parametrize("moves_in_between", [False, True])
def test_two_enrolments_at_once_enrol_a_person_once(
    host: Host, sessions: tuple[Host, Host], moves_in_between: bool
) -> None:
    user = host.user()
    host.simple_sequence(user)
    lead = host.lead(user, host.device(user), "6012345678", "WARM")
    first, second = sessions

    def enrol(session: Host) -> str:
        with session.connection.transaction():
            run(session, BEGIN)
            (row,) = run(session, APPLY, most=10)
            return str(row.verdict)

    with first.connection.transaction():
        run(first, BEGIN)
        assert [row.verdict for row in run(first, APPLY, most=10)] == ["enrolled"]
        if moves_in_between:
            host.rows("update leads set device_id = %s where id = %s", host.device(user), lead)
        other = beside(second, lambda: enrol(second), host)
    assert other() == "already_in"
    assert host.value("select count(*) from sequence_contacts") == 1, "the person was enrolled twice"


@pytest.mark.parametrize("by_user", [False, True])
def test_the_locks_of_a_batch_end_with_its_transaction(host: Host, by_user: bool) -> None:
    world(host)
    with host.connection.transaction():
        assert len(run(host, LOCK, by_user=by_user)) == 1
        assert host.value(ADVISORY) > 0
    # Behind a pooler the connection is somebody else's now.
    assert host.value(ADVISORY) == 0, "a lock outlived its transaction"


def test_the_settings_of_a_transaction_end_with_it(host: Host) -> None:
    settings = (
        "select name, setting from pg_settings where name in ('TimeZone', 'search_path', 'lock_timeout')"
    )
    before = host.rows(settings)
    with host.connection.transaction():
        run(host, BEGIN, timezone="Asia/Kuala_Lumpur", schema="elsewhere", lock_timeout="7s")
        assert host.rows(settings) != before
    assert host.rows(settings) == before, "a setting outlived its transaction"


BY_DEVICE, BY_USER, IN_A_CROWD = {"by_user": False}, {"by_user": True}, {"crowd": 1}


@pytest.mark.parametrize(
    ("held", "wanted"),
    [(BY_DEVICE, BY_USER), (BY_USER, BY_DEVICE), (BY_DEVICE, IN_A_CROWD), (IN_A_CROWD, BY_DEVICE)],
)
def test_a_tick_by_user_and_one_by_device_never_hold_the_same_device(
    host: Host, sessions: tuple[Host, Host], held: dict[str, object], wanted: dict[str, object]
) -> None:
    two_devices(host)
    first, second = sessions
    with first.connection.transaction(), second.connection.transaction():
        assert None not in [row.device_id for row in run(first, LOCK, **held)]
        assert [row.device_id for row in run(second, LOCK, **wanted)] == [None], "both hold the device"


@pytest.mark.thorough
@pytest.mark.plain("one lock is for all devices")
def test_of_a_crowd_so_many_devices_are_held_and_a_lock_for_each_user(
    host: Host, sessions: tuple[Host, Host]
) -> None:
    for _ in range(3):
        two_devices(host)
    first, second = sessions
    with first.connection.transaction(), second.connection.transaction():
        held = {row.device_id for row in run(first, LOCK, crowd=5, few=2, most=2)}
        assert (len(held), first.value(ADVISORY)) == (4, 2)
        rest = {row.device_id for row in run(second, LOCK, crowd=5)}
        assert len(rest) == 2
        assert not held & rest
    assert len(run(first, LOCK, crowd=3)) == 3
    assert len(run(first, LOCK, crowd=6)) == 6


def two_devices(host: Host) -> None:
    """A user with two devices, and somebody due on each."""
    user = host.user()
    sequence, (step,) = host.simple_sequence(user, f"WARM {user}")
    for number in range(2):
        host.contact(sequence, step, f"6012{number:06}", host.device(user, f"device {number}"))


@pytest.mark.parametrize("table", ["sequence_contacts", "leads"])
def test_an_error_after_the_message_takes_the_message_back(host: Host, seqdev: Cli, table: str) -> None:
    user, device = world(host, contacts=1)
    host.lead(user, device, "6012000000", "WARM")
    host.rows(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$"
    )
    host.rows(f"create trigger refuse before update on {table} for each row execute function refuse()")
    seqdev("tick")
    assert host.value("select count(*) from broadcast_messages") == 0, "a message without its step"
    assert not host.broken_promises()


@pytest.mark.parametrize(
    "argv", [["repair", "device", "old", "--to", "new", "--yes"], ["tick", "--policy", "reassign"]]
)
def test_a_commit_that_fails_leaves_neither_change_nor_journal(
    host: Host, seqdev: Cli, argv: list[str]
) -> None:
    user = host.user()
    old, _ = host.device(user, "old", "offline"), host.device(user, "new")
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "6012345678", old)
    host.rows(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$"
    )
    # Deferred: the rows have been changed and journaled, and the commit has begun.
    host.rows(
        "create constraint trigger refuse after update on sequence_contacts deferrable initially deferred"
        " for each row execute function refuse()"
    )
    seqdev(*argv)
    assert host.rows("select assigned_device_id from sequence_contacts") == [(old,)]
    assert host.value("select count(*) from seqdev.change") == 0, (
        "the journal tells of a change that is not there"
    )
    host.rows("drop trigger refuse on sequence_contacts")
    seqdev(*argv)
    assert host.value("select count(*) from seqdev.change") == 1


def test_a_conflict_with_another_key_of_the_hosts_is_no_message_that_exists(host: Host, seqdev: Cli) -> None:
    user, device = world(host, contacts=1)
    host.rows("create unique index theirs on broadcast_messages (device_id, recipient_phone)")
    host.rows(
        "insert into broadcast_messages (user_id, device_id, recipient_phone, status)"
        " values (%s, %s, '6012000000', 'sent')",
        *(user, device),
    )
    seqdev("tick")
    assert host.broken_promises() == [], "done without a message"
    ((status, reason),) = host.rows("select status, last_error from sequence_contacts")
    assert status == "set_aside"
    assert '"theirs"' in reason, "which key is in the way"


def test_a_batch_that_is_tried_again_decides_anew(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, device = world(host)
    rows = Transaction.rows
    tries: list[int] = []

    def interrupted(self: Transaction, query: Query[Any], **given: object) -> list[Any]:
        if query is CLAIM and not tries:
            tries.append(1)
            host.rows("update user_devices set status = 'offline' where id = %s", device)
            raise psycopg.errors.SerializationFailure
        return rows(self, query, **given)

    monkeypatch.setattr(Transaction, "rows", interrupted)
    # A failure that carries its state, as the server's do.
    monkeypatch.setattr(psycopg.errors.SerializationFailure, "sqlstate", "40001")
    ran = seqdev("tick", "--policy", "strict", "--format", "json")
    assert (ran.code, tries) == (0, [1]), ran.err
    assert '"device_offline": 6' in ran.out
    assert host.value("select count(*) from broadcast_messages") == 0, (
        "sent from a device that is offline by now"
    )


def test_a_connection_whose_rollback_was_cancelled_is_not_used_again(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = Database(Settings(database_url=database), "test", print)

    def cancelled_rollback(transaction: Transaction) -> None:
        monkeypatch.setattr(psycopg.Transaction, "_rollback_gen", lambda *_: iter(()))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        tried.retry(cancelled_rollback)
    monkeypatch.undo()
    assert tried.retry(lambda transaction: transaction.one(BEGIN).now)
    tried.close()
