"""What ``enroll`` asks a person, and what it does not."""

import pytest

from tests.world.host import Host
from tests.world.terminal import at_terminal


def test_with_nothing_to_do_nothing_is_asked_and_the_table_is_shown_once(host: Host) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user, "WARM")
    device = host.device(user)
    host.lead(user, device, "6012000001", "WARM")
    host.contact(sequence, step, "6012000001", device)
    ran = at_terminal(["enroll"], [])
    assert (ran.code, ran.err) == (0, "")
    assert [line.split() for line in ran.out.splitlines() if "warm" in line] == [
        ["warm", "1", "0", "1", "0", str(sequence)]
    ]
    assert host.value("select count(*) from seqdev.run") == 0


@pytest.mark.parametrize(("answer", "rows"), [("n", 0), ("1", 1)])
def test_with_something_to_do_the_plan_is_shown_before_it_is_asked_for(
    host: Host, answer: str, rows: int
) -> None:
    user = host.user()
    host.simple_sequence(user, "WARM")
    host.lead(user, host.device(user), "6012000001", "WARM")
    ran = at_terminal(["enroll"], [answer])
    assert ran.code == 0
    shown, _ = ran.err.split("Enrol 1 person? To go on, type the number 1:")
    assert "warm" in shown
    assert ("warm" in ran.out) is (rows == 1)
    assert host.value("select count(*) from sequence_contacts") == rows
