"""Rows and devices that somebody else holds: what waits for them, what passes them by, what is judged anew."""

import time

import pytest

from tests.world import citus
from tests.world.crowd import small
from tests.world.host import MESSAGE_ID, Connect, Host
from tests.world.obstacles import hold, stopped_statement, stuck_tick
from tests.world.sessions import TICKING, stopped, waiting_for_a_lock
from tests.world.ticks import Ticks
from tests.world.waiting import until

MESSAGE = f"m.id = {MESSAGE_ID} and m.recipient_phone = sc.contact_phone"


@pytest.mark.plain("one tick at a time claims")
def test_two_ticks_that_end_two_sequences_of_a_person_at_once_lose_neither_change(
    host: Host, connect: Connect, ticks: Ticks
) -> None:
    user = host.user()
    devices = [host.device(user), host.device(user)]
    lead = host.lead(user, devices[0], "6012345678", "LEFT,KEEP,RIGHT")
    host.simple_sequence(user, "NEXT")
    holder = Host(connect(host.url))
    with holder.connection.transaction():
        holder.rows("select from leads where id = %s for update", lead)
        both = []
        # Each holds one of the devices, and both have read the same list.
        for device, trigger, then in zip(devices, ("LEFT", "RIGHT"), ("", "NEXT"), strict=True):
            sequence = host.sequence(user)
            host.contact(sequence, host.step(sequence, 1, trigger, then), "6012345678", device)
            both.append(ticks.start(SEQDEV_LOCK_TIMEOUT="60s"))
            until(lambda: waiting_for_a_lock(host) > 0, "the tick to be about to change the lead")
        time.sleep(0.5)
    summaries = [ticks.end(process) for process in both]
    assert sum(summary["queued"] for summary in summaries) == 2
    assert host.value("select trigger from leads where id = %s", lead) == "KEEP,NEXT"
    assert host.broken_promises() == []


@pytest.mark.thorough
@pytest.mark.parametrize("policy", ["queue", "strict"])
def test_what_another_processor_has_locked_is_neither_waited_for_nor_taken(
    host: Host, connect: Connect, ticks: Ticks, policy: str
) -> None:
    small(host, devices=2, contacts=20)
    other = Host(connect(host.url))
    with other.connection.transaction():
        # All of one device's, some of the other's.
        locked = host.rows(
            "select id from sequence_contacts order by assigned_device_id, contact_phone limit 25"
        )
        assert hold(other, "sequence_contacts", "id = any(%s)", [row.id for row in locked]) == 25
        process = ticks.start("--policy", policy)
        while process.poll() is None:
            # On Citus it finds out by waiting, for no longer than a moment.
            assert citus.URL or not waiting_for_a_lock(host), "the tick waits for row locks"
            time.sleep(0.01)
        summary = ticks.end(process)
        left = "locked_by_other" if citus.URL else "next_tick"
        assert (summary["queued"], summary["waiting"]) == (15, {left: 25})
        assert not other.rows(
            f"select 1 from broadcast_messages as m join sequence_contacts as sc on {MESSAGE}"
            " where sc.id = any(%s)",
            [row.id for row in locked],
        )
        other.rows(
            "update sequence_contacts set status = 'taken' where id = any(%s)", [row.id for row in locked[:5]]
        )
    assert ticks.run("--policy", policy)["queued"] == 20
    assert host.value("select count(*) from broadcast_messages") == 35
    assert host.broken_promises() == []


@pytest.mark.thorough
def test_a_contact_that_changes_in_the_moment_of_the_claim_is_judged_as_it_is_now(
    host: Host, connect: Connect, ticks: Ticks
) -> None:
    world = small(host, devices=2, contacts=10)
    old, new = world.devices
    contacts = host.rows("select id from sequence_contacts where assigned_device_id = %s", old)
    taken, moved, claimed, later = (row.id for row in contacts[:4])
    with stopped_statement(host, connect, "tick/claim.sql"):
        host.rows("update sequence_contacts set next_trigger_time = next_trigger_time - interval '1 day'"
                  " where assigned_device_id = %s", old)  # fmt: skip
        process = ticks.start("--policy", "strict")
        until(lambda: stopped(host) == 1, "the claim to have begun")
        for change, contact in (
            ("status = 'taken'", taken),
            (f"assigned_device_id = '{new}'", moved),
            ("processing_started_at = now() at time zone 'UTC'", claimed),
            ("next_trigger_time = now() at time zone 'UTC' + interval '1 day'", later),
        ):
            host.rows(f"update sequence_contacts set {change} where id = %s", contact)
    ticks.end(process)
    ticks.run("--policy", "strict")
    assert host.broken_promises() == []
    sent = dict(
        host.rows(
            "select sc.id, m.device_id from sequence_contacts as sc"
            f" join broadcast_messages as m on {MESSAGE}"
        )
    )
    assert len(sent) == 17
    assert not sent.keys() & {taken, claimed, later}
    assert sent[moved] == new, "the message went from the device the contact was moved away from"


