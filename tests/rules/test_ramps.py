"""The rule warm_up: few messages a day at first, more each day, until max_per_day; counted from the messages."""

import json
import subprocess
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.world.command import Cli
from tests.world.forked import Forked
from tests.world.host import Host
from tests.world.others import Capacity, Watcher
from tests.world.waiting import in_background

DAY = timedelta(days=1)


@pytest.fixture
def device(host: Host) -> UUID:
    """A device with more people due than it may take."""
    host.rule("policy", "strict")
    user = host.user()
    device = host.device(user, "A")
    sequence, (step,) = host.simple_sequence(user)
    for person in range(60):
        host.contact(sequence, step, f"60120000{person:02}", device)
    return device


def sends(host: Host, device: UUID, *ages: timedelta, status: str = "sent") -> None:
    """Messages that the device has sent so long ago."""
    for age in ages:
        host.rows(
            "insert into broadcast_messages (id, user_id, device_id, recipient_phone, status, sent_at, created_at)"
            " select %s, user_id, id, '6019', %s, at, at from user_devices,"
            " (select (now() - %s::interval) at time zone 'UTC' as at) as a where id = %s",
            *(uuid4(), status, age, device),
        )


def planned(seqdev: Cli) -> int:
    return int(json.loads(seqdev("tick", "--dry-run", "--format", "json").out)["queued"])


def days(*numbers: float) -> list[timedelta]:
    return [timedelta(days=number) for number in numbers]


@pytest.mark.cases(4)
@pytest.mark.parametrize(
    ("sent", "queued"),
    [
        ([], 4),
        (days(0.5), 3),  # today counts as sent, not as a day that it has sent
        (days(1.1), 7),
        (days(1.1, 1.2, 1.3, 1.4), 7),  # one day, however many messages
        (days(1.1, 2.2, 3.3), 13),
        (days(1.1, 1.9, 2.7, 3.5), 10),  # 24 hours apart from each other: two of them
        (days(2, 8.9), 10),
        (days(2, 9.1), 7),  # a week without a message in between: it began anew
        (days(7.1), 4),
        (days(1.5, 8.4, 8.6, 15.5, 22.6), 13),  # 15.5 to 22.6 is more than a week: three days since
        ([timedelta(days=n, minutes=1) for n in range(1, 40)], 20),  # max_per_day is what ends it
    ],
)
def test_a_device_may_send_more_each_day_that_it_has_sent(
    host: Host, seqdev: Cli, device: UUID, sent: list[timedelta], queued: int
) -> None:
    host.rule("warm_up", "4 +3")
    host.rule("max_per_day", 20)
    sends(host, device, *sent)
    assert planned(seqdev) == queued
    ran = seqdev("tick", "--format", "json")
    assert json.loads(ran.out)["queued"] == queued, ran.err
    assert planned(seqdev) == 0


def test_what_has_failed_or_waits_is_no_day_that_it_has_sent(host: Host, seqdev: Cli, device: UUID) -> None:
    host.rule("warm_up", "4 +3")
    sends(host, device, DAY * 1.5, status="failed")
    sends(host, device, DAY * 2.6, status="expired")
    assert planned(seqdev) == 4


def test_the_most_specific_warm_up_holds_and_none_is_none(host: Host, seqdev: Cli, device: UUID) -> None:
    user = host.value("select user_id from user_devices where id = %s", device)
    host.rule("warm_up", "4 +3")
    host.rule("warm_up", "6 +3", user=user)
    assert planned(seqdev) == 6
    host.rule("warm_up", "8 +3", device=device)
    assert planned(seqdev) == 8
    host.rule("warm_up", "none", device=device)
    assert planned(seqdev) == 50
    host.rule("warm_up", "0 +0", device=device)
    assert planned(seqdev) == 0


def capacity(seqdev: Cli) -> Any:
    story = json.loads(seqdev("explain", "6012000059", "--format", "json").out)["stories"][0]["waiting"][0]
    return story["reason"], {gate["gate"]: gate["detail"] for gate in story["gates"]}["capacity"]


def test_explain_says_that_it_is_the_warm_up_and_whose(host: Host, seqdev: Cli, device: UUID) -> None:
    host.rule("warm_up", "4 +3")
    sends(host, device, DAY * 1.5)
    reason, detail = capacity(seqdev)
    assert reason == "device_full"
    assert "in a day 0 of 7 (warm_up for all)" in detail
    host.rule("warm_up", "5 +3", device=device)
    assert "in a day 0 of 8 (warm_up of the device)" in capacity(seqdev)[1]
    host.rule("max_per_day", 8)
    assert "in a day 0 of 8 (max_per_day for all)" in capacity(seqdev)[1]
    found = json.loads(seqdev("audit", "devices", "--format", "json").out)
    assert found["devices"][0]["room"] == 8


@pytest.mark.parametrize("value", ["20", "20 10", "+10", "20 +10 +5", "many", "20 +1234567890", ""])
def test_a_warm_up_that_is_none_is_refused_with_what_to_write(host: Host, seqdev: Cli, value: str) -> None:
    ran = seqdev("rules", "set", "warm_up", value, "--yes")
    assert (ran.code, ran.out) == (2, "")
    assert "20 +10" in ran.err
    assert host.rows("select * from seqdev.rule") == []


def test_a_warm_up_is_kept_as_it_is_read(host: Host, seqdev: Cli, device: UUID) -> None:
    for given, kept in (("20+10", "20 +10"), (" 7 + 0 ", "7 +0"), ("NONE", "none")):
        assert seqdev("rules", "set", "warm_up", given, "--device", "A", "--yes").code == 0
        assert host.value("select value from seqdev.rule where name = 'warm_up'") == kept


@pytest.mark.thorough
def test_eight_ticks_at_once_never_exceed_a_warm_up(
    host: Host, connect: Any, device: UUID, without_delay: None
) -> None:
    """The newest device may send four, the one that has sent on two days ten."""
    user = host.value("select user_id from user_devices where id = %s", device)
    older = host.device(user, "B")
    sequence, (step,) = host.simple_sequence(user, "OTHER")
    for person in range(60):
        host.contact(sequence, step, f"60130000{person:02}", older)
    sends(host, older, DAY * 1.5, DAY * 2.6)
    host.rule("policy", "reassign")
    host.rule("warm_up", "4 +3")
    watcher = Watcher(connect(host.url), Capacity(10, 10, 10))
    with in_background(watcher):
        running = [
            Forked(["tick", "--batch-size", "3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(8)
        ]
        for process in running:
            _, err = process.communicate(timeout=100)
            assert (process.returncode, err) == (0, "")
    assert watcher.seen == []
    found = host.rows(
        "select device_id, count(*) as n from broadcast_messages where status = 'pending' group by 1"
    )
    assert {row.device_id: row.n for row in found} == {device: 4, older: 10}
    assert not host.broken_promises()
