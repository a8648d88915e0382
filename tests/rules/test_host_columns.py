"""The host's own columns under host_columns: the order of its sequences, and the delays of its steps."""

import itertools
import json
from typing import Any
from uuid import UUID

import pytest

from seqdev.tick.claims import CLAIM
from tests.world.command import Cli
from tests.world.crowd import due_people
from tests.world.host import MESSAGE_ID, Host
from tests.world.statements import binds


@pytest.fixture
def user(host: Host) -> UUID:
    host.rule("policy", "strict")
    host.rule("host_columns", "true")
    return host.user()


def tick(seqdev: Cli, *options: str) -> Any:
    ran = seqdev("tick", "--format", "json", *options)
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def sent(host: Host) -> list[UUID]:
    """The sequence of each message."""
    rows = host.rows("select sequence_id from broadcast_messages order by scheduled_at, sequence_id")
    return [row.sequence_id for row in rows]


@pytest.mark.parametrize("policy", ["strict", "fallback", "reassign"])
@pytest.mark.parametrize("batch", ["10000", "2"])
def test_where_a_device_has_not_room_for_all_the_higher_priority_goes_first(
    host: Host, seqdev: Cli, user: UUID, policy: str, batch: str
) -> None:
    host.rule("policy", policy)
    host.rule("max_in_flight", 5)
    device = host.device(user)
    due_people(host, user, device, 9, priority=None)
    due_people(host, user, device, 9, priority=-1)
    high, higher = (due_people(host, user, device, number, priority=p) for number, p in ((7, 5), (2, 10)))
    # Who is assigned to nobody is the lead's.
    host.rows("update sequence_contacts set assigned_device_id = null where sequence_id = %s", high)
    dry = tick(seqdev, "--dry-run")
    done = tick(seqdev, "--batch-size", batch)
    assert (dry["queued"], dry["waiting"]) == (done["queued"], done["waiting"])
    assert sorted(sent(host)) == sorted([higher] * 2 + [high] * 3)
    oldest = f"select max(next_trigger_time) from sequence_contacts as sc where sequence_id = %s and {{}} exists (select from broadcast_messages as m where m.recipient_phone = sc.contact_phone and m.id = {MESSAGE_ID})"
    first = host.value(oldest.format(""), high)
    assert first < host.value(oldest.format("not").replace("max", "min"), high)


def test_without_host_columns_or_under_queue_or_of_one_priority_the_oldest_goes_first(
    host: Host, seqdev: Cli, user: UUID
) -> None:
    device = host.device(user)
    old = due_people(host, user, device, 9, priority=1)
    due_people(host, user, device, 2, priority=5)
    host.rule("max_in_flight", 3)
    host.rule("host_columns", "false")
    tick(seqdev)
    assert sent(host) == [old] * 3
    host.rule("host_columns", "true")
    host.rule("policy", "queue")
    tick(seqdev, "--max-messages", "1")
    assert sent(host) == [old] * 4
    # That of a sequence that is not active makes no difference, nor that of another user.
    host.rule("policy", "strict")
    host.rule("max_in_flight", 5)
    host.rows("update sequences set is_active = false where priority = 5")
    due_people(host, host.user(), None, 2, priority=7)
    tick(seqdev)
    assert sent(host) == [old] * 5


def test_tick_dry_run_and_explain_agree_on_who_is_moved(host: Host, seqdev: Cli, user: UUID) -> None:
    host.rule("policy", "fallback")
    host.rule("max_in_flight", 3)
    first, second = host.device(user, "A"), host.device(user, "B")
    low = due_people(host, user, first, 5, priority=1)
    high = due_people(host, user, first, 2, priority=2)
    lost = due_people(host, user, host.device(user, "C", status="offline"), 3, priority=3)
    (waits,) = host.rows(
        "select contact_phone from sequence_contacts where sequence_id = %s"
        " order by next_trigger_time limit 1",
        low,
    )
    told = json.loads(seqdev("explain", waits.contact_phone, "--format", "json").out)["stories"][0]
    (gate,) = (one for one in told["waiting"][0]["gates"] if one["gate"] == "capacity")
    assert "due before it 2" in gate["detail"]
    dry, done = tick(seqdev, "--dry-run"), tick(seqdev)
    for name in ("queued", "moved", "waiting"):
        assert dry[name] == done[name]
    rows = host.rows("select device_id, sequence_id, count(*) as n from broadcast_messages group by 1, 2")
    assert {(row.device_id, row.sequence_id): row.n for row in rows} == {
        (first, high): 2,
        (first, low): 1,
        (second, lost): 3,
    }


