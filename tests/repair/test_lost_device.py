"""A device that is lost, replaced or banned: its people, its queue, and advice that clears what it is about."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.world.command import Cli
from tests.world.host import Host
from tests.world.repairs import changes, only, repair, run_of, snapshot


def queued(host: Host, user: UUID, device: UUID, phone: str, status: str = "pending") -> UUID:
    """A message in the queue of a device, a campaign's."""
    made: UUID = host.value(
        "insert into broadcast_messages (user_id, device_id, recipient_phone, status, scheduled_at)"
        " values (%s, %s, %s, %s, now() at time zone 'UTC' - interval '1 minute') returning id",
        *(user, device, phone, status),
    )
    return made


class Replaced:
    """The device of a user was banned; a new one has its name. Two people, their messages in the old queue."""

    def __init__(self, host: Host, status: str = "banned") -> None:
        self.user = host.user()
        self.old, self.new = host.device(self.user, "Sales", status), host.device(self.user, "Sales")
        sequence, (step,) = host.simple_sequence(self.user)
        self.people: dict[str, tuple[UUID, UUID, UUID]] = {}
        for phone in ("6012000001", "6012000002"):
            row = host.contact(sequence, step, phone, self.old, timedelta(hours=1))
            lead = host.lead(self.user, self.old, phone)
            self.people[phone] = (row, lead, queued(host, self.user, self.old, phone))
        self.begun = [
            queued(host, self.user, self.old, "6012000003", one) for one in ("queued", "processing")
        ]

    def moved(self, queue: bool) -> dict[tuple[UUID, str], Any]:
        columns = ("assigned_device_id", "device_id", "device_id")[: 3 if queue else 2]
        return {
            (row, column): self.new
            for rows in self.people.values()
            for row, column in zip(rows, columns, strict=False)
        }


def trouble(seqdev: Cli, device: UUID) -> dict[str, Any]:
    found = json.loads(seqdev("audit", "devices", "--all", "--format", "json").out)["devices"]
    (row,) = (row for row in found if row["device_id"] == str(device))
    return dict(row)


def test_it_says_what_stays_in_the_queue_and_moves_it_on_demand(host: Host, seqdev: Cli) -> None:
    one = Replaced(host)
    with only(host, one.moved(queue=False)):
        ran = seqdev("repair", "device", str(one.old), "--to", str(one.new), "--yes")
    assert ran.code == 0, ran.err
    assert "seqdev: left alone: pending 2, begun 2; to move the messages that are pending" in ran.err
    assert "--queue" in ran.err
    queue = {(message, "device_id"): one.new for _, _, message in one.people.values()}
    before = snapshot(host)
    with only(host, queue):
        result = repair(seqdev, "device", one.old, "--to", one.new, "--queue")
    assert result["summary"]["left_alone"] == {"begun": 2}
    assert {row["why"] for row in result["rows"]} == {"pending"}
    repair(seqdev, "undo", run_of(result))
    assert snapshot(host) == before


def test_what_a_sender_has_begun_stays_whatever_is_asked(host: Host, seqdev: Cli) -> None:
    one = Replaced(host)
    before = snapshot(host)
    result = repair(seqdev, "device", one.old, "--to", one.new, "--queue")
    assert {row for row, _ in changes(before, snapshot(host))} == {
        str(row) for rows in one.people.values() for row in rows
    }
    # The sender begins one of them: an undo leaves it.
    sent = one.people["6012000001"][2]
    host.rows("update broadcast_messages set status = 'sent' where id = %s", sent)
    undone = repair(seqdev, "undo", run_of(result), code=3)
    assert [(row["row_id"], row["refused"]) for row in undone["refused"]] == [(str(sent), "done_since")]


def test_the_queue_of_a_device_that_is_online_is_its_senders(host: Host, seqdev: Cli) -> None:
    one = Replaced(host, "online")
    with only(host, one.moved(queue=False)):
        result = repair(seqdev, "device", one.old, "--to", one.new, "--queue", code=3)
    assert result["summary"]["reasons"] == {"device_online": 2}
    assert result["summary"]["left_alone"] == {"pending": 2, "begun": 2}


