"""The policies that may send from another device of the same user: fallback and reassign (section 4)."""

import json
import subprocess
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import pytest

from seqdev.settings import Policy
from tests.world.command import Cli
from tests.world.forked import Forked
from tests.world.host import Host

MOVING = ["fallback", "reassign"]


def tick(seqdev: Cli, *options: str) -> Any:
    ran = seqdev("tick", "--format", "json", *options)
    assert (ran.code, ran.err) == (0, "")
    return json.loads(ran.out)


def people(host: Host, user: UUID, device: UUID | None, number: int, steps: int = 1) -> UUID:
    """So many contacts of a device, due, in a sequence of their own."""
    sequence, (first, *_) = host.simple_sequence(
        user, trigger=f"T{host.value('select count(*) from sequences')}", steps=steps
    )
    start = host.value("select count(*) from sequence_contacts")
    for lead in range(start, start + number):
        host.contact(sequence, first, f"6012{lead:06}", device)
    return sequence


def sent(host: Host) -> Counter[UUID]:
    return Counter(row.device_id for row in host.rows("select device_id from broadcast_messages"))


@pytest.mark.parametrize("policy", MOVING)
def test_contacts_of_a_dead_device_are_spread_evenly_over_the_users_others(
    host: Host, seqdev: Cli, policy: str
) -> None:
    user = host.user()
    dead = host.device(user, status="offline")
    live = [host.device(user) for _ in range(3)]
    people(host, user, dead, 50)
    summary = tick(seqdev, "--policy", policy)
    assert (summary["queued"], summary["moved"], summary["waiting"]) == (50, 50, {})
    assert sorted(sent(host)[device] for device in live) == [16, 17, 17]
    assert not host.broken_promises()


@pytest.mark.parametrize("policy", MOVING)
def test_the_least_loaded_devices_take_first_and_own_contacts_go_before_others(
    host: Host, seqdev: Cli, policy: str
) -> None:
    user = host.user()
    dead, busy, idle = host.device(user, status="offline"), host.device(user), host.device(user)
    people(host, user, dead, 20)
    people(host, user, busy, 30)
    summary = tick(seqdev, "--policy", policy)
    assert (summary["queued"], summary["moved"]) == (50, 20)
    assert (sent(host)[busy], sent(host)[idle]) == (30, 20)


@pytest.mark.parametrize("policy", MOVING)
def test_no_contact_ever_crosses_to_another_user(host: Host, seqdev: Cli, policy: str) -> None:
    user, other = host.user(), host.user()
    people(host, user, host.device(user, status="offline"), 10)
    host.device(other)
    people(host, other, host.device(other, status="offline"), 10)
    summary = tick(seqdev, "--policy", policy)
    assert (summary["queued"], summary["waiting"]) == (10, {"device_offline": 10})
    assert (
        host.rows(
            "select 1 from broadcast_messages m join user_devices d on d.id = m.device_id where d.user_id <> m.user_id"
        )
        == []
    )
    assert host.rows("select distinct user_id from broadcast_messages") == [(other,)]


@pytest.mark.parametrize("policy", MOVING)
def test_what_does_not_fit_anywhere_waits_for_its_own_reason(host: Host, seqdev: Cli, policy: str) -> None:
    user = host.user()
    full, dead = host.device(user), host.device(user, status="offline")
    host.device(user)
    people(host, user, full, 70)
    people(host, user, dead, 70)
    summary = tick(seqdev, "--policy", policy)
    assert (summary["due"], summary["queued"]) == (140, 100)
    assert sum(summary["waiting"].values()) == 40
    assert set(summary["waiting"]) <= {"device_full", "device_offline"}
    assert max(sent(host).values()) == 50


def test_fallback_leaves_the_assignment_and_reassign_moves_it_and_says_so(host: Host, seqdev: Cli) -> None:
    for policy in MOVING:
        user = host.user()
        dead = host.device(user, status="offline")
        live = host.device(user)
        sequence = people(host, user, dead, 3, steps=2)
        summary = tick(seqdev, "--policy", policy)
        assert (summary["queued"], summary["moved"]) == (3, 3)
        assigned = host.rows(
            "select distinct assigned_device_id from sequence_contacts where sequence_id = %s", sequence
        )
        assert assigned == [(live if policy == "reassign" else dead,)]
        assert host.value("select count(*) from sequence_contacts where sequence_id = %s", sequence) == 6
        journal = host.rows(
            "select c.*, sc.status from seqdev.change c join sequence_contacts sc on sc.id = c.row_id"
            " where run_id = %s",
            UUID(summary["run_id"]),
        )
        if policy == "fallback":
            assert journal == []
            continue
        assert len(journal) == 3
        for row in journal:
            assert (row.table_name, row.column_name, row.status) == (
                "sequence_contacts",
                "assigned_device_id",
                "completed",
            )
            assert (row.old_value, row.new_value) == (str(dead), str(live))


