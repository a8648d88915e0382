"""A rule for a device or user that psql wrote and nobody can read: a tick says which, and sends nothing."""

import json
from uuid import UUID

import pytest

from tests.world.command import Cli
from tests.world.host import Host

BAD = {
    "max_in_flight": "many",
    "max_per_hour": "-1",
    "max_per_day": "99999999999",
    "warm_up": "20",
    "new_chats_per_day": "1.5",
    "grace": "1 hour; drop",
}


@pytest.fixture
def device(host: Host) -> UUID:
    host.rule("policy", "strict")
    user = host.user()
    device = host.device(user, "A")
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "60120000000", device)
    return device


@pytest.mark.cases(3)
@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("scope", ["device", "user"])
def test_a_tick_says_which_rule_it_cannot_read_and_sends_nothing(
    host: Host, seqdev: Cli, device: UUID, name: str, scope: str
) -> None:
    user = host.value("select user_id from user_devices")
    whose = {"device": device, "user": user}[scope]
    host.rule(name, BAD[name], **{scope: whose})
    for command in (["tick"], ["tick", "--dry-run"], ["explain", "60120000000"], ["audit", "devices"]):
        ran = seqdev(*command)
        assert (ran.code, ran.out) == (2, ""), command
        assert f"the database's rule {name} of the {scope} {whose} cannot be '{BAD[name]}'" in ran.err
        assert f"seqdev rules unset {name} --{scope} {whose}" in ran.err
        assert "Traceback" not in ran.err
    assert host.rows("select 1 from broadcast_messages") == []
    assert seqdev("rules", "unset", name, f"--{scope}", str(whose), "--yes").code == 0
    assert json.loads(seqdev("tick", "--format", "json").out)["queued"] == 1


@pytest.mark.parametrize("scope", ["all", "user", "device"])
def test_a_rule_of_a_newer_version_is_not_passed_over(
    host: Host, seqdev: Cli, device: UUID, scope: str
) -> None:
    user = host.value("select user_id from user_devices")
    host.rule("quiet_days", "sun", **{"all": {}, "user": {"user": user}, "device": {"device": device}}[scope])
    for command in (["tick"], ["tick", "--dry-run"], ["enroll", "--yes"]):
        ran = seqdev(*command)
        assert (ran.code, ran.out) == (2, ""), command
        assert (
            "the database holds the rule 'quiet_days', which this version of seqdev does not know" in ran.err
        )
        assert "upgrade seqdev on this host" in ran.err
    shown = seqdev("rules", "list")
    assert shown.code == 0
    assert "quiet_days" in shown.out + shown.err
    assert host.rows("select 1 from broadcast_messages") == []


def test_a_policy_of_a_user_that_cannot_be_read_is_said_to_be_a_users(
    host: Host, seqdev: Cli, device: UUID
) -> None:
    host.rule("policy", "sticky", user=host.value("select user_id from user_devices"))
    ran = seqdev("tick")
    assert (ran.code, ran.out) == (2, "")
    assert "the database's rule policy of a user cannot be 'sticky'" in ran.err
    assert host.rows("select 1 from broadcast_messages") == []
