"""Users have people with the same phones: nothing of one ever reaches another's."""

import pytest

from tests.world.command import Cli
from tests.world.host import Host

CROSSED = (
    "select 1 from broadcast_messages as m join user_devices as d on d.id = m.device_id"
    " join sequences as s on s.id = m.sequence_id where d.user_id <> s.user_id or m.user_id <> s.user_id"
)


@pytest.mark.parametrize("policy", ["fallback", "reassign"])
def test_free_devices_take_the_contacts_of_their_own_user_only(host: Host, seqdev: Cli, policy: str) -> None:
    # A batch takes a quarter of the users that have something due: two of eight.
    for _ in range(8):
        user = host.user()
        dead, _ = host.device(user, status="offline"), host.device(user)
        sequence, (step,) = host.simple_sequence(user)
        for number in range(5):
            host.contact(sequence, step, f"6012{number:06}", dead)
    ran = seqdev("tick", "--policy", policy)
    assert host.rows(CROSSED) == [], "a message went across users"
    assert (ran.code, host.value("select count(*) from broadcast_messages")) == (0, 40)


def test_the_end_of_a_sequence_is_none_of_the_other_users_lead(host: Host, seqdev: Cli) -> None:
    user, other = host.user(), host.user()
    sequence, (step,) = host.simple_sequence(user)
    lead, same = (host.lead(owner, None, "6012345678", "A,WARM") for owner in (user, other))
    host.contact(sequence, step, "6012345678", host.device(user))
    assert seqdev("tick").code == 0
    assert host.value("select trigger from leads where id = %s", lead) == "A"
    assert host.value("select trigger from leads where id = %s", same) == "A,WARM", (
        "another user's lead changed"
    )
