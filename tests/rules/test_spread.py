"""The rule spread: a device's messages are laid out by its hourly rate, and its limits hold whenever they leave."""

import itertools
import json
import random
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from seqdev.gate_rows import DEVICES
from tests.world.command import Cli
from tests.world.crowd import due_people
from tests.world.forked import Forked
from tests.world.future import pass_time
from tests.world.host import Host
from tests.world.statements import run

MINUTE = timedelta(minutes=1)
MOST = """
    select m.device_id, count(*) over (
        partition by m.device_id
        order by coalesce(m.sent_at, greatest(m.scheduled_at, now() at time zone 'UTC'))
        range between interval '59 minutes 59.999999 seconds' preceding and current row
    ) as number
    from broadcast_messages as m where m.status in ('pending', 'sent')
"""
"""Of each message that has left or is to: how many leave its device in the 60 minutes that end with it."""


@pytest.fixture
def user(host: Host) -> UUID:
    host.rule("policy", "strict")
    host.rule("spread", "true")
    return host.user()


@pytest.fixture
def device(host: Host, user: UUID) -> UUID:
    """A device with 40 people due, whose messages leave five minutes apart: twelve an hour."""
    device = host.device(user, "A")
    due_people(host, user, device, 40)
    host.rule("max_per_hour", 12)
    return device


def tick(seqdev: Cli, *options: str) -> Any:
    ran = seqdev("tick", "--format", "json", *options)
    assert ran.code in (0, 3), ran.err
    return json.loads(ran.out)


def laid_out(host: Host, device: UUID) -> list[float]:
    """Minutes from now at which the device's messages are scheduled."""
    return [
        float(row.minutes)
        for row in host.rows(
            "select extract(epoch from scheduled_at - now() at time zone 'UTC') / 60 as minutes"
            " from broadcast_messages where device_id = %s and status = 'pending' order by 1",
            device,
        )
    ]


def gaps(instants: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(instants)]


def send(host: Host) -> int:
    """The worker: all that its time has come for, at that time."""
    return len(
        host.rows(
            "update broadcast_messages set status = 'sent', sent_at = scheduled_at"
            " where status = 'pending' and scheduled_at <= now() at time zone 'UTC' returning id"
        )
    )


def test_a_batch_is_laid_out_by_the_hourly_rate_the_oldest_first(
    host: Host, seqdev: Cli, device: UUID
) -> None:
    dry = tick(seqdev, "--dry-run")
    assert tick(seqdev)["queued"] == dry["queued"] == 12
    instants = laid_out(host, device)
    assert -0.2 < instants[0] < 1.3
    assert all(2.5 <= gap <= 7.5 for gap in gaps(instants)), instants
    assert len({round(gap, 1) for gap in gaps(instants)}) > 3, "without jitter"
    # Neighbours may not change places: each keeps its turn.
    turns = host.rows(
        "select sc.next_trigger_time from broadcast_messages as m"
        " join sequence_contacts as sc on m.id = md5('seqdev message ' || sc.id)::uuid order by m.scheduled_at"
    )
    assert turns == sorted(turns)


def test_without_the_rule_and_under_queue_all_are_scheduled_for_now(
    host: Host, seqdev: Cli, device: UUID
) -> None:
    host.rule("policy", "queue")
    set_again = seqdev("rules", "set", "spread", "true", "--why", "test")
    assert "spread has no effect for now: the policy is queue" in set_again.err
    assert tick(seqdev, "--max-messages", "5")["queued"] == 5
    host.rule("policy", "strict")
    host.rule("spread", None)
    tick(seqdev)
    assert max(laid_out(host, device)) < 0.1


def test_batches_and_ticks_go_on_where_the_one_before_has_ended(
    host: Host, seqdev: Cli, device: UUID
) -> None:
    assert tick(seqdev, "--batch-size", "1", "--max-messages", "4")["queued"] == 4
    assert tick(seqdev, "--batch-size", "3")["queued"] == 8
    assert all(2.5 <= gap <= 8.8 for gap in gaps(laid_out(host, device)))
    assert max(laid_out(host, device)) <= 75
    assert tick(seqdev)["waiting"] == {"device_full": 28}