@pytest.mark.parametrize("kind", ["integer", "text", "numeric(5,1)", None])
def test_a_priority_of_any_kind_counts_and_may_be_missing(
    host: Host, seqdev: Cli, user: UUID, kind: str | None
) -> None:
    host.rule("max_in_flight", 2)
    device = host.device(user)
    old = due_people(host, user, device, 3)
    high = due_people(host, user, device, 2, priority=9)
    if kind:
        host.rows(f"alter table sequences alter column priority type {kind}")
    else:
        host.rows("alter table sequences drop column priority")
    tick(seqdev)
    assert sent(host) == [high if kind else old] * 2


@pytest.mark.plain("it reads the plan of a statement that is another one there")
def test_where_no_priority_counts_the_claim_reads_in_the_order_of_the_index(host: Host, user: UUID) -> None:
    device = host.device(user)
    due_people(host, user, device, 3)
    host.rows("set enable_seqscan = off")
    host.rows("set enable_sort = off")
    plan = "\n".join(
        row[0]
        for row in host.rows(
            f"explain {CLAIM.statement.text}", binds(host.connection, CLAIM, asked=[device], policy="strict")
        )
    )
    scan = plan.index("seqdev_contacts_due")
    above = plan[:scan].splitlines()[-3:]
    assert not any("Sort" in line for line in above), plan


def test_rules_list_tells_priorities_and_delays_and_whether_they_count(
    host: Host, seqdev: Cli, user: UUID
) -> None:
    device = host.device(user)
    due_people(host, user, device, 1, priority=0, min_delay_seconds=40)

    def listed() -> dict[str, str]:
        ran = seqdev("rules", "list", "--format", "json")
        assert "keep nothing back" not in ran.err
        return {
            one["source"]: one["value"]
            for one in json.loads(ran.out)
            if one["source"] not in ("rule", "default")
        }

    assert listed() == {"sequences.min_delay_seconds": "40", "sequence_steps.min_delay_seconds": "5"}
    due_people(host, user, device, 1, priority=3, min_delay_seconds=40)
    assert listed()["sequences.priority"] == "0, 3"
    host.rows("alter table broadcast_messages add max_delay_seconds integer")
    assert listed()["sequence_steps.max_delay_seconds"] == "15"
    host.rule("host_columns", "false")
    assert listed()["sequences.priority, does not count"] == "0, 3"


def test_the_hosts_delay_is_the_least_gap_of_spread(host: Host, seqdev: Cli, user: UUID) -> None:
    host.rule("spread", "true")
    device = host.device(user)
    due_people(host, user, device, 9)
    # The step's own comes first, and that of a sequence that is not active does not count.
    host.rows("update sequences set min_delay_seconds = 3000")
    host.rows("update sequence_steps set min_delay_seconds = 600")
    due_people(host, user, device, 1, is_active=False)
    host.rows("update sequence_steps set min_delay_seconds = 3000 where min_delay_seconds = 5")
    # As many as fit into 75 minutes, ten minutes apart: not before the next tick of that time, the others.
    dry, done = tick(seqdev, "--dry-run"), tick(seqdev)
    assert dry["queued"] == done["queued"] == 8
    scheduled = [row.at for row in host.rows("select scheduled_at as at from broadcast_messages order by 1")]
    gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(scheduled)]
    assert all(300 <= gap <= 900 for gap in gaps)
    host.rule("host_columns", "false")
    assert tick(seqdev)["queued"] == 1


def test_delays_go_with_the_message_where_it_has_columns_for_them(
    host: Host, seqdev: Cli, user: UUID
) -> None:
    host.rows(
        "alter table broadcast_messages add min_delay_seconds integer default 1,"
        " add max_delay_seconds integer default 2"
    )
    device = host.device(user)
    sequences = [
        due_people(host, user, device, 2, min_delay_seconds=least, max_delay_seconds=most)
        for least, most in ((20, 60), (None, None), (7, 9))
    ]
    host.rows(
        "update sequence_steps set min_delay_seconds = null, max_delay_seconds = null where sequence_id <> %s",
        sequences[2],
    )
    tick(seqdev)
    rows = host.rows("select sequence_id, min_delay_seconds, max_delay_seconds from broadcast_messages")
    assert {(row.sequence_id, *row[1:]) for row in rows} == {
        (sequences[0], 20, 60),
        (sequences[1], 1, 2),
        (sequences[2], 5, 15),
    }
    due_people(host, user, device, 1, min_delay_seconds=20, max_delay_seconds=60)
    host.rule("host_columns", "false")
    tick(seqdev)
    (last,) = host.rows("select min_delay_seconds from broadcast_messages order by created_at desc limit 1")
    assert last.min_delay_seconds == 1


def test_a_role_of_ticks_may_hand_the_delays_on(host: Host, seqdev: Cli, user: UUID) -> None:
    assert "delay" not in seqdev("db", "grants", "tick", "--to", "postgres").out
    host.rows("alter table broadcast_messages add min_delay_seconds integer, add max_delay_seconds integer")
    granted = seqdev("db", "grants", "tick", "--to", "postgres").out
    assert "update (min_delay_seconds, max_delay_seconds)" in granted
