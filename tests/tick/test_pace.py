"""How much a tick takes at once while the host waits for what it has locked."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from seqdev.tick import pace
from tests.world.backlog import MESSAGES, fill
from tests.world.command import Cli
from tests.world.host import Connect, Host
from tests.world.obstacles import slow

DUE, BATCH = 200, 50
# A batch's rows are of one transaction, in one savepoint.
BATCHES = "select count(*) from broadcast_messages group by xmin order by xmin::text::bigint"


@pytest.fixture(autouse=True)
def backlog_of_slow_messages(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole batch of messages takes twice as long as the host may have to wait, at least."""
    fill(host, DUE, users=1)
    slow(host, "broadcast_messages", "insert", 2 * pace.HOLD / BATCH)
    monkeypatch.setattr(pace, "LEAST", 5)


UNSEEN = pytest.mark.plain("who waits for a batch does so on another node, unseen: batches are whole")


@contextmanager
def waiting(connect: Connect, database: str, times: int) -> Iterator[None]:
    """The host wants what a batch holds, again and again."""
    over = threading.Event()

    def work() -> None:
        with connect(database) as connection:
            for _ in range(times):
                while not over.is_set():
                    with connection.transaction():
                        # Only while a tick is writing: who comes first waits for nobody.
                        found = connection.execute(
                            "select from pg_locks where relation = 'broadcast_messages'::regclass"
                            " and mode = 'RowExclusiveLock' and granted limit 1"
                        ).rowcount
                        if found:
                            connection.execute("lock table broadcast_messages in share mode")
                            break
                    time.sleep(0.002)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@UNSEEN
def test_batches_are_small_while_the_host_waits_for_them(
    host: Host, seqdev: Cli, connect: Connect, database: str
) -> None:
    with waiting(connect, database, times=1000):
        assert seqdev("tick", "--batch-size", BATCH, "--jobs", 1).code == 0
    first, *others = [size for (size,) in host.rows(BATCHES)]
    assert first == BATCH
    # Half a batch takes as long as others may wait.
    assert max(others) <= BATCH / 2, others
    assert host.value(MESSAGES) == DUE
    assert host.broken_promises() == []


@pytest.mark.thorough
@UNSEEN
def test_batches_grow_again_when_nobody_waits_any_more(
    host: Host, seqdev: Cli, connect: Connect, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "CALMER", 0.0)
    with waiting(connect, database, times=1):
        assert seqdev("tick", "--batch-size", BATCH, "--jobs", 1).code == 0
    first, second, *others = [size for (size,) in host.rows(BATCHES)]
    assert (first, max(others)) == (BATCH, BATCH)
    assert second <= BATCH / 2


@pytest.mark.thorough
def test_batches_are_whole_where_nobody_waits(host: Host, seqdev: Cli) -> None:
    assert seqdev("tick", "--batch-size", BATCH, "--jobs", 1).code == 0
    assert {size for (size,) in host.rows(BATCHES)} == {BATCH}
