"""Windows: steps are sent as the clock on the wall of their zone allows, and explain says when they open.

The gate is asked at chosen instants; what goes through the command line has windows hours away from now.
"""

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from phonenumbers.tzdata import TIMEZONE_DATA

from seqdev.gate_rows import WINDOWS
from seqdev.postgres.queries import Query
from seqdev.tick.batch import LOCK
from seqdev.tick.claims import CLAIM, OVERFLOW, PICK
from seqdev.tick.decisions import PLAN
from tests.world import hours
from tests.world.command import Cli
from tests.world.host import Connect, Host
from tests.world.obstacles import stopped_statement
from tests.world.sessions import stopped
from tests.world.statements import binds, run
from tests.world.ticks import Ticks
from tests.world.waiting import until

ZONES = (
    ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC)),
    # By half an hour.
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC), datetime(2026, 4, 4, 15, tzinfo=UTC)),
)
"""Zones, and when their clocks go forward and back."""

WINDOWS_TRIED = (
    "daily 02:15-02:45",
    "sun 01:50-03:10",
    "sat 22:00-02:30",
    "sun-mon 02:30-02:00",
    "daily 01:07-01:53",
    "fri-sat 23:59-00:01, sun 00:00-24:00",
    "mon-fri 09:00-18:00, sat 10:00-13:00",
)


def asked(host: Host, now: datetime, **given: object) -> Any:
    (row,) = run(host, WINDOWS, now=now, **given)
    return row


def closed(host: Host, now: datetime, **given: object) -> set[UUID]:
    return {UUID(one) for one in asked(host, now, **given).shut_steps.strip("{}").split(",") if one}


@pytest.fixture
def sequences(host: Host) -> dict[UUID, UUID]:
    """A sequence and its step for each of the windows, by step; the windows are set for the sequence."""
    user, found = host.user(), {}
    for number, window in enumerate(WINDOWS_TRIED):
        sequence, (step,) = host.simple_sequence(user, f"W{number}")
        host.rule("window", window, sequence=sequence)
        found[step] = sequence
    return found


@pytest.mark.thorough
@pytest.mark.parametrize(("zone", "forward", "back"), ZONES, ids=[zone for zone, *_ in ZONES])
def test_windows_are_open_as_the_clock_on_the_wall_says_also_where_it_is_set(
    host: Host, sequences: dict[UUID, UUID], zone: str, forward: datetime, back: datetime
) -> None:
    host.rule("zone", zone, user=host.value("select id from users"))
    windows = dict(zip(sequences, WINDOWS_TRIED, strict=True))
    for change in (forward, back):
        for minutes in range(-26 * 60, 28 * 60, 13):
            now = change + timedelta(minutes=minutes)
            expected = {step for step, window in windows.items() if not hours.is_open(window, zone, now)}
            assert closed(host, now) == expected, (zone, now)


@pytest.mark.parametrize(("zone", "forward", "back"), ZONES, ids=[zone for zone, *_ in ZONES])
def test_when_a_window_opens_next_is_told_over_a_change_of_the_clocks(
    host: Host, sequences: dict[UUID, UUID], zone: str, forward: datetime, back: datetime
) -> None:
    for change in (forward, back):
        now = change - timedelta(hours=3, minutes=8)
        row = asked(host, now, zone=zone, ahead=list(sequences.values()))
        told = host.rows(
            "select * from unnest(%s::uuid[], %s::timestamptz[]) as t (step, at)",
            row.timed_steps,
            row.timed_opens,
        )
        windows = dict(zip(sequences, WINDOWS_TRIED, strict=True))
        assert len(told) == len(windows)
        for one in told:
            # Of those that are open it is told when they are open at the next of the instants looked at.
            if not hours.is_open(windows[one.step], zone, now):
                assert one.at == hours.opens(windows[one.step], [zone], now), (windows[one.step], now)


