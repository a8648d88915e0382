"""Looking ahead: days, limits, what helps, who is not sent, and what is asked for."""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.world.command import Cli
from tests.world.host import Host

PHONE = "60120{:06}"


def ahead(seqdev: Cli, *options: str) -> Any:
    """The forecast as a program reads it."""
    ran = seqdev("forecast", "--format", "json", *options)
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def by_day(found: Any, device: UUID, column: str = "sends") -> list[int]:
    return [day[column] for day in found["days"] if day["device_id"] == str(device)]


def fill(host: Host, sequence: UUID, step: UUID, device: UUID | None, people: int, **columns: object) -> None:
    """People at a step, due; each call has phones of its own."""
    first = host.value("select count(*) from sequence_contacts")
    for number in range(first, first + people):
        host.contact(sequence, step, PHONE.format(number), device, **columns)  # type: ignore[arg-type]


@pytest.fixture
def strict(host: Host) -> None:
    host.rule("policy", "strict")


@pytest.mark.usefixtures("strict")
def test_a_full_device_delays_all_that_follows(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device, other = host.device(user, "one"), host.device(user, "two")
    host.rule("max_per_day", 4, device=device)
    sequence, (first, _) = host.simple_sequence(user, steps=2)
    fill(host, sequence, first, device, 10)
    fill(host, sequence, first, other, 3)
    found = ahead(seqdev, "--days", "6")
    # Older ones first: those of the first step, until there are none left.
    assert by_day(found, device) == [4, 4, 4, 4, 4, 0]
    assert by_day(found, other) == [3, 3, 0, 0, 0, 0]
    assert by_day(found, device, "waiting") == [6, 6, 6, 4, 0, 0]
    assert by_day(found, device, "room") == [4] * 6
    (one, two) = found["devices"]
    assert (one["device_name"], one["policy"], one["sends"], one["waiting"]) == ("one", "strict", 20, 0)
    assert (one["held_by"], two["held_by"]) == ("max_per_day of the device", None)
    begins, drained = (datetime.fromisoformat(text) for text in (found["total"]["begins"], one["drained_at"]))
    assert drained - begins == timedelta(days=4)
    assert two["drained_at"] is None
    assert found["total"] | {"begins": "", "ends": "", "drained_at": ""} == {
        "begins": "",
        "ends": "",
        "enrolled": 0,
        "sends": 26,
        "queued": 0,
        "waiting": 0,
        "shut": 0,
        "standing": 0,
        "drained_at": "",
        "inexact": [],
        "not_foretold": [],
    }


@pytest.mark.usefixtures("strict")
def test_what_would_help_is_tried(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device, other = host.device(user, "one"), host.device(user, "two")
    host.rule("max_per_day", 4)
    sequence, (step,) = host.simple_sequence(user)
    fill(host, sequence, step, device, 12)
    fill(host, sequence, step, other, 1)
    found = ahead(seqdev, "--days", "2")
    told = {
        one["change"]: (one["sends"], one["waiting"], one["drained_at"] is not None)
        for one in found["changes"]
    }
    assert told == {
        "as it is": (9, 4, False),
        "policy fallback": (13, 0, True),
        "policy fallback, one more device": (13, 0, True),
        "max_per_day doubled": (13, 0, True),
    }
    assert found["devices"][0]["helps"] == "policy fallback"
    assert ahead(seqdev, "--days", "2", "--quick")["changes"] == []


def test_each_step_is_due_its_own_delay_after_the_one_before(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user, "one")
    sequence, steps = host.simple_sequence(user, steps=4)
    for step, delay in zip(steps, (1, 30, 0, 49), strict=True):
        host.rows("update sequence_steps set trigger_delay_hours = %s where id = %s", delay, step)
    fill(host, sequence, steps[0], device, 5)
    fill(host, sequence, steps[2], device, 2, due_in=timedelta(hours=47, minutes=30))
    found = ahead(seqdev, "--days", "6")
    # Hours 0, 30, 54 by default, 103; and 47, 96.
    assert by_day(found, device) == [5, 7, 5, 0, 7, 0]


def test_under_queue_nobody_waits_for_a_device(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user, "one", "offline")
    sequence, (step,) = host.simple_sequence(user)
    fill(host, sequence, step, device, 90)
    found = ahead(seqdev, "--days", "2")
    assert by_day(found, device) == [90, 0]
    assert by_day(found, device, "room") == [None, None]
    assert (found["changes"], found["devices"][0]["held_by"]) == ([], None)


@pytest.mark.parametrize(
    ("limits", "days", "held_by"),
    [
        ({"max_per_hour": 1}, [24, 6], "max_per_hour for all"),
        ({"max_in_flight": 0}, [0, 0], "max_in_flight for all"),
        ({"max_per_day": 0}, [0, 0], "max_per_day for all"),
    ],
)
@pytest.mark.usefixtures("strict")
def test_the_limit_that_people_wait_for_is_named(
    host: Host, seqdev: Cli, limits: dict[str, int], days: list[int], held_by: str
) -> None:
    user = host.user()
    device = host.device(user, "one")
    sequence, (step,) = host.simple_sequence(user)
    fill(host, sequence, step, device, 30)
    for name, value in limits.items():
        host.rule(name, value)
    found = ahead(seqdev, "--days", "2")
    assert by_day(found, device) == days
    assert found["devices"][0]["held_by"] == held_by


@pytest.mark.usefixtures("strict")
def test_what_was_sent_takes_room_for_a_day_and_what_is_queued_when_it_goes(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user, "one")
    host.rule("max_per_day", 10, user=user)
    sequence, (step,) = host.simple_sequence(user)
    fill(host, sequence, step, device, 20)
    for status, count, at in (("sent", 6, -23), ("failed", 9, -1), ("pending", 3, -1), ("pending", 2, 30)):
        host.rows(
            "insert into broadcast_messages (user_id, device_id, recipient_phone, recipient_name, message_type, content,"
            " media_url, status, sent_at, scheduled_at, created_at)"
            " select %s, %s, '6019', '', 'text', '', '', %s, at, at, now() at time zone 'UTC' - interval '1 day'"
            " from (values ((now() + %s) at time zone 'UTC')) as x (at), generate_series(1, %s)",
            *(user, device, status, timedelta(hours=at), count),
        )
    found = ahead(seqdev, "--days", "3")
    # One at once, six when those of yesterday are a day old; what is queued for later waits for no limit.
    assert by_day(found, device) == [7, 10, 3]
    assert by_day(found, device, "queued") == [3, 2, 0]
    assert found["devices"][0]["held_by"] == "max_per_day of the user"


@pytest.mark.usefixtures("strict")
def test_who_waits_for_another_reason_is_told_by_reason(host: Host, seqdev: Cli) -> None:
    user, stranger = host.user(), host.user()
    one, off, gone = (
        host.device(user, name, status)
        for name, status in (("one", "online"), ("off", "offline"), ("gone", "banned"))
    )
    sequence, (first, _) = host.simple_sequence(user, "WARM", steps=2)
    empty = host.step(sequence, 9, "EMPTY", "", content=" ", is_entry_point=False)
    paused = host.sequence(user, status="paused")
    step = host.step(paused, 1, "PAUSED")
    fill(host, sequence, first, one, 1)
    fill(host, sequence, first, off, 2)
    fill(host, sequence, first, gone, 3)
    fill(host, sequence, first, None, 4)
    fill(host, sequence, first, host.device(stranger), 5)
    fill(host, sequence, first, UUID(int=7), 6)
    fill(host, sequence, first, one, 7, lead=False)
    fill(host, sequence, empty, one, 8)
    fill(host, paused, step, one, 9)
    fill(host, sequence, first, one, 10, processing_device_id=one)
    found = ahead(seqdev)
    assert {row["reason"]: row["contacts"] for row in found["standing"]} == {
        "device_offline": 2,
        "device_gone": 3,
        "no_device": 4,
        "device_of_other_user": 5,
        "device_missing": 6,
        "no_lead": 7,
        "no_content": 8,
        "sequence_inactive": 9,
        "claimed": 10,
    }
    assert found["total"]["standing"] == 54
    assert by_day(found, one)[:3] == [1, 1, 0]
    moved = ahead(seqdev, "--with", "policy=reassign")
    assert {row["reason"] for row in moved["standing"]} == {
        "device_of_other_user",
        "no_lead",
        "no_content",
        "sequence_inactive",
        "claimed",
    }
    assert by_day(moved, one)[:3] == [16, 16, 0]
    assert by_day(moved, one, "moved")[:2] == [15, 0]


def test_who_was_reassigned_stays_there(host: Host, seqdev: Cli) -> None:
    user = host.user()
    one, two = host.device(user, "one"), host.device(user, "two")
    # Four an hour on one, which sends its six in an hour and a bit, were two not there.
    host.rule("max_per_hour", 4, device=one)
    sequence, (first, _) = host.simple_sequence(user, steps=2)
    fill(host, sequence, first, one, 6)
    for policy, moved in (("fallback", [2, 2]), ("reassign", [2, 0])):
        found = ahead(seqdev, "--days", "2", "--with", f"policy={policy}")
        assert by_day(found, two, "moved") == moved
        assert by_day(found, two) == [2, 2]


def test_people_enrolled_now_go_to_the_devices_of_the_leads(host: Host, seqdev: Cli) -> None:
    user = host.user()
    one, two, third = (host.device(user, name) for name in ("one", "two", "three"))
    for number in range(4):
        host.lead(user, two if number == 3 else one, PHONE.format(number))
    host.simple_sequence(user, "WARM", steps=2)
    found = ahead(seqdev, "--days", "3", "--enroll", "warm=1001", "--enroll", "warm=3")
    assert by_day(found, one) == [753, 753, 0]
    assert by_day(found, two) == [251, 251, 0]
    assert by_day(found, third) == []
    assert found["total"]["enrolled"] == 1004
    ran = seqdev("forecast", "--enroll", "warm=8")
    assert "with 8 people enrolled now" in ran.err
    assert "nobody else enrolled" in ran.err


@pytest.mark.usefixtures("strict")
def test_the_latest_are_too_late(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    host.rule("max_per_hour", 1)
    sequence, (step,) = host.simple_sequence(user)
    fill(host, sequence, step, device, 10)
    fill(host, sequence, step, device, 5, due_in=timedelta(hours=-5))
    found = ahead(seqdev, "--days", "1", "--with", "max_lateness=3h")
    assert by_day(found, device) == [3]
    assert [(row["reason"], row["contacts"]) for row in found["standing"]] == [("too_late", 5)]


def test_odd_instants_end_no_forecast(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    fill(host, sequence, step, device, 8)
    for place, (column, value) in enumerate(
        (
            ("next_trigger_time", "infinity"),
            ("next_trigger_time", "-infinity"),
            ("next_trigger_time", None),
            ("processing_started_at", "infinity"),
            ("processing_started_at", "-infinity"),
            ("next_trigger_time", "0044-03-15 BC"),
        )
    ):
        host.rows(
            f"update sequence_contacts set {column} = %s where contact_phone = %s",
            *(value, PHONE.format(place)),
        )
    # On the last second of the last day, for the tick after it.
    host.rows(
        "update sequence_contacts set next_trigger_time = (now() + interval '2 days 1 second') at time zone 'UTC'"
        " where contact_phone = %s",
        PHONE.format(7),
    )
    host.rows(
        "insert into broadcast_messages (user_id, device_id, recipient_phone, recipient_name, message_type, content,"
        " media_url, status, sent_at, scheduled_at, created_at) select %s, %s, '6019', '', 'text', '', '', 'sent', at,"
        " at, at from (values ('infinity'::timestamp), ('-infinity'), (null)) as x (at)",
        *(user, device),
    )
    found = ahead(seqdev, "--days", "2")
    assert by_day(found, device) == [4, 0]
    assert found["total"]["sends"] == 4


def test_only_what_is_asked_for(host: Host, seqdev: Cli) -> None:
    users = [host.user() for _ in range(2)]
    devices = [host.device(user, name) for user, name in zip(users, ("one", "two"), strict=True)]
    for user, device in zip(users, devices, strict=True):
        sequence, (step,) = host.simple_sequence(user, f"WARM {user}")
        fill(host, sequence, step, device, 3)
    for options in (["--device", "one"], ["--user", str(users[0])]):
        found = ahead(seqdev, "--days", "1", *options)
        assert [row["device_name"] for row in found["days"]] == ["one"]
        assert found["total"]["sends"] == 3


@pytest.mark.cases(4)
@pytest.mark.parametrize(
    "options",
    [
        ["--enroll", "warm"],
        ["--enroll", "warm=many"],
        ["--enroll", "warm=0"],
        ["--enroll", "=5"],
        ["--enroll", "nothing=5"],
        ["--enroll", "paused=5"],
        ["--with", "max_per_day"],
        ["--with", "region=MY"],
        ["--with", "max_per_day=-1"],
        ["--with", "policy=none"],
        ["--with", "window=at night"],
        ["--with", "warm_up=20"],
        ["--every", "7m"],
        ["--every", "2h"],
        ["--every", "0s"],
        ["--days", "0"],
        ["--device", "nothing"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_asked_is_refused(host: Host, seqdev: Cli, options: list[str]) -> None:
    user = host.user()
    host.simple_sequence(user, "WARM")
    host.sequence(user, "paused", status="paused")
    ran = seqdev("forecast", *options)
    assert (ran.code, ran.out) == (2, "")
    assert 1 <= len(ran.err.splitlines()) <= 2


@pytest.mark.usefixtures("strict")
def test_on_a_screen_and_in_words(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user, "one")
    host.rule("max_per_day", 2)
    sequence, (step,) = host.simple_sequence(user)
    fill(host, sequence, step, device, 5)
    ran = seqdev("forecast", "--days", "3")
    assert ran.code == 0
    lines = [line.split() for line in ran.out.splitlines()]
    assert ["one", str(device)[:8], "2", "2", "2", "1"] in lines
    assert "max_per_day for all" in ran.out
    assert "one more device" in ran.out
    assert "seqdev: 5 messages in 3 days of 24 hours from" in ran.err
    assert "nobody waits for a device that is full after" in ran.err
    assert "as if a tick ran every 1 min, the worker sent at once" in ran.err
    assert seqdev("pause", "--why", "a look").code == 0
    assert "as if it went on now" in seqdev("forecast").err


def test_of_an_empty_database_there_is_nothing_to_tell(database: str, seqdev: Cli) -> None:
    ran = seqdev("forecast")
    assert (ran.code, ran.out) == (0, "")
    assert "0 messages in 14 days" in ran.err


def test_who_will_write_back_is_named_where_it_could_change_the_numbers(host: Host, seqdev: Cli) -> None:
    users = [host.user() for _ in range(2)]
    sequences = [host.simple_sequence(user, f"WARM {user}") for user in users]
    devices = [host.device(user) for user in users]
    host.rule("stop_on_reply", "true", user=users[0])
    assert ahead(seqdev)["total"]["not_foretold"] == []
    for (sequence, (step,)), device in zip(sequences, devices, strict=True):
        fill(host, sequence, step, device, 2)
    found = ahead(seqdev)
    (told,) = found["total"]["not_foretold"]
    assert told.startswith("stop_on_reply: ")
    assert {one["device_id"]: one["is_exact"] for one in found["devices"]} == {
        str(devices[0]): False,
        str(devices[1]): True,
    }
    ran = seqdev("forecast")
    assert ran.code == 0
    lines = [line.split() for line in ran.out.splitlines()]
    marks = {line[2]: word for line in lines for word in ("yes", "about") if word in line and len(line) > 3}
    assert marks == {str(devices[0])[:8]: "about", str(devices[1])[:8]: "yes"}
    assert f"cannot be foreseen: {told}\n" in ran.err


def test_people_who_come_again_are_named_where_new_chats_count(host: Host, seqdev: Cli) -> None:
    user = host.user()
    host.rule("policy", "strict")
    device = host.device(user)
    host.rule("reenrol_after", "30d")
    host.simple_sequence(user, "WARM")
    assert ahead(seqdev, "--enroll", "warm=3")["total"]["not_foretold"] == []
    host.rule("new_chats_per_day", 2, device=device)
    assert ahead(seqdev)["total"]["not_foretold"] == []
    (told,) = ahead(seqdev, "--enroll", "warm=3")["total"]["not_foretold"]
    assert told.startswith("reenrol_after: ")
