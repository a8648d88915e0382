"""The oldest of a device's contacts go first, assigned or their lead's."""

import json
from datetime import timedelta

import pytest

from tests.world.command import Cli
from tests.world.host import Host


@pytest.mark.parametrize("options", [["--policy", "queue"], ["--policy", "strict"], ["--policy", "reassign"]])
@pytest.mark.parametrize("oldest_is_assigned", [False, True])
def test_whoever_waits_longest_goes_first(
    host: Host, seqdev: Cli, options: list[str], oldest_is_assigned: bool
) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    for phone, days, assigned in [
        ("60121", 3, oldest_is_assigned),
        ("60122", 2, not oldest_is_assigned),
        ("60123", 1, oldest_is_assigned),
    ]:
        host.lead(user, device, phone)
        host.contact(sequence, step, phone, device if assigned else None, timedelta(days=-days))
    went = []
    for _ in range(3):
        ran = seqdev("tick", "--format", "json", "--max-messages", "1", *options)
        assert (ran.code, json.loads(ran.out)["queued"]) == (0, 1)
        went += [
            row.recipient_phone
            for row in host.rows("select recipient_phone from broadcast_messages where status = 'pending'")
        ]
        host.rows("update broadcast_messages set status = 'sent'")
    assert went == ["60121", "60122", "60123"]