def test_who_becomes_due_one_by_one_is_paced_too(host: Host, seqdev: Cli, user: UUID) -> None:
    device = host.device(user, "B")
    host.rule("max_per_hour", 12)
    for _ in range(4):
        due_people(host, user, device, 1)
        tick(seqdev)
        send(host)
        pass_time(host, MINUTE)
    left = [
        row.at / 60
        for row in host.rows(
            "select extract(epoch from scheduled_at)::float8 as at from broadcast_messages order by 1"
        )
    ]
    assert len(left) == 4
    assert all(gap >= 2.5 for gap in gaps(left)), left


def test_what_is_laid_out_keeps_its_place_in_every_limit(host: Host, seqdev: Cli, device: UUID) -> None:
    host.rule("max_in_flight", 5)
    assert tick(seqdev)["queued"] == 5
    assert tick(seqdev)["queued"] == 0
    # The worker stands still: nothing comes on top of what its time has come for.
    pass_time(host, 120 * MINUTE)
    assert tick(seqdev)["queued"] == 0
    host.rule("max_in_flight", 50)
    host.rule("max_per_day", 7)
    assert tick(seqdev)["queued"] == 2
    assert tick(seqdev)["waiting"] == {"device_full": 33}


def test_what_the_host_has_scheduled_soon_counts_in_the_hour_and_pushes_nothing(
    host: Host, seqdev: Cli, user: UUID, device: UUID
) -> None:
    for minutes in (20, 100, 130, 150, 1_000):
        host.rows(
            "insert into broadcast_messages (id, user_id, device_id, recipient_phone, status, scheduled_at, created_at)"
            " values (%s, %s, %s, '6019', 'pending', (now() + %s) at time zone 'UTC', now() at time zone 'UTC')",
            *(uuid4(), user, device, minutes * MINUTE),
        )
    host.rule("max_in_flight", 10)
    assert tick(seqdev)["queued"] == 9
    assert max(one for one in laid_out(host, device) if one not in (20, 100, 130)) > 40
    assert laid_out(host, device)[0] < 1.3


def test_the_rate_is_that_of_the_device_and_the_rule_that_of_its_user(
    host: Host, seqdev: Cli, user: UUID, device: UUID
) -> None:
    host.rule("spread", "false")
    host.rule("spread", "true", user=user)
    host.rule("max_per_hour", 60, device=device)
    host.rule("max_in_flight", 10)
    other = host.user()
    elsewhere = host.device(other, "C")
    due_people(host, other, elsewhere, 3)
    tick(seqdev)
    assert max(laid_out(host, elsewhere)) < 0.1
    assert 8 < max(laid_out(host, device)) < 10
    assert len(laid_out(host, device)) == 10


def test_who_is_moved_goes_behind_the_devices_own_people_and_to_who_has_the_least_ahead(
    host: Host, seqdev: Cli, user: UUID
) -> None:
    host.rule("policy", "fallback")
    host.rule("max_per_hour", 6)
    first, second = host.device(user, "A"), host.device(user, "B")
    lost = host.device(user, "C", status="offline")
    due_people(host, user, first, 4)
    tick(seqdev)
    due_people(host, user, lost, 5)
    dry = tick(seqdev, "--dry-run")
    done = tick(seqdev)
    assert (dry["queued"], dry["moved"]) == (done["queued"], done["moved"]) == (5, 5)
    # Four and five ahead make nine, on two devices.
    assert sorted([len(laid_out(host, first)), len(laid_out(host, second))]) == [4, 5]
    for device in (first, second):
        assert all(gap >= 5 for gap in gaps(laid_out(host, device)))


def test_refused_contacts_leave_no_hole_and_no_two_at_once(host: Host, seqdev: Cli, device: UUID) -> None:
    host.rows(
        "create function refuse() returns trigger language plpgsql as $$ begin"
        " if new.recipient_phone in (select contact_phone from sequence_contacts order by contact_phone limit 3)"
        " then raise exception 'no' using errcode = '23514'; end if; return new; end $$;"
    )
    host.rows(
        "create trigger refuse before insert on broadcast_messages for each row execute function refuse()"
    )
    host.rule("max_per_hour", 60)
    done = tick(seqdev)
    assert done["quarantined"] == 3
    assert len(laid_out(host, device)) == done["queued"] == 37
    assert all(0.5 <= gap <= 1.8 for gap in gaps(laid_out(host, device)))


