"""Steps that are done by any of the host's words wait for nothing; what has ended says so."""

import json

import pytest

from tests.world.command import Cli
from tests.world.host import Host

PHONE = "6012000001"


@pytest.mark.parametrize(
    ("status", "waits"), [("sent", False), ("completed", False), ("failed", False), ("paused", True)]
)
def test_only_what_is_not_done_waits(host: Host, seqdev: Cli, status: str, waits: bool) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, PHONE, host.device(user), status=status)
    (story,) = json.loads(seqdev("explain", PHONE, "--format", "json").out)["stories"]
    assert [one["reason"] for one in story["waiting"]] == ["row_not_active"] * waits


def test_what_has_ended_says_why_and_tells_nobody_to_send_it_again(host: Host, seqdev: Cli) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(
        sequence, step, PHONE, host.device(user), status="stopped", last_error="ended: its step was deleted"
    )
    told = seqdev("explain", PHONE).out
    assert "status stopped: ended: its step was deleted" in told
    assert "before anybody makes it active again, see that the step was not sent" in told
