"""A policy for a user alone: one tick serves users of different policies."""

import json
from typing import Any
from uuid import UUID

import pytest

from tests.world.command import Cli
from tests.world.host import Connect, Host

POLICIES = ("queue", "strict", "fallback", "reassign")


@pytest.fixture
def users(host: Host) -> dict[str, UUID]:
    """A user for each policy, with a device that is offline, one that is online, and somebody due on each."""
    made = {}
    host.rule("policy", "strict")
    for number, policy in enumerate(POLICIES):
        user = made[policy] = host.user()
        sequence, (step,) = host.simple_sequence(user)
        for status in ("offline", "online"):
            device = host.device(user, f"{policy} {status}", status)
            host.contact(sequence, step, f"60120000{number}{len(status)}", device)
        if policy != "strict":
            host.rule("policy", policy, user=user)
    return made


def sent(host: Host) -> list[tuple[str, str]]:
    rows = host.rows(
        "select d.device_name, right(m.recipient_phone, 2) as phone from broadcast_messages m"
        " join user_devices d on d.id = m.device_id order by 1, 2"
    )
    return [(row.device_name, row.phone) for row in rows]


EXPECTED = [
    *(("fallback online", "26"), ("fallback online", "27")),
    *(("queue offline", "07"), ("queue online", "06")),
    *(("reassign online", "36"), ("reassign online", "37")),
    ("strict online", "16"),
]


def test_each_user_is_served_by_their_own_policy(host: Host, seqdev: Cli, users: dict[str, UUID]) -> None:
    dry = json.loads(seqdev("tick", "--dry-run", "--format", "json").out)
    summary = json.loads(seqdev("tick", "--format", "json").out)
    assert sent(host) == EXPECTED
    assert summary["policy"] == "strict"
    for name in ("due", "queued", "moved", "waiting"):
        assert dry[name] == summary[name], name
    assert (summary["queued"], summary["moved"], summary["waiting"]) == (7, 2, {"device_offline": 1})
    assigned = host.rows(
        "select old_value, new_value from seqdev.change where table_name = 'sequence_contacts'"
    )
    assert len(assigned) == 1, "only reassign assigns anew"
    assert json.loads(seqdev("tick", "--format", "json").out)["queued"] == 0


def test_a_flag_is_for_everybody_and_says_that_users_have_another(
    host: Host, seqdev: Cli, users: dict[str, UUID]
) -> None:
    ran = seqdev("tick", "--policy", "strict", "--format", "json")
    assert json.loads(ran.out)["queued"] == 4
    assert "for this run only: policy strict; there are users with another by rule" in ran.err


@pytest.mark.parametrize("policy", POLICIES)
def test_explain_goes_by_the_users_policy_and_says_whose_rule_it_is(
    host: Host, seqdev: Cli, users: dict[str, UUID], policy: str
) -> None:
    phone = f"60120000{POLICIES.index(policy)}7"
    (story,) = json.loads(seqdev("explain", phone, "--format", "json").out)["stories"]
    assert (story["policy"], story["policy_by"]) == (policy, "all" if policy == "strict" else "user")
    assert story["waiting"][0]["reason"] == (None if policy == "queue" else "device_offline")


def get(seqdev: Cli, *options: Any) -> tuple[str, str]:
    found = json.loads(seqdev("rules", "get", "policy", *options, "--format", "json").out)
    return found["value"], found["scope"]


def test_get_names_the_rule_that_decides_for_a_device_of_the_user(
    seqdev: Cli, users: dict[str, UUID]
) -> None:
    assert get(seqdev, "--device", "fallback online") == ("fallback", "user")
    assert get(seqdev, "--user", users["strict"]) == ("strict", "all")


def test_what_is_held_is_said_for_the_users_of_every_policy(
    host: Host, connect: Connect, seqdev: Cli, users: dict[str, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQDEV_LOCK_TIMEOUT", "100ms")
    session = connect(host.url)
    with session.transaction():
        session.execute(
            "select from users where id = any(%s) for update", ([users["strict"], users["fallback"]],)
        )
        summary = json.loads(seqdev("tick", "--format", "json").out)
    assert summary["waiting"].get("next_tick") is None, summary["waiting"]
    assert [name for name, _ in sent(host) if name.startswith(("queue", "reassign"))] == [
        *("queue offline", "queue online", "reassign online", "reassign online"),
    ]