def test_nothing_is_laid_out_beyond_the_closing_of_a_window(host: Host, user: UUID, device: UUID) -> None:
    host.rule("window", "daily 09:00-18:00")
    now = "2026-06-01T17:{}:00Z"

    def room(at: str) -> int:
        (row,) = run(
            *(host, DEVICES), now=at, policy="strict", spread="true", window="daily 09:00-18:00", closing="true",
            max_per_hour="12", max_per_day="800", max_in_flight="50",
        )  # fmt: skip
        return int(row.device_rooms.strip("{}"))

    assert [room(now.format(minute)) for minute in ("00", "29", "58", "59")] == [12, 6, 1, 0]
    # Long before, the limits alone count.
    assert room("2026-06-01T16:40:00Z") == 12
    # Whose window is another's does not wait for it.
    host.rule("window", "daily 09:00-17:05", user=host.user())
    assert room(now.format("00")) == 12


def test_explain_says_what_is_laid_out_and_when_a_window_ends_it(
    host: Host, seqdev: Cli, device: UUID
) -> None:
    host.rule("max_in_flight", 5)
    tick(seqdev)
    phone = host.value("select max(contact_phone) from sequence_contacts where status = 'active'")
    ran = seqdev("explain", str(phone))
    assert re.search(r"in flight [01] and laid out [45] \(spread\), of 5 \(max_in_flight for all\)", ran.out)
    (waiting,) = json.loads(seqdev("explain", str(phone), "--format", "json").out)["stories"][0]["waiting"]
    assert waiting["reason"] == "device_full"
    host.rule("max_in_flight", 50)
    now = datetime.now(UTC)
    host.rule("window", f"daily {now - timedelta(hours=5):%H:%M}-{now + timedelta(minutes=9):%H:%M}")
    waiting = json.loads(seqdev("explain", str(phone), "--format", "json").out)["stories"][0]["waiting"][0]
    (gate,) = (one for one in waiting["gates"] if one["gate"] == "capacity")
    assert "none is laid out beyond a window that closes at" in gate["detail"]
    assert gate["eligible_at"] is not None


def test_a_rule_that_cannot_be_read_is_told(host: Host, seqdev: Cli, user: UUID, device: UUID) -> None:
    host.rule("spread", "maybe", user=user)
    ran = seqdev("tick")
    assert ran.code == 2
    assert "the database's rule spread of the user" in ran.err
    assert host.rows("select from broadcast_messages") == []


def waves(number: int) -> Iterator[int]:
    """So many waves, some hours of them; minutes between two."""
    rng = random.Random(number)
    for _ in range(number):
        yield rng.choice([3, 7, 11, 23])


def eight_ticks(host: Host, number: int) -> None:
    user, devices = host.value("select user_id from user_devices limit 1"), []
    for name, most in (("D", 9), ("E", 20), ("F", 1)):
        devices.append(host.device(user, name))
        host.rule("max_per_hour", most, device=devices[-1])
        due_people(host, user, devices[-1], 60)
    rng, wave = random.Random(number), list(waves(number))
    for minutes in wave:
        ticks = [
            Forked(
                ["tick", "--policy", rng.choice(["strict", "fallback"]), "--batch-size", "7"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for _ in range(8)
        ]
        for process in ticks:
            _, err = process.communicate(timeout=180)
            assert process.returncode == 0, err
        # A worker that stands still from time to time sends late, all at once.
        if rng.random() < 0.7:
            host.rows(
                "update broadcast_messages set status = 'sent',"
                " sent_at = case when %s then scheduled_at else now() at time zone 'UTC' end"
                " where status = 'pending' and scheduled_at <= now() at time zone 'UTC'",
                rng.random() < 0.5,
            )
        pass_time(host, minutes * MINUTE)
        for row in host.rows(f"select device_id, max(number) as number from ({MOST}) as m group by 1"):
            limit = host.rows("select value from seqdev.rule where scope_id = %s", row.device_id)
            assert row.number <= int(limit[0].value if limit else 12), "more than max_per_hour in an hour"
    left = host.value("select count(*) from broadcast_messages where device_id = %s", devices[1])
    assert left >= 20 * (sum(wave) // 60 or 1) * 0.6, "paced more slowly than the limit"


@pytest.mark.thorough
def test_eight_ticks_at_once_never_exceed_the_hour_by_when_messages_leave(host: Host, device: UUID) -> None:
    eight_ticks(host, 2)


@pytest.mark.thorough
def test_eight_ticks_at_once_never_exceed_the_hour_in_many_waves(host: Host, device: UUID) -> None:
    eight_ticks(host, 25)
