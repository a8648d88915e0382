"""A tick killed in the middle of its batch, or of its commit, leaves all of the batch or nothing."""

import time

import pytest

from tests.world.crowd import small
from tests.world.host import Connect, Host
from tests.world.obstacles import stuck_tick
from tests.world.sessions import TICKING
from tests.world.ticks import Ticks
from tests.world.waiting import until

PIDS = TICKING.replace("count(*)", "pid")


def test_a_tick_killed_in_its_batch_leaves_nothing_and_the_next_waits_for_its_locks(
    host: Host, connect: Connect, ticks: Ticks
) -> None:
    world = small(host, devices=1, contacts=20)
    with stuck_tick(host, connect, ticks, world.leads[0]) as process:
        following = ticks.start()
        # The following one has seen that the device is taken, and has begun to wait for it.
        until(lambda: host.value("select count(*) from seqdev.run") == 2, "the following tick to begin")
        time.sleep(0.3)
        at_it = [row.pid for row in host.rows(f"{PIDS} and wait_event = 'PgSleep'")]
        process.kill()
        # Its session notices, though it is waiting for a lock, and not for its client.
        until(
            lambda: not host.rows(f"{PIDS} and pid = any(%s)", at_it),
            "the locks of the killed tick to go",
            patience=10,
        )
    assert ticks.end(following)["queued"] == 20
    assert host.broken_promises() == []
    assert host.value("select count(*) from broadcast_messages") == 20


@pytest.mark.thorough
def test_a_tick_killed_in_its_commit_has_done_all_of_its_batch_or_nothing(host: Host, ticks: Ticks) -> None:
    small(host, devices=1, contacts=20)
    host.rows(
        "create function dawdle() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(0.1); return null; end $$"
    )
    # Deferred: it runs when the commit has begun, once for each message.
    host.rows(
        "create constraint trigger dawdle after insert on broadcast_messages deferrable initially deferred"
        " for each row execute function dawdle()"
    )
    # The tick has constraints checked by each statement: this one goes back to the commit.
    host.rows(
        "create function defer() returns trigger language plpgsql as"
        " $$ begin set constraints all deferred; return null; end $$"
    )
    host.rows("create trigger defer before insert on broadcast_messages execute function defer()")
    process = ticks.start("--batch-size", 10)
    commits = f"{PIDS} and wait_event = 'PgSleep' and lower(query) ~ '^(commit|prepare)'"
    until(lambda: host.rows(commits), "the tick to commit")
    at_it = [row.pid for row in host.rows(f"{PIDS} and application_name like 'seqdev%'")]
    process.kill()
    process.wait()
    until(lambda: not host.rows(f"{PIDS} and pid = any(%s)", at_it), "the session of the killed tick to end")
    assert host.value("select count(*) from broadcast_messages") in (0, 10)
    assert host.broken_promises() == []
    host.rows("drop trigger defer on broadcast_messages")
    host.rows("drop trigger dawdle on broadcast_messages")
    ticks.run()
    assert host.value("select count(*) from broadcast_messages") == 20
    assert host.broken_promises() == []