def test_any_window_at_any_instant_in_any_zone(host: Host, seed: int) -> None:
    rng = random.Random(seed)
    user = host.user()
    windows = {}

    def some_time() -> str:
        return f"{rng.randrange(24):02}:{rng.choice([0, 0, 1, 15, 30, 59]):02}"

    for number in range(40):
        parts = []
        for _ in range(rng.randint(1, 3)):
            days = rng.choice(
                ["daily", rng.choice(hours.DAYS), f"{rng.choice(hours.DAYS)}-{rng.choice(hours.DAYS)}"]
            )
            opens, shuts = some_time(), rng.choice([some_time(), "24:00"])
            parts.append(f"{days} {opens}-{shuts}" if opens != shuts else f"{days} 00:00-24:00")
        sequence, (step,) = host.simple_sequence(user, f"W{number}")
        windows[step] = ", ".join(parts)
        host.rule("window", windows[step], sequence=sequence)
    for _ in range(40):
        zone = rng.choice(["UTC", "Asia/Kathmandu", "Pacific/Chatham", "Pacific/Apia", "America/St_Johns"])
        now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(365 * 24 * 60))
        expected = {step for step, window in windows.items() if not hours.is_open(window, zone, now)}
        assert closed(host, now, zone=zone) == expected, (zone, now)


SHUT, OPEN = hours.around(6, 12), hours.around(-6, 6)


@pytest.fixture
def person(host: Host) -> dict[str, UUID]:
    """A person who is due, and what they depend on."""
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "60123456789", device)
    return {"user": user, "sequence": sequence, "step": step, "device": device}


def waiting(seqdev: Cli) -> dict[str, int]:
    """Who waits: by a dry run, a comparison and a tick, which agree."""
    foreseen = json.loads(seqdev("tick", "--dry-run", "--format", "json").out)["waiting"]
    compared = json.loads(seqdev("tick", "--compare", "--format", "json").out)
    ran = seqdev("tick", "--format", "json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)["waiting"]
    assert found == foreseen
    assert {
        sum(one["waiting"].get("outside_window", 0) for one in compared if one["policy"] == policy)
        for policy in ("queue", "strict", "fallback", "reassign")
    } == {found.get("outside_window", 0)}
    return dict(found)


def gate(seqdev: Cli) -> tuple[str | None, Any]:
    story = json.loads(seqdev("explain", "60123456789", "--format", "json").out)["stories"][0]
    (one,) = story["waiting"]
    return one["reason"], one


@pytest.mark.parametrize("scope", ["sequence", "user", "all"])
def test_outside_its_window_a_step_waits_and_inside_it_goes(
    host: Host, seqdev: Cli, person: dict[str, UUID], scope: str
) -> None:
    whose = [] if scope == "all" else [f"--{scope}", str(person[scope])]
    assert seqdev("rules", "set", "window", SHUT, *whose, "--yes").code == 0
    assert waiting(seqdev) == {"outside_window": 1}
    reason, one = gate(seqdev)
    assert (reason, one["stopped_by"]) == ("outside_window", "window")
    now = host.value("select now()")
    assert datetime.fromisoformat(one["eligible_at"]) == hours.opens(SHUT, ["UTC"], now)
    words = {"sequence": "rule of the sequence", "user": "rule of the user", "all": "rule of all"}[scope]
    detail = next(each["detail"] for each in one["gates"] if each["gate"] == "window")
    assert detail == f"window {SHUT} ({words}), zone UTC (the database's)"
    assert "WAITS: outside_window" in seqdev("explain", "60123456789").out
    assert host.value("select last_error from sequence_contacts") is None
    assert seqdev("rules", "set", "window", OPEN, *whose, "--yes").code == 0
    assert waiting(seqdev) == {}
    assert host.value("select count(*) from broadcast_messages") == 1


def test_the_most_specific_window_and_zone_hold(host: Host, seqdev: Cli, person: dict[str, UUID]) -> None:
    host.rule("window", SHUT)
    host.rule("window", OPEN, user=person["user"])
    assert json.loads(seqdev("tick", "--dry-run", "--format", "json").out)["waiting"] == {}
    host.rule("window", SHUT, sequence=person["sequence"])
    assert waiting(seqdev) == {"outside_window": 1}
    got = json.loads(
        seqdev("rules", "get", "window", "--sequence", str(person["sequence"]), "--format", "json").out
    )
    assert (got["value"], got["scope"]) == (SHUT, "sequence")
    # Nine hours on, what is six to twelve hours away is now.
    host.rule("zone", "Etc/GMT-9", sequence=person["sequence"])
    assert waiting(seqdev) == {}


def test_an_empty_window_of_a_sequence_is_always_open(
    host: Host, seqdev: Cli, person: dict[str, UUID]
) -> None:
    host.rule("window", SHUT)
    assert seqdev("rules", "set", "window", "", "--sequence", str(person["sequence"]), "--yes").code == 0
    assert waiting(seqdev) == {}


def test_what_is_shut_is_sent_by_no_policy_and_holds_nobody_back(
    host: Host, seqdev: Cli, person: dict[str, UUID]
) -> None:
    other, (step,) = host.simple_sequence(person["user"], "OTHER")
    host.contact(other, step, "60120000002", person["device"])
    host.rule("window", SHUT, sequence=person["sequence"])
    host.rule("max_in_flight", 1)
    for policy in ("queue", "strict", "fallback", "reassign"):
        host.rule("policy", policy)
        assert waiting(seqdev) == {"outside_window": 1}
    assert host.value("select count(*) from broadcast_messages where sequence_id = %s", other) == 1


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("mon-fri 9:00-18:00,SAT 10:00 - 13:00", "mon-fri 09:00-18:00, sat 10:00-13:00"),
        ("09:00-18:00", "daily 09:00-18:00"),
        ("fri 22:00-02:00", "fri 22:00-02:00"),
        ("sun-sun 00:00-24:00", "sun 00:00-24:00"),
    ],
)
def test_a_window_is_kept_in_one_way_of_writing(host: Host, seqdev: Cli, typed: str, kept: str) -> None:
    assert seqdev("rules", "set", "window", typed, "--yes").code == 0
    assert host.value("select value from seqdev.rule where name = 'window'") == kept


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("weekdays 09:00-18:00", "is not a range of time"),
        ("mon-fri 09:00-25:00", "25:00 is no time of the day"),
        ("mon 09:00-09:00", "ends when it begins"),
        ("mon 24:00-09:00", "24:00 is no time to begin"),
        ("mon 09:00-18:00,", "is not a range of time"),
        ("mon", "is not a range of time"),
    ],
)
def test_what_is_no_window_is_refused(host: Host, seqdev: Cli, typed: str, why: str) -> None:
    ran = seqdev("rules", "set", "window", typed, "--yes")
    assert (ran.code, ran.out) == (2, "")
    assert why in ran.err
    assert "mon-fri 09:00-18:00, sat 10:00-13:00" in ran.err
    assert host.value("select count(*) from seqdev.rule") == 0


