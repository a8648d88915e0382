"""Only the database's clock decides, and naive timestamps are read in the configured time zone (I4)."""

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.world.command import Cli
from tests.world.generations import about_naive
from tests.world.host import Host

ZONE = "Asia/Kuala_Lumpur"


def due(seqdev: Cli, *options: str) -> Any:
    ran = seqdev(*options, "tick", "--dry-run", "--format", "json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)["due"]


@pytest.fixture(params=["server", "role", "client"])
def elsewhere(request: pytest.FixtureRequest, host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Server, role or client set to another zone than seqdev's."""
    database = host.value("select current_database()")
    if request.param == "server":
        host.rows(f"alter database {database} set timezone = '{ZONE}'")
    elif request.param == "role":
        host.rows(f"alter role postgres in database {database} set timezone = '{ZONE}'")
    else:
        monkeypatch.setenv("PGTZ", ZONE)
        monkeypatch.setenv("TZ", ZONE)
        monkeypatch.setenv("PGOPTIONS", f"-c timezone={ZONE}")
    return host


@pytest.mark.cases(3)
@about_naive
def test_seven_hours_ahead_is_not_due_whoever_says_kuala_lumpur(elsewhere: Host, seqdev: Cli) -> None:
    user = elsewhere.user()
    sequence, (step,) = elsewhere.simple_sequence(user)
    elsewhere.contact(sequence, step, "6012345678", elsewhere.device(user), timedelta(hours=7))
    assert due(seqdev) == 0
    # In Kuala Lumpur, eight hours ahead of UTC, that wall clock has passed an hour ago.
    assert due(seqdev, "--timezone", ZONE) == 1


@pytest.mark.cases(3)
@about_naive
def test_the_zone_also_rules_what_is_written(elsewhere: Host, seqdev: Cli) -> None:
    user = elsewhere.user()
    sequence, (first, _) = elsewhere.simple_sequence(user, steps=2)
    elsewhere.contact(sequence, first, "6012345678", elsewhere.device(user))
    assert seqdev("--timezone", ZONE, "tick").code == 0
    (row,) = elsewhere.rows(
        "select scheduled_at - now() at time zone %s as scheduled, c.next_trigger_time - scheduled_at as delay"
        " from broadcast_messages as m join sequence_contacts as c on m.recipient_phone = c.contact_phone"
        " where c.status = 'active'",
        ZONE,
    )
    assert abs(row.scheduled) < timedelta(minutes=1)
    assert row.delay == timedelta(hours=24)


def test_aware_timestamps_mean_the_same_in_every_zone(host: Host, seqdev: Cli) -> None:
    host.rows(
        "alter table sequence_contacts alter column next_trigger_time type timestamptz"
        " using next_trigger_time at time zone 'UTC'"
    )
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    contact = host.contact(sequence, step, "6012345678", host.device(user))
    for ahead, expected in (("7 hours", 0), ("-1 minute", 1)):
        host.rows(
            "update sequence_contacts set next_trigger_time = now() + %s::interval where id = %s",
            ahead,
            contact,
        )
        assert due(seqdev) == due(seqdev, "--timezone", ZONE) == expected


def test_dates_without_an_end_and_without_a_value_are_no_trouble(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    for number, instant in enumerate(("infinity", "-infinity", None)):
        contact = host.contact(sequence, step, f"601234567{number}", device)
        host.rows("update sequence_contacts set next_trigger_time = %s where id = %s", instant, contact)
    assert due(seqdev) == 1
    assert seqdev("tick").code == 0


def test_a_zone_that_the_server_does_not_know_is_wrong_usage(host: Host, seqdev: Cli) -> None:
    ran = seqdev("--timezone", "Mars/Olympus", "tick")
    assert (ran.code, ran.out) == (2, "")
    assert "time zone" in ran.err


def test_a_zone_that_the_server_does_not_know_is_exit_2(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQDEV_TIMEZONE", "Nowhere/Else")
    ran = seqdev("tick", "--dry-run")
    assert (ran.code, ran.out) == (2, "")
    assert "does not know the configured time zone" in ran.err
