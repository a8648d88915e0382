"""Rules that time undoes: windows, pauses, warm-ups, new chats, graces; and what another rule would change."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.world.command import Cli
from tests.world.future import live
from tests.world.host import Host
from tests.world.inbox import Inbox

HOUR = timedelta(hours=1)


def ahead(seqdev: Cli, *options: str) -> Any:
    """The forecast of three days as a program reads it."""
    ran = seqdev("forecast", "--format", "json", "--days", "3", *options)
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def by_day(found: Any, device: UUID, column: str = "sends") -> list[Any]:
    return [day[column] for day in found["days"] if day["device_id"] == str(device)]


def window(begins: timedelta, ends: timedelta) -> str:
    """A window that begins and ends so long after now, in UTC."""
    now = datetime.now(UTC)
    return "daily " + "-".join(f"{now + after:%H:%M}" for after in (begins, ends))


class Drip:
    """A user with one device, or two, and a sequence, under a policy of its own."""

    def __init__(self, host: Host, policy: str = "strict", steps: int = 1, devices: int = 1) -> None:
        self.host = host
        self.user = host.user()
        host.rule("policy", policy, user=self.user)
        self.devices = [host.device(self.user, f"device {number}") for number in range(devices)]
        self.sequence, self.steps = host.simple_sequence(self.user, steps=steps)

    def people(self, number: int, prefix: str = "6012", due_in: timedelta = -HOUR) -> None:
        """So many at the first step, on the first device; each call has phones of its own."""
        first = self.host.value("select count(*) from sequence_contacts")
        for place in range(first, first + number):
            phone = f"{prefix}{place:07}"
            self.host.contact(self.sequence, self.steps[0], phone, self.devices[0], due_in)


def test_who_is_due_outside_the_window_goes_when_it_opens(host: Host, seqdev: Cli) -> None:
    drip = Drip(host, "queue", steps=2)
    # Open for ninety minutes, tomorrow by the days of the forecast: not at its beginning, nor at its end.
    host.rule("window", window(-3 * HOUR, -1.5 * HOUR), user=drip.user)
    drip.people(5)
    drip.people(2, due_in=23 * HOUR)
    found = ahead(seqdev)
    assert by_day(found, drip.devices[0]) == [5, 7, 2]
    assert by_day(found, drip.devices[0], "shut") == [2, 0, 0]
    assert found["total"]["shut"] == 0
    assert by_day(ahead(seqdev, "--with", "window="), drip.devices[0]) == [7, 7, 0]


@pytest.mark.thorough
def test_the_minute_decides_in_an_hour_in_which_a_window_shuts(host: Host, seqdev: Cli) -> None:
    drip = Drip(host, "queue")
    host.rule("window", window(-2 * HOUR, 0.5 * HOUR), user=drip.user)
    drip.people(3, due_in=timedelta(minutes=10))
    drip.people(4, due_in=timedelta(minutes=50))
    assert by_day(ahead(seqdev), drip.devices[0]) == [7, 0, 0]
    assert by_day(ahead(seqdev), drip.devices[0], "shut") == [0, 0, 0]
    # That of one day: of the day on which it begins.
    began = datetime.now(UTC) - 2 * HOUR
    host.rule("window", window(-2 * HOUR, 0.5 * HOUR).replace("daily", f"{began:%a}".lower()), user=drip.user)
    found = ahead(seqdev)
    assert by_day(found, drip.devices[0]) == [3, 0, 0]
    assert by_day(found, drip.devices[0], "shut") == [4, 4, 4]
    ran = seqdev("forecast", "--days", "3")
    assert "4 contacts wait at the end for a window" in ran.err


@pytest.mark.thorough
def test_a_window_is_that_of_the_recipients_clock(host: Host, seqdev: Cli) -> None:
    drip = Drip(host, "queue")
    host.rule("zone", "recipient", user=drip.user)
    # For ten hours from when it is now in Malaysia, eighteen hours ahead of Hawaii.
    now = datetime.now(UTC) + 8 * HOUR
    host.rule("window", f"daily {now - HOUR:%H:%M}-{now + 9 * HOUR:%H:%M}", user=drip.user)
    drip.people(3, "6012")
    drip.people(4, "1808", due_in=10 * HOUR)
    drip.people(5, "1808", due_in=30 * HOUR)
    assert by_day(ahead(seqdev), drip.devices[0]) == [7, 5, 0]


def test_a_window_leaves_less_room_and_who_was_held_back_waits_through_the_night(
    host: Host, seqdev: Cli
) -> None:
    drip = Drip(host)
    host.rule("max_per_hour", 2)
    # Three hours, in the middle of the forecast's days.
    host.rule("window", window(5 * HOUR, 8 * HOUR), user=drip.user)
    drip.people(14)
    found = ahead(seqdev)
    assert by_day(found, drip.devices[0]) == [6, 6, 2]
    assert by_day(found, drip.devices[0], "room") == [6, 6, 6]
    assert by_day(found, drip.devices[0], "waiting") == [8, 2, 0]
    (device,) = found["devices"]
    assert (device["held_by"], device["helps"]) == ("max_per_hour for all", "no window")
    assert {one["change"] for one in found["changes"]} >= {"no window", "max_per_hour doubled"}


@pytest.mark.parametrize("scope", ["sequence", "user", "device"])
def test_a_pause_ends_when_it_says(host: Host, seqdev: Cli, scope: str) -> None:
    drip = Drip(host, steps=2)
    ends = datetime.now(UTC) + 30 * HOUR
    whose = {"sequence": drip.sequence, "user": drip.user, "device": drip.devices[0]}[scope]
    host.rule("paused", f"until {ends:%Y-%m-%dT%H:%M:%SZ}: a look", **{scope: whose})
    drip.people(3)
    found = ahead(seqdev)
    assert by_day(found, drip.devices[0]) == [0, 3, 3]
    assert by_day(found, drip.devices[0], "shut") == [3, 0, 0]
    host.rule("paused", "until somebody has looked", **{scope: whose})
    assert [(one["reason"], one["contacts"]) for one in ahead(seqdev)["standing"]] == [("paused", 3)]


def test_a_new_device_warms_up(host: Host, seqdev: Cli) -> None:
    drip = Drip(host)
    host.rule("warm_up", "2 +3", user=drip.user)
    drip.people(20)
    found = ahead(seqdev)
    assert by_day(found, drip.devices[0]) == [2, 5, 8]
    assert by_day(found, drip.devices[0], "room") == [2, 5, 8]
    assert found["devices"][0]["held_by"] == "warm_up of the user"
    assert by_day(ahead(seqdev, "--with", "warm_up=none"), drip.devices[0]) == [20, 0, 0]


def test_new_chats_wait_and_known_people_go_on(host: Host, seqdev: Cli) -> None:
    drip = Drip(host, steps=2)
    host.rule("new_chats_per_day", 2, device=drip.devices[0])
    drip.people(5)
    host.rows(
        "insert into broadcast_messages (user_id, device_id, recipient_phone, recipient_name, message_type, content,"
        " media_url, status, sent_at, scheduled_at, created_at) select %s, %s, '60120000004', '', 'text', '', '',"
        " 'sent', at, at, at from (values (now() at time zone 'UTC' - interval '9 days')) as x (at)",
        *(drip.user, drip.devices[0]),
    )
    found = ahead(seqdev)
    # The known one and two others; two others and three second steps; two second steps.
    assert by_day(found, drip.devices[0]) == [3, 5, 2]
    assert found["devices"][0]["held_by"] == "new_chats_per_day of the device"


def test_a_restricted_device_opens_chats_again_after_a_day(host: Host, seqdev: Cli) -> None:
    drip = Drip(host)
    drip.people(3)
    host.rows(
        "insert into broadcast_messages (user_id, device_id, recipient_phone, recipient_name, message_type, content,"
        " media_url, status, error_message, sequence_stepid, scheduled_at, created_at) select %s, %s, '6019', '', 'text',"
        " '', '', 'failed', 'error 463', %s, at, at from (values (now() at time zone 'UTC' + interval '2 hours'"
        " - interval '1 hour')) as x (at)",
        *(drip.user, drip.devices[0], uuid4()),
    )
    found = ahead(seqdev)
    assert by_day(found, drip.devices[0]) == [0, 3, 0]
    assert found["devices"][0]["held_by"] == "device_restricted"


def test_people_wait_for_a_device_that_is_away_before_others_take_them(host: Host, seqdev: Cli) -> None:
    drip = Drip(host, "fallback", devices=2)
    host.rule("grace", "2d", user=drip.user)
    host.rows(
        "update user_devices set status = 'offline', last_seen = now() at time zone 'UTC' - interval '1 hour'"
        " where id = %s",
        drip.devices[0],
    )
    drip.people(4)
    found = ahead(seqdev)
    assert by_day(found, drip.devices[1]) == [0, 4, 0]
    assert by_day(found, drip.devices[0], "shut") == [4, 0, 0]
    assert found["total"]["inexact"] == [
        "each device, where people are moved: all of a user's devices together are exact"
    ]


@pytest.mark.parametrize(
    ("options", "days"),
    [
        (["--with", "max_per_day=6"], 1.0),
        (["--with", "policy=fallback", "--one-more-device"], 1.0),
        (["--one-more-device"], 2.0),
        (["--with", "policy=queue"], 0.0),
    ],
    ids=["a limit", "another policy and a device", "a device that nobody is moved to", "no limits"],
)
def test_what_a_change_would_do_is_told_for_each_device(
    host: Host, seqdev: Cli, options: list[str], days: float
) -> None:
    drip = Drip(host)
    host.rule("max_per_day", 3, user=drip.user)
    drip.people(8)
    if options == ["--with", "max_per_day=6"]:
        assert ahead(seqdev)["what_if"] == []
    found = ahead(seqdev, *options)
    told = next(one for one in found["what_if"] if one["device_id"])
    assert told["days_as_it_is"] == 2.0
    assert told["days"] == days
    assert told["fewer_days"] == 2.0 - days
    assert "what it would change" in seqdev("forecast", *options).out or days == 2.0


def test_who_has_written_back_is_left_out_now(host: Host, seqdev: Cli) -> None:
    drip = Drip(host, "queue", steps=2)
    host.rule("stop_on_reply", "true", sequence=drip.sequence)
    inbox = Inbox(host)
    drip.people(3)
    host.rows(
        "insert into broadcast_messages (user_id, device_id, sequence_id, recipient_phone, recipient_name, message_type,"
        " content, media_url, status, sent_at, scheduled_at, created_at) select %s, %s, %s, '60120000000', '', 'text', '',"
        " '', 'sent', at, at, at from (values (now() at time zone 'UTC' - interval '1 day')) as x (at)",
        *(drip.user, drip.devices[0], drip.sequence),
    )
    inbox.receives(drip.devices[0], "60120000000@s.whatsapp.net", timedelta(hours=2))
    found = ahead(seqdev)
    assert by_day(found, drip.devices[0]) == [2, 2, 0]
    assert [(one["reason"], one["contacts"]) for one in found["standing"]] == [("replied", 1)]
    assert live(host, seqdev, 3) == {(drip.devices[0], 1): 2, (drip.devices[0], 2): 2}


def test_people_go_back_to_a_device_that_has_room_again(host: Host, seqdev: Cli) -> None:
    drip = Drip(host, "reassign", steps=2, devices=2)
    host.rule("max_per_day", 2, device=drip.devices[0])
    drip.people(4)
    # Two stay, two go to the other one, and have their second step there; or they go back, and one of two has room.
    assert by_day(ahead(seqdev), drip.devices[0]) == [2, 2, 0]
    assert by_day(ahead(seqdev), drip.devices[0], "moved") == [0, 0, 0]
    assert by_day(ahead(seqdev), drip.devices[1], "moved") == [2, 0, 0]
    host.rule("return_home", "true", user=drip.user)
    assert by_day(ahead(seqdev), drip.devices[1], "moved") == [2, 2, 0]
    host.rule("grace", "25h", user=drip.user)
    assert by_day(ahead(seqdev), drip.devices[1], "moved") == [2, 0, 0]


def test_what_is_laid_out_has_its_place_in_the_hour(host: Host, seqdev: Cli) -> None:
    drip = Drip(host)
    host.rule("max_per_hour", 2)
    host.rule("max_in_flight", 50)
    # For three hours: of messages half an hour apart the last leaves before they are over.
    began = datetime.now(UTC) - HOUR
    host.rule(
        "window", f"{began:%a} {window(-HOUR, 3 * HOUR).removeprefix('daily ')}".lower(), user=drip.user
    )
    drip.people(30)
    assert by_day(ahead(seqdev), drip.devices[0])[0] == 6
    host.rule("spread", "true", user=drip.user)
    found = ahead(seqdev)
    assert by_day(found, drip.devices[0])[0] in (5, 6, 7)
    assert found["total"]["inexact"] == ["spread: each message may leave a quarter of a gap earlier or later"]
    assert found["devices"][0]["is_exact"] is False


def test_somebody_in_two_sequences_is_one_new_chat(host: Host, seqdev: Cli) -> None:
    drip = Drip(host)
    host.rule("new_chats_per_day", 1, device=drip.devices[0])
    other, (step,) = host.simple_sequence(drip.user, "OTHER")
    drip.people(3)
    for number in range(3):
        host.contact(other, step, f"6012{number:07}", drip.devices[0], -HOUR / 2)
    found = ahead(seqdev)
    assert by_day(found, drip.devices[0]) == [2, 2, 2]
    assert found["total"]["inexact"] == []