def test_a_zone_is_one_that_the_server_knows(host: Host, seqdev: Cli) -> None:
    assert seqdev("rules", "set", "zone", "asia/kuala_lumpur", "--yes").code == 0
    assert host.value("select value from seqdev.rule where name = 'zone'") == "Asia/Kuala_Lumpur"
    ran = seqdev("rules", "set", "zone", "Asia/Kuala_Lumpu", "--yes")
    assert ran.code == 2
    assert "did you mean Asia/Kuala_Lumpur" in ran.err
    assert seqdev("rules", "set", "zone", "Mars", "--yes").code == 2


@pytest.mark.cases(2)
@pytest.mark.parametrize(
    ("name", "value"),
    [("window", "whenever"), ("window", "mon 09:00"), ("window", ","), ("zone", "Mars/Base"), ("zone", "'")],
)
def test_a_rule_that_cannot_be_read_shuts_those_whom_it_is_for_and_stops_no_run(
    host: Host, seqdev: Cli, person: dict[str, UUID], name: str, value: str
) -> None:
    other, (step,) = host.simple_sequence(host.user(), "OTHER")
    host.contact(
        other,
        step,
        "60120000002",
        host.device(host.value("select user_id from sequences where id = %s", other)),
    )
    host.rule("window", OPEN)
    host.rule(name, value, sequence=person["sequence"])
    assert waiting(seqdev) == {"outside_window": 1}
    assert host.value("select count(*) from broadcast_messages") == 1
    reason, one = gate(seqdev)
    assert (reason, one["eligible_at"]) == ("outside_window", None)
    assert "cannot be read" in seqdev("explain", "60123456789").out


def test_a_bad_window_for_all_is_named(host: Host, seqdev: Cli, person: dict[str, UUID]) -> None:
    host.rule("window", "whenever")
    ran = seqdev("tick")
    assert ran.code == 2
    assert "the database's rule window cannot be 'whenever'" in ran.err