def test_a_contact_that_is_assigned_between_its_choice_and_the_claim_is_counted_once(
    host: Host, connect: Connect, ticks: Ticks
) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    host.lead(user, device, "60123456789")
    host.contact(sequence, step, "60123456789", None)
    with stopped_statement(host, connect, "tick/pick.sql"):
        process = ticks.start()
        until(lambda: stopped(host) == 1, "the choice to have begun")
        host.rows("update sequence_contacts set assigned_device_id = %s", device)
    assert ticks.end(process)["queued"] == 1
    assert host.value("select count(*) from broadcast_messages") == 1


@pytest.mark.plain("a statement of its own takes the lock, before the one that counts has begun")
def test_capacity_is_counted_only_once_the_device_is_held(host: Host, connect: Connect, ticks: Ticks) -> None:
    small(host, devices=1, contacts=60)
    options = ("--policy", "strict", "--budget", "20s")
    host.rule("max_in_flight", 5)
    with stopped_statement(host, connect, "tick/lock.sql"):
        first = ticks.start(*options)
        until(lambda: stopped(host) == 1, "the first to be about to lock the device")
        # It has begun, and sees an empty queue; the second fills it.
        assert ticks.run(*options)["queued"] == 5
    assert ticks.end(first)["queued"] == 0
    assert host.value("select count(*) from broadcast_messages") == 5


def test_a_tick_counts_nothing_on_a_device_that_another_one_is_filling(
    host: Host, connect: Connect, ticks: Ticks
) -> None:
    world = small(host, devices=1, contacts=60)
    oldest = host.value("select contact_phone from sequence_contacts order by next_trigger_time limit 1")
    lead = host.value("select id from leads where phone = %s", oldest)
    options = ("--policy", "strict")
    with stuck_tick(host, connect, ticks, lead, *options) as first:
        second = ticks.start(*options)
        until(lambda: host.value("select count(*) from seqdev.run") == 2, "the second tick to begin")
        time.sleep(0.3)
    assert ticks.end(first)["queued"] + ticks.end(second)["queued"] == 50
    assert host.rows("select device_id, count(*) from broadcast_messages group by 1") == [
        (world.devices[0], 50)
    ]


@pytest.mark.thorough
def test_the_host_never_waits_longer_for_a_row_than_a_batch_takes(
    host: Host, connect: Connect, ticks: Ticks
) -> None:
    small(host, devices=1, contacts=200)
    # A slow server: a batch of 10 takes a tenth of a second, all of it two seconds.
    host.rows(
        "create function dawdle() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(0.01); return null; end $$"
    )
    host.rows(
        "create trigger dawdle after insert on broadcast_messages for each row execute function dawdle()"
    )
    process = ticks.start("--batch-size", 10)
    longest, updates = 0.0, 0
    other = Host(connect(host.url))
    until(lambda: host.value(TICKING), "the tick to begin")
    while process.poll() is None:
        for statement in (
            "update sequence_contacts set contact_name = 'Ana' where id ="
            " (select id from sequence_contacts where status = 'active' order by next_trigger_time limit 1)",
            "update leads set name = 'Ana' where id ="
            " (select l.id from leads as l join sequence_contacts as sc on sc.contact_phone = l.phone"
            " where sc.status = 'active' order by sc.next_trigger_time limit 1)",
            "update user_devices set last_seen = now(), status = 'online'",
        ):
            began = time.monotonic()
            other.rows(statement)
            longest, updates = max(longest, time.monotonic() - began), updates + 1
    assert ticks.end(process)["queued"] == 200
    assert updates > 20
    assert longest < 1.5, f"an update of the host waited {longest} s"
    assert host.broken_promises() == []