@pytest.mark.parametrize("policy", MOVING)
def test_contacts_without_any_device_or_with_one_that_is_gone_are_taken_too(
    host: Host, seqdev: Cli, policy: str
) -> None:
    user = host.user()
    gone = host.device(user)
    live = host.device(user)
    people(host, user, None, 2)
    people(host, user, gone, 2)
    host.rows("delete from user_devices where id = %s", gone)
    assert tick(seqdev, "--policy", policy)["moved"] == 4
    assert set(sent(host)) == {live}


@pytest.mark.parametrize("policy", MOVING)
def test_the_device_of_another_user_is_no_reason_to_guess(host: Host, seqdev: Cli, policy: str) -> None:
    user, other = host.user(), host.user()
    host.device(user)
    people(host, user, host.device(other), 2)
    assert tick(seqdev, "--policy", policy)["waiting"] == {"device_of_other_user": 2}


@pytest.mark.parametrize("policy", MOVING)
def test_the_unassigned_contact_of_an_available_lead_device_stays_unassigned(
    host: Host, seqdev: Cli, policy: str
) -> None:
    user = host.user()
    device = host.device(user)
    host.device(user)
    sequence, (step, _) = host.simple_sequence(user, steps=2)
    host.lead(user, device, "6012345678", "WARM")
    host.contact(sequence, step, "6012345678", None)
    summary = tick(seqdev, "--policy", policy)
    assert (summary["queued"], summary["moved"]) == (1, 0)
    assert set(sent(host)) == {device}
    assert host.rows("select distinct assigned_device_id from sequence_contacts") == [(None,)]


def crowd(host: Host) -> None:
    """Two users with devices of every kind, and more contacts than fit."""
    for _ in range(2):
        user = host.user()
        for status in ("online", "offline", "online", "banned"):
            device = host.device(user, status=status)
            people(host, user, device, 40)
        people(host, user, None, 15)
        gone = host.device(user)
        people(host, user, gone, 10)
        host.rows("delete from user_devices where id = %s", gone)
        host.rows(
            "insert into broadcast_messages (user_id, device_id, recipient_phone, status, sent_at)"
            " select user_id, id, '6019', 'sent', now() at time zone 'UTC' - interval '5 minutes'"
            " from (select * from user_devices where user_id = %s and status = 'online' order by id limit 1) as d,"
            " generate_series(1, 45)",
            user,
        )


@pytest.mark.cases(2)
@pytest.mark.parametrize("policy", list(Policy))
def test_compare_predicts_exactly_what_each_policy_then_does(host: Host, seqdev: Cli, policy: Policy) -> None:
    crowd(host)
    ran = seqdev("tick", "--compare", "--format", "json")
    assert (ran.code, ran.err) == (0, "")
    predicted = [row for row in json.loads(ran.out) if row["policy"] == policy.value]
    before = sent(host)
    summary = tick(seqdev, "--policy", policy.value, "--batch-size", "7")
    queued = sent(host) - before
    assert {UUID(row["device_id"]): row["queued"] for row in predicted if row["queued"]} == dict(queued)
    waiting = Counter[str]()
    for row in predicted:
        waiting.update(row["waiting"])
    assert dict(waiting) == summary["waiting"]
    assert sum(row["moved"] for row in predicted) == summary["moved"]
    assert not host.broken_promises()


@pytest.mark.thorough
@pytest.mark.parametrize("policy", MOVING)
def test_eight_ticks_at_once_exceed_no_capacity_and_lose_nobody(host: Host, policy: str) -> None:
    crowd(host)
    room = 2 * (35 + 50)
    running = [
        Forked(
            ["tick", "--policy", policy if number % 4 else "strict", "--batch-size", "9"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(8)
    ]
    for process in running:
        _, err = process.communicate(timeout=100)
        assert (process.returncode, err) == (0, "")
    assert host.value("select count(*) from broadcast_messages where status = 'pending'") == room
    assert (
        host.rows(
            "select device_id from broadcast_messages where status = 'pending' group by 1 having count(*) > 50"
        )
        == []
    )
    assert not host.broken_promises()


def test_a_tick_that_reassigned_cannot_be_undone_as_if_nothing_was_sent(host: Host, seqdev: Cli) -> None:
    user = host.user()
    host.device(user)
    people(host, user, host.device(user, status="offline"), 2)
    run = tick(seqdev, "--policy", "reassign")["run_id"]
    ran = seqdev("repair", "undo", run, "--yes")
    assert (ran.code, ran.out) == (2, "")
    assert "a tick cannot be undone" in ran.err


@pytest.mark.parametrize("policy", ["fallback", "reassign"])
def test_people_whose_leads_device_is_gone_go_by_another_of_the_user(
    host: Host, seqdev: Cli, policy: str
) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    host.rows("alter table leads drop constraint if exists leads_device_id_fkey")
    host.lead(user, uuid4(), "6012345678")
    host.contact(sequence, step, "6012345678", None)
    assert seqdev("tick", "--policy", policy).code == 0
    assert host.rows("select device_id from broadcast_messages") == [(device,)]
    assert host.broken_promises() == []