def test_a_step_is_not_sent_before_the_hosts_own_time_of_the_day(
    host: Host, seqdev: Cli, person: dict[str, UUID]
) -> None:
    # A zone where it is noon.
    hour = host.value("select extract(hour from now() at time zone 'UTC')::integer")
    zone = f"Etc/GMT{hour - 12:+}" if hour != 12 else "UTC"
    host.rule("zone", zone)
    host.rule("host_columns", "true")
    host.rows("alter table sequence_steps add column time_schedule text")
    host.rows("update sequences set schedule_time = '17:30'")
    assert waiting(seqdev) == {"outside_window": 1}
    _, one = gate(seqdev)
    detail = next(each["detail"] for each in one["gates"] if each["gate"] == "window")
    assert detail == f"not before 17:30 (sequences.schedule_time), zone {zone} (rule of all)"
    now = host.value("select now()")
    assert datetime.fromisoformat(one["eligible_at"]) == hours.opens("", [zone], now, "17:30")
    # The step's own comes first.
    host.rows("update sequence_steps set time_schedule = '6:00'")
    assert waiting(seqdev) == {}


@pytest.mark.cases(3)
@pytest.mark.parametrize("written", ["", " ", "Invalid Date", "25:00", "17:60", "soon", "00:00", "17", None])
def test_what_is_no_time_of_the_day_keeps_nothing_back(
    host: Host, seqdev: Cli, person: dict[str, UUID], written: str | None
) -> None:
    host.rule("host_columns", "true")
    host.rows("alter table sequences alter column schedule_time type text")
    host.rows("update sequences set schedule_time = %s", written)
    host.rows("alter table sequence_steps add column time_schedule varchar(20)")
    host.rows("update sequence_steps set time_schedule = %s", written)
    assert waiting(seqdev) == {}


@pytest.mark.parametrize(
    "kind", ["text", "varchar(10)", "time"], ids=["text", "varchar", "a time of the day"]
)
def test_the_hosts_columns_are_of_any_kind_and_may_be_missing(
    host: Host, seqdev: Cli, person: dict[str, UUID], kind: str
) -> None:
    host.rule("host_columns", "true")
    before = "23:59:59" if host.value("select now() at time zone 'UTC'").hour < 23 else "23:59"
    host.rows(f"alter table sequence_steps add column time_schedule {kind}")
    host.rows("alter table sequences drop column schedule_time")
    host.rows("update sequence_steps set time_schedule = %s", before[:5] if kind != "time" else before)
    zone = "Etc/GMT+3" if host.value("select now() at time zone 'UTC'").hour >= 22 else "UTC"
    host.rule("zone", zone)
    assert waiting(seqdev) == {"outside_window": 1}
    listed = json.loads(seqdev("rules", "list", "--format", "json").out)
    (shown,) = [one for one in listed if one["name"] == "time_schedule"]
    assert (shown["source"], shown["scope"]) == ("sequence_steps.time_schedule", "sequence")
    assert shown["value"].startswith("23:59")
    assert "keep nothing back" not in seqdev("rules", "list").err + seqdev("db", "check").err


def test_the_hosts_columns_hold_nothing_back_until_somebody_says_so(
    host: Host, seqdev: Cli, person: dict[str, UUID]
) -> None:
    host.rows("alter table sequence_steps add column time_schedule text default '23:59'")
    zone = "Etc/GMT+3" if host.value("select now() at time zone 'UTC'").hour >= 22 else "UTC"
    host.rule("zone", zone)
    told = (
        "the times of the day in sequence_steps.time_schedule keep nothing back; "
        "if somebody has chosen them: seqdev rules set host_columns true"
    )
    host.rule("host_columns", "true")
    assert waiting(seqdev) == {"outside_window": 1}
    for value in ("false", None):
        host.rule("host_columns", value)
        listed = seqdev("rules", "list", "--format", "json")
        (shown,) = [one for one in json.loads(listed.out) if one["name"] == "time_schedule"]
        assert (shown["value"], shown["source"]) == ("23:59", "sequence_steps.time_schedule, does not count")
        assert told in listed.err
        assert told in seqdev("db", "check").err
    assert waiting(seqdev) == {}
    assert host.value("select count(*) from broadcast_messages") == 1


def test_rules_list_says_what_the_host_has_for_a_sequence(
    host: Host, seqdev: Cli, person: dict[str, UUID]
) -> None:
    host.rule("host_columns", "true")
    host.rows("update sequences set schedule_time = '09:00'")
    other = host.sequence(person["user"], "other", schedule_time="10:00")
    found = json.loads(seqdev("rules", "list", "--sequence", str(other), "--format", "json").out)
    (shown,) = [one for one in found if one["name"] == "schedule_time"]
    assert shown == {
        "name": "schedule_time",
        "value": "10:00",
        "source": "sequences.schedule_time",
        "scope": "sequence",
        "scope_name": "other",
        "scope_id": str(other),
        "default": None,
    }
    found = json.loads(seqdev("rules", "list", "--format", "json").out)
    assert [one["value"] for one in found if one["source"] == "sequences.schedule_time"] == ["09:00, 10:00"]
    assert "schedule_time" not in seqdev("rules", "list", "--user", str(person["user"])).out


