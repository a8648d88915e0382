"""``seqdev db check`` on the messages of the host: what they always have, and what a worker cannot read."""

import json
from typing import Any

from tests.world.command import Cli
from tests.world.host import Host


def found(seqdev: Cli, code: int = 3) -> dict[str, Any]:
    ran = seqdev("db", "check", "--ok", "--format", "json")
    rows = {row["item"]: row for row in json.loads(ran.out)}
    assert ran.code == code, [row for row in rows.values() if row["status"] != "ok"]
    return rows


def person(host: Host) -> Any:
    user = host.user()
    device = host.device(user)
    sequence, steps = host.simple_sequence(user, steps=2)
    return user, device, sequence, steps


# -- What a worker can read


def test_columns_that_the_hosts_messages_always_have_are_named(host: Host, seqdev: Cli) -> None:
    user, device, sequence, (step, _) = person(host)
    host.rows("alter table broadcast_messages add column kind text, add column urgency integer default 1")
    for number in range(3):
        host._insert(
            "broadcast_messages",
            user_id=user,
            device_id=device,
            recipient_phone=f"{number}",
            content="",
            media_url="",
            recipient_name="",
            message_type="text",
            status="sent",
            kind="campaign",
        )
    # One of seqdev's own proves nothing.
    host.contact(sequence, step, "6012345678", device)
    assert seqdev("tick").code == 0
    rows = found(seqdev)
    assert rows["broadcast_messages.kind"]["status"] == "advised"
    assert "latest 3 messages" in rows["broadcast_messages.kind"]["why"]
    assert "broadcast_messages.urgency" not in rows
    host.rows("update broadcast_messages set kind = null where recipient_phone = '1'")
    assert seqdev("db", "check").code == 0


def test_waiting_messages_that_a_worker_cannot_read_are_counted(host: Host, seqdev: Cli) -> None:
    user, device, *_ = person(host)
    for status in ("pending", "sent"):
        host._insert(
            "broadcast_messages",
            user_id=user,
            device_id=device,
            recipient_phone="1",
            content="",
            recipient_name="",
            message_type="text",
            status=status,
        )
    row = found(seqdev)["messages that a worker cannot read"]
    assert (row["status"], row["why"].startswith("1 waiting")) == ("advised", True)
