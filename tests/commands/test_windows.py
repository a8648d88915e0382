"""``--since`` and ``--until``: what people type, and the time that it means, whatever the clocks of the zone do."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqdev.errors import UsageError
from seqdev.moments import Window, moment
from tests.world.command import Cli
from tests.world.host import Host

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kuala_Lumpur",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
)
YEAR = st.datetimes(datetime(2024, 1, 1), datetime(2026, 12, 31)).map(lambda at: at.replace(microsecond=0))
HOURS = st.integers(-3 * 3600, 3 * 3600).map(lambda seconds: timedelta(seconds=seconds))
TURNS = st.sampled_from(
    [
        (datetime(2026, 3, 29, 1), "Europe/Berlin"),
        (datetime(2026, 10, 25, 1), "Europe/Berlin"),
        (datetime(2026, 3, 8, 7), "America/New_York"),
        (datetime(2026, 11, 1, 6), "America/New_York"),
        (datetime(2026, 4, 4, 15), "Australia/Lord_Howe"),
        (datetime(2026, 10, 3, 15, 30), "Australia/Lord_Howe"),
    ]
)
"""When clocks are set, in UTC."""


def shown(at: datetime, zone: ZoneInfo) -> datetime:
    """What the clock on the wall shows."""
    return at.astimezone(zone).replace(tzinfo=None)


def means(text: str, now: datetime, end: bool = False) -> datetime:
    return moment(text).at(now, now.tzinfo, end=end)


@given(YEAR, st.sampled_from(ZONES), YEAR)
def test_an_instant_is_when_the_clock_shows_it(typed: datetime, name: str, now: datetime) -> None:
    zone = ZoneInfo(name)
    for end in (False, True):
        found = means(f"{typed:%Y-%m-%d %H:%M:%S}", now.replace(tzinfo=zone), end)
        # Where the clock leaves it out, the first instant at which it is past.
        assert shown(found, zone) >= typed
        assert shown(found - timedelta(seconds=1), zone) < typed


@given(TURNS, HOURS)
def test_a_window_has_all_of_a_repeated_hour_and_nothing_of_one_left_out(
    turn: tuple[datetime, str], after: timedelta
) -> None:
    at, zone = turn[0].replace(tzinfo=UTC), ZoneInfo(turn[1])
    typed = shown(at, zone) + after
    text = typed.isoformat(sep=" ")
    now = at.astimezone(zone) + timedelta(days=9)
    seconds = [at + timedelta(seconds=second) for second in range(-5 * 3600, 5 * 3600, 300)]
    since, until = means(text, now), means(text, now, end=True)
    # The first instant that shows as much, and the one behind the last that shows less.
    assert all(shown(one, zone) < typed for one in seconds if one < since)
    assert all(shown(one, zone) >= typed for one in seconds if one >= until)
    assert since <= until


@given(st.sampled_from(ZONES), YEAR, st.times().map(lambda t: t.replace(microsecond=0)))
def test_a_time_of_the_day_is_the_last_one_gone_by(name: str, at: datetime, typed: Any) -> None:
    zone = ZoneInfo(name)
    now = at.replace(tzinfo=UTC).astimezone(zone)
    found = means(f"{typed:%H:%M:%S}", now)
    assert found <= now.astimezone(UTC)
    assert now.astimezone(UTC) - found < timedelta(hours=25, minutes=1)
    assert shown(found, zone).time() >= typed or shown(found, zone).date() > shown(found, zone).date()


@given(st.sampled_from(ZONES), YEAR)
def test_days_begin_when_their_clock_says_so(name: str, at: datetime) -> None:
    zone = ZoneInfo(name)
    now = at.replace(tzinfo=UTC).astimezone(zone)
    today, yesterday = means("today", now), means("yesterday", now)
    assert shown(today, zone).date() == now.date()
    assert shown(today - timedelta(seconds=1), zone).date() < now.date()
    assert timedelta(hours=23) <= today - yesterday <= timedelta(hours=25)
    assert means("yesterday 00:00", now) == yesterday


@given(st.sampled_from(ZONES), YEAR, st.integers(1, 5000), st.sampled_from("smhdw"))
def test_a_duration_is_time_that_has_passed_whatever_the_clocks_did(
    name: str, at: datetime, number: int, unit: str
) -> None:
    now = at.replace(tzinfo=UTC).astimezone(ZoneInfo(name))
    seconds = number * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[unit]
    assert now.astimezone(UTC) - means(f"{number}{unit}", now) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-26T14:30Z", "2026-11-26 14:30"),
        ("2026-11-26 14:30+08:00", "2026-11-26 06:30"),
        ("2026-11-26 14:30:15 -0330", "2026-11-26 18:00:15"),
        ("2026-11-26 14:30", "2026-11-26 06:30"),
        ("2026-11-26", "2026-11-25 16:00"),
        ("9:05", "2026-11-27 01:05"),
        ("23:59", "2026-11-26 15:59"),
        ("today 23:59", "2026-11-27 15:59"),
        (" Yesterday  14:30 ", "2026-11-26 06:30"),
    ],
)
def test_what_can_be_typed(text: str, utc: str) -> None:
    now = datetime(2026, 11, 27, 10, tzinfo=ZoneInfo("Asia/Kuala_Lumpur"))
    assert means(text, now) == datetime.fromisoformat(utc).replace(tzinfo=UTC)


@given(st.text(alphabet="0123456789:-+ TZtodaywek.m\u0661", max_size=24))
def test_any_other_text_is_refused_in_words(text: str) -> None:
    now = datetime(2026, 11, 27, 10, tzinfo=UTC)
    words = "UTC"
    try:
        words = str(moment(text).at(now, UTC).tzinfo)
    except UsageError as error:
        words = error.message
    except ValueError as error:
        words = str(error)
    assert any(
        one in words for one in ("UTC", "further away than dates go", "is no moment: write 90m, 2h, 1w")
    )


@pytest.mark.parametrize(
    "text", ["14:75", "25:00", "2026-02-30", "last week", "1y", "", "-1h", "20261126", "601234567890"]
)
def test_no_moment_is_wrong_usage(text: str, seqdev: Cli) -> None:
    ran = seqdev("audit", "failed", "--since", text)
    assert (ran.code, ran.out) == (2, "")
    assert "is no moment: write 90m, 2h, 1w, today, yesterday, 14:30" in ran.err


def test_a_window_without_time_in_it_says_how_both_ends_were_read(host: Host, seqdev: Cli) -> None:
    ran = seqdev("--zone", "Asia/Kuala_Lumpur", "runs", "--since", "2026-11-26", "--until", "2026-11-25")
    assert ran.code == 2
    assert (
        "2026-11-26, 2026-11-26 00:00:00 +08, is not before --until 2026-11-25, 2026-11-25 00:00:00 +08"
        in ran.err
    )
    ran = seqdev("runs", "--since", "2999-01-01")
    assert (ran.code, "is not before now" in ran.err) == (2, True)


def test_without_a_zone_the_clock_is_the_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        now = datetime(2026, 11, 1, tzinfo=UTC)
        found = [
            moment(text).at(now, None, end=end)
            for text in ("2026-10-25 02:30", "2026-03-29 02:30")
            for end in (False, True)
        ]
        assert [f"{one:%m-%d %H:%M}" for one in found] == [
            "10-25 00:30",
            "10-25 01:30",
            "03-29 01:00",
            "03-29 01:00",
        ]
        assert f"{moment('yesterday').at(now, None):%m-%d %H:%M}" == "10-30 23:00"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_default_length_is_counted_back_from_the_end() -> None:
    now = datetime(2026, 11, 27, 10, tzinfo=UTC)
    window = Window(until=moment("2h"), zone=UTC).given(now, "1 hour")
    assert window == {"since": "1 hour 7200.000000 seconds", "until": now - timedelta(hours=2)}


AGES = ("30 minutes", "90 minutes", "26 hours")


def failed_ones(host: Host) -> None:
    """A failed message of each age, and a run that began as long ago."""
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    for age in AGES:
        host.rows(
            "insert into broadcast_messages (user_id, device_id, sequence_id, sequence_stepid, recipient_phone,"
            " recipient_name, message_type, content, media_url, status, created_at)"
            " values (%s, %s, %s, %s, '6012000000', '', 'text', '', '', 'failed', now() at time zone 'UTC' - %s::interval)",
            *(user, device, sequence, step, age),
        )
        host.rows(
            "insert into seqdev.run (id, command, started_at, finished_at, version, arguments)"
            " values (gen_random_uuid(), 'tick', now() - %s::interval, now(), '', %s)",
            *(age, age),
        )


@pytest.mark.parametrize(
    ("window", "seen"),
    [
        ("", 3),
        ("--since 2h", 2),
        ("--since 1w", 3),
        ("--since 2h --until 1h", 1),
        ("--until 1h", 2),
        ("--until 30h", 0),
        ("--since 2000-01-01T00:00Z --until 1d", 1),
    ],
)
def test_runs_and_failures_are_those_of_the_window(window: str, seen: int, host: Host, seqdev: Cli) -> None:
    failed_ones(host)
    runs = json.loads(seqdev("runs", *window.split(), "--format", "json").out)
    assert len(runs) == seen
    failed = json.loads(seqdev("audit", "failed", *window.split(), "--format", "json").out)["failed"]
    # Its own length is a day, back from the end.
    expected = {"": 2, "--until 1h": 1}.get(window, seen)
    assert sum(row["messages"] for row in failed) == expected


def test_a_windows_end_is_no_part_of_it(host: Host, seqdev: Cli) -> None:
    failed_ones(host)
    (at,) = host.rows("select max(created_at) as at from broadcast_messages")
    first = ("--since", "2000-01-01", "--until", at.at.isoformat())
    second = ("--since", at.at.isoformat())
    found = [
        sum(
            row["messages"]
            for row in json.loads(seqdev("audit", "failed", *one, "--format", "json").out)["failed"]
        )
        for one in (first, second)
    ]
    assert found == [2, 1], "two windows that meet have everything once"


def test_ticks_missed_are_those_of_the_window(host: Host, seqdev: Cli) -> None:
    failed_ones(host)
    (gap,) = json.loads(
        seqdev("runs", "--every", "10m", "--since", "80m", "--until", "40m", "--format", "json").out
    )
    assert gap["missed"] == 4


def test_the_journal_keeps_the_window_as_it_was_typed(host: Host, seqdev: Cli) -> None:
    failed_ones(host)
    assert (
        seqdev(
            "repair", "failed", "--since", "Yesterday", "--until", "1m", "--cause", "no_reason", "--yes"
        ).code
        == 0
    )
    run = json.loads(seqdev("runs", "--command", "repair", "--format", "json").out)[0]
    assert run["arguments"] == "--since yesterday --until 1m --cause no_reason --yes"


def test_a_plan_fits_the_window_that_it_was_made_for(host: Host, seqdev: Cli, tmp_path: Any) -> None:
    failed_ones(host)
    options = (
        "repair",
        "failed",
        "--since",
        "2000-01-01",
        "--cause",
        "no_reason",
        "--plan",
        tmp_path / "plan",
    )
    assert seqdev(*options, "--dry-run").code == 0
    assert "3" in seqdev(*options, "--yes").out
    assert host.value("select count(*) from broadcast_messages where status = 'pending'") == 3