def test_a_crowd_outside_its_window_is_counted_as_a_few_are(
    host: Host, person: dict[str, UUID], seed: int
) -> None:
    rng = random.Random(seed)
    user = person["user"]
    steps: list[tuple[UUID, UUID | None]] = [(person["sequence"], person["step"])]
    for number, window in enumerate((SHUT, OPEN, SHUT)):
        sequence, found = host.simple_sequence(user, f"W{number}", steps=2)
        host.rule("window", window, sequence=sequence)
        steps += [(sequence, one) for one in (*found, None)]
    devices = [person["device"], host.device(user, status="offline"), host.device(host.user()), uuid4(), None]
    for number in range(98):
        sequence, step = rng.choice(steps)
        phone = rng.choice(
            [f"6012{number:06}", f"\u00a06012{number:06}", (" " if number % 2 else "\t") * (number // 2 + 1)]
        )
        contact = host.contact(sequence, step, phone, rng.choice(devices), lead=rng.random() < 0.7)
        if rng.random() < 0.3:
            host.rows(
                "update sequence_contacts set processing_device_id = %s where id = %s", devices[0], contact
            )
    for number, lead in enumerate((True, False)):
        host.contact(*steps[0], f"60139{number:06}", person["device"], lead=lead)
    for policy in ("queue", "strict"):
        counted = [
            sorted(map(str, run(host, PLAN, many=many, policy=policy, oldest=oldest)))
            for many in (1, 30_000)
            for oldest in ("-infinity", "now")
        ]
        assert counted[0] == counted[2]
        assert counted[1] == counted[3]
        assert any("outside_window" in row for row in counted[0])
        assert any("no_lead" in row for row in counted[0])
        assert any("'queue'" in row for row in counted[0])


COUNTRIES = {
    "60123456789": "Malaysia",
    "6281234567890": "Indonesia: any of three zones",
    "12025550123": "Washington",
    "13105550123": "Los Angeles",
    "18085550123": "Honolulu",
    "447400123456": "Britain",
    "4915123456789": "Germany",
    "5511912345678": "Brazil, Sao Paulo",
    "5592912345678": "Brazil, Manaus",
    "919876543210": "India",
    "9779812345678": "Nepal",
    "61212345678": "Australia, Sydney",
    "61892345678": "Australia, Perth",
    "61412345678": "Australia, a mobile: anywhere",
    "6491234567": "New Zealand",
    "2348012345678": "Nigeria",
    "819012345678": "Japan",
    "79161234567": "Russia: any of eleven zones",
    "999123456": "no country",
    "12": "the North American plan, and no more",
}


@pytest.fixture
def everywhere(host: Host) -> dict[str, UUID]:
    """A person in each of the countries, due."""
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    return {phone: host.contact(sequence, step, phone, device) for phone in COUNTRIES}


def open_for(host: Host, now: datetime, window: str, **given: object) -> set[str]:
    """Who is queued by a claim whose gate is asked as of ``now``."""
    gates_ = asked(host, now, window=window, zone="recipient", **given)
    with host.connection.transaction(force_rollback=True):
        run(
            host,
            CLAIM,
            **{name: getattr(gates_, name) for name in ("shut_steps", "recipient_hours")},
        )
        return {row.recipient_phone for row in host.rows("select recipient_phone from broadcast_messages")}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "window", ["mon-fri 09:00-18:00, sat 10:00-13:00", "daily 22:00-02:00", "daily 01:30-02:30"]
)
def test_recipients_are_written_to_by_the_clock_of_their_own_country(
    host: Host, everywhere: dict[str, UUID], window: str
) -> None:
    kinds = set()
    # The ends of two summer times are among these hours, and the beginnings of two others.
    for start in (datetime(2026, 3, 28, 20, tzinfo=UTC), datetime(2026, 10, 24, 20, tzinfo=UTC)):
        for number in range(14):
            now = start + timedelta(minutes=number * 130)
            expected = {
                phone
                for phone in COUNTRIES
                if all(hours.is_open(window, zone, now) for zone in hours.zones_of(phone) or ["UTC"])
            }
            assert open_for(host, now, window) == expected, now
            kinds.add(0 < len(expected) < len(COUNTRIES))
    assert True in kinds


def test_every_prefix_that_the_library_knows_has_its_zones(host: Host, person: dict[str, UUID]) -> None:
    """By a window that is open to some: each phone is judged as the library's zones say."""
    now, window = datetime(2026, 11, 27, 12, 10, tzinfo=UTC), "daily 06:00-14:00"
    told = json.loads(asked(host, now, window=window, zone="recipient").recipient_hours)
    number = told[str(person["step"])]
    # By the server's clocks: it may know of changes that Python does not.
    shown = dict(host.rows("select name, %s at time zone name from pg_timezone_names", now))
    for digits in TIMEZONE_DATA:
        sizes = range(len(digits), -1, -1)
        key = next(key for size in sizes if (key := f"{number} {digits[:size]}") in told)
        zones = hours.zones_of(digits)
        is_open = all(hours.shows_open(window, shown[zone]) for zone in zones if zone in shown)
        assert told[key] == str(is_open).lower(), digits


def test_in_the_zone_of_the_recipient_tick_dry_run_and_explain_agree(
    host: Host, seqdev: Cli, person: dict[str, UUID]
) -> None:
    for phone in ("12025550123", "+60 12-345 6780", "0123456780", "999123456"):
        host.contact(person["sequence"], person["step"], phone, person["device"])
    host.rule("window", SHUT)
    host.rule("zone", "recipient")
    host.rule("region", "MY")
    # In Malaysia it is eight hours later than in UTC, in Washington four or five hours earlier.
    assert waiting(seqdev) == {"outside_window": 2}
    rows = host.rows("select recipient_phone from broadcast_messages order by 1")
    assert [row.recipient_phone for row in rows] == ["+60 12-345 6780", "0123456780", "60123456789"]
    now = host.value("select now()")
    for phone, zones, words in (
        ("12025550123", ["America/New_York"], "recipient: America/New_York"),
        ("999123456", ["UTC"], "recipient: UTC, the phone's is not known"),
    ):
        story = json.loads(seqdev("explain", phone, "--format", "json").out)["stories"][0]
        (one,) = story["waiting"]
        assert one["reason"] == "outside_window"
        assert datetime.fromisoformat(one["eligible_at"]) == hours.opens(SHUT, zones, now)
        detail = next(each["detail"] for each in one["gates"] if each["gate"] == "window")
        assert f"zone {words} (rule of all)" in detail
    # Whose zone is not known has that of the next less specific rule.
    host.rule("zone", "recipient", sequence=person["sequence"])
    host.rule("zone", "Etc/GMT-9", user=person["user"])
    assert waiting(seqdev) == {"outside_window": 1}


@pytest.mark.plain("it reads the plans of statements that are others there")
@pytest.mark.cases(2)
@pytest.mark.parametrize("query", [CLAIM, LOCK, PICK, OVERFLOW, PLAN], ids=lambda query: query.path)
def test_without_the_zone_of_the_recipient_nobodys_phone_is_looked_at(host: Host, query: Query[Any]) -> None:
    """The planner drops what the rule asks of each contact."""
    explained = "explain (costs off, verbose) " + query.statement.text

    def asks_phones(**given: object) -> bool:
        rows = host.rows(explained, binds(host.connection, query, **given))
        return any("regexp_replace" in row[0] for row in rows)

    assert not asks_phones()
    assert asks_phones(recipient_hours='{"1 60": "false"}')


def test_a_window_that_opens_in_the_middle_of_a_run_is_open_from_the_next_batch(
    host: Host, seqdev: Cli, connect: Connect, database: str, person: dict[str, UUID]
) -> None:
    """Although the batches after the first begin where the first of those was due who could go then."""
    other, (step,) = host.simple_sequence(person["user"], "OTHER")
    for number in range(6):
        host.contact(other, step, f"6013000000{number}", person["device"], -timedelta(seconds=number))
    host.rule("window", SHUT, sequence=person["sequence"])
    ticks = Ticks(database)
    try:
        with stopped_statement(host, connect, "tick/claim.sql"):
            running = ticks.start("--batch-size", "1", "--jobs", "1")
            until(lambda: stopped(host) == 1, "the first batch to be about to claim")
            host.rule("window", "", sequence=person["sequence"])
        summary = ticks.end(running)
    finally:
        ticks.kill_all()
    assert (summary["queued"], summary["waiting"]) == (7, {})