def test_a_message_that_the_sender_has_locked_is_kept(host: Host, seqdev: Cli, connect: Any) -> None:
    one = Replaced(host)
    sending = one.people["6012000001"][2]
    other = connect(host.url)
    with other.transaction():
        other.execute(
            "select 1 from broadcast_messages where id = %s and recipient_phone = '6012000001' for update",
            (sending,),
        )
        result = repair(seqdev, "device", one.old, "--to", one.new, "--queue", code=3)
    assert result["summary"]["kept"] == 1
    assert host.value("select device_id from broadcast_messages where id = %s", sending) == one.old


@pytest.mark.parametrize("status", ["banned", "deleted", "blocked"])
def test_gone_is_a_state_of_its_own_and_its_advice_clears_it(host: Host, seqdev: Cli, status: str) -> None:
    one = Replaced(host, status)
    found = trouble(seqdev, one.old)
    assert (found["trouble"], found["availability"]) == ("gone", "Gone")
    assert "back" not in found["repair"]
    command = found["repair"].split("seqdev ")[1].split()
    assert seqdev(*command, "--yes").code == 0
    after = trouble(seqdev, one.old)
    assert after["trouble"] == "begun_only", "what its sender has begun is nobody else's"
    host.rows("delete from broadcast_messages where status in ('queued', 'processing')")
    assert trouble(seqdev, one.old)["trouble"] is None


def test_the_advice_for_an_offline_device_clears_it(host: Host, seqdev: Cli) -> None:
    one = Replaced(host, "offline")
    host.rows("delete from broadcast_messages where status in ('queued', 'processing')")
    found = trouble(seqdev, one.old)
    assert (found["trouble"], found["availability"]) == ("offline_with_work", "Not Available")
    assert seqdev(*found["repair"].split("seqdev ")[1].split(), "--yes").code == 0
    assert trouble(seqdev, one.old)["trouble"] is None


def test_a_platforms_device_is_online_whatever_its_status(host: Host, seqdev: Cli) -> None:
    one = Replaced(host)
    host.rows("update user_devices set platform = 'Wablas' where id = %s", one.old)
    assert trouble(seqdev, one.old)["availability"] == "Available"


def test_nobody_goes_to_a_device_that_is_gone(host: Host, seqdev: Cli) -> None:
    one = Replaced(host)
    with only(host, {}):
        result = repair(seqdev, "device", one.new, "--to", one.old)
        assert result["summary"]["planned"] == 0
    host.rows("update leads set device_id = %s", one.new)
    host.rows("update sequence_contacts set assigned_device_id = null")
    with only(host, {}):
        result = repair(seqdev, "device", one.new, "--to", one.old, code=3)
        assert result["summary"]["reasons"] == {"device_gone": 2}
    host.rows("update leads set device_id = %s", one.old)
    with only(host, {}):
        result = repair(seqdev, "missing", code=3)
        assert result["summary"]["reasons"] == {"device_gone": 2}


def test_two_devices_of_one_name_are_told_apart_by_id(host: Host, seqdev: Cli) -> None:
    one = Replaced(host)
    old, new = f"Sales {str(one.old)[:8]}", f"Sales {str(one.new)[:8]}"
    shown = seqdev("repair", "device", str(one.old), "--to", str(one.new), "--dry-run").out
    assert old in shown
    assert new in shown
    done = repair(seqdev, "device", one.old, "--to", one.new)
    (total,) = {(one["from_device_id"], one["to_device_id"]) for one in done["totals"]}
    assert total == (str(one.old), str(one.new))
    journal = seqdev("repair", "show", run_of(done)).out
    assert old in journal
    assert new in journal
    host.rows("update sequence_contacts set assigned_device_id = %s", one.old)
    told = seqdev("explain", "6012000001").out
    assert f"Sales [{str(one.old)[:8]}]" in told
    assert f"Sales [{str(one.new)[:8]}] (online)" in told


def test_explain_tells_that_a_device_is_gone(host: Host, seqdev: Cli) -> None:
    one = Replaced(host)
    host.make_all_due()
    told = seqdev("explain", "6012000001").out
    assert "BANNED: it does not come back" in told
    assert "(gone)" in told
    assert "bring" not in told
    assert f"seqdev repair device {str(one.old)[:8]} --spread --queue" in told
    strict = seqdev("tick", "--policy", "strict")
    assert strict.code == 0
    assert host.value("select count(*) from sequence_contacts where status = 'active'") == 2
