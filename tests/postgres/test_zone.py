"""The zone of naive timestamps, which is kept with the database."""

import json
from datetime import timedelta

import pytest

from tests.world.command import Cli
from tests.world.host import Host

KL = "Asia/Kuala_Lumpur"


def due_in_kuala_lumpur(host: Host) -> None:
    """Somebody who has been due for an hour, in a database whose application writes local time."""
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "6012345678", host.device(user))
    host.rows(
        "update sequence_contacts set next_trigger_time = now() at time zone %s - interval '1 hour'", KL
    )


def test_a_kept_zone_holds_for_every_command_and_another_is_refused(host: Host, seqdev: Cli) -> None:
    due_in_kuala_lumpur(host)
    before = seqdev("tick", "--dry-run", "--format", "json")
    assert json.loads(before.out)["due"] == 0, "eight hours late"
    ran = seqdev("db", "zone", KL)
    assert (ran.code, ran.out) == (0, "")
    assert KL in ran.err
    assert KL in seqdev("db", "zone").err
    assert json.loads(seqdev("tick", "--dry-run", "--format", "json").out)["due"] == 1
    refused = seqdev("--timezone", "UTC", "audit", "contacts")
    assert (refused.code, refused.out) == (2, "")
    assert "'UTC'" in refused.err
    assert KL in refused.err
    assert seqdev("--timezone", KL, "tick", "--format", "json").code == 0
    sent = host.rows("select scheduled_at - now() at time zone %s as ago from broadcast_messages", KL)
    assert abs(sent[0].ago) < timedelta(minutes=5)
    run = host.rows("select command, exit_code from seqdev.run order by started_at")
    assert ("db zone", 0) in [tuple(row) for row in run]


def test_a_wrong_setting_does_not_keep_the_zone_from_being_put_right(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert seqdev("db", "zone", "UTC").code == 0
    monkeypatch.setenv("SEQDEV_TIMEZONE", KL)
    refused = seqdev("tick")
    assert refused.code == 2
    assert f"seqdev db zone {KL}" in refused.err
    assert seqdev("db", "zone", KL).code == 0
    assert seqdev("tick").code == 0


def test_a_zone_that_the_server_does_not_know_is_refused_and_nothing_is_kept(host: Host, seqdev: Cli) -> None:
    ran = seqdev("db", "zone", "Mars/Olympus")
    assert (ran.code, ran.out) == (2, "")
    assert "time zone" in ran.err
    assert host.value("select count(*) from seqdev.setting") == 0
    assert "no zone is kept" in seqdev("db", "zone").err


@pytest.mark.parametrize(
    "level", ["database {database}", "role {role}", "role {role} in database {database}"]
)
def test_check_says_where_another_zone_is_set(host: Host, seqdev: Cli, level: str) -> None:
    assert seqdev("db", "check").code == 0
    names = host.rows("select current_database() as database, current_user as role")[0]._asdict()
    host.rows(f"alter {level.format(**names)} set timezone = '{KL}'")
    try:
        ran = seqdev("db", "check")
        assert ran.code == 3
        assert KL in ran.out
        assert "seqdev db zone" in ran.out
        # The same hours under another name are the same zone.
        assert seqdev("--timezone", "Asia/Singapore", "db", "check").code == 0
        assert seqdev("db", "zone", KL).code == 0
        assert seqdev("db", "check").code == 0
    finally:
        host.rows(f"alter {level.format(**names)} reset timezone")


@pytest.mark.cases(2)
@pytest.mark.parametrize(
    ("zone", "code"), [("8", 3), ("-3.5", 3), ("0", 0), ("Europe/London", 3), ("Etc/Zulu", 0)]
)
def test_zones_are_compared_by_the_time_that_they_tell_all_year_round(
    zone: str, code: int, host: Host, seqdev: Cli
) -> None:
    host.rows(f"alter database {host.value('select current_database()')} set timezone = '{zone}'")
    ran = seqdev("db", "check")
    assert (ran.code, zone in ran.out) == (code, code == 3)
