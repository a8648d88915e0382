"""What audit failed, repair failed and repair queued promise: nobody gets a message twice, nor one taken back."""

from uuid import UUID

import pytest

from tests.world.command import Cli
from tests.world.host import MESSAGE_ID, Host
from tests.world.repairs import changes, only, reasons, repair, run, snapshot

ERRORS = {
    "cancelled": ("cancelled", None),
    "not_on_whatsapp": ("failed", "number 60123456789 is not on WhatsApp"),
    "restricted": ("failed", "server returned error 463"),
    "device_logged_out": ("error", "the store doesn't contain a device JID: not logged in"),
    "expired": ("failed", "Message expired (older than 24 hours)"),
    "content": ("failed", "unsupported message type: poll"),
    "media": ("failed", "failed to download image: bad status: 404 Not Found"),
    "no_answer": ("failed", "websocket disconnected before info query returned response"),
    "device_offline": ("skipped", "Device offline"),
    "no_reason": ("failed", "  "),
    "other": ("failed", "kaputt"),
}
"""For each cause, the status and the error of a message that has failed of it, as workers write them."""

SURE = {"device_logged_out", "expired", "media", "device_offline"}
"""Causes of which the message surely was not sent, and may be at another try on the same device."""


class Queue:
    """A device, a sequence, and messages of people whose first step was queued by seqdev."""

    def __init__(self, host: Host, seqdev: Cli, people: int) -> None:
        self.host = host
        self.user = host.user()
        self.device = host.device(self.user, "A")
        self.sequence, (self.step, self.next) = host.simple_sequence(self.user, steps=2)
        self.phones = [f"6012000{number:03}" for number in range(people)]
        for phone in self.phones:
            host.contact(self.sequence, self.step, phone, self.device)
        assert seqdev("tick").code == 0
        self.ids: dict[str, UUID] = dict(host.rows("select recipient_phone, id from broadcast_messages"))

    def fail(self, phone: str, status: str = "failed", error: str | None = "Device offline") -> UUID:
        """The worker gives up on the person's message: its id."""
        self.host.rows(
            "update broadcast_messages set status = %s, error_message = %s where id = %s",
            status, error, self.ids[phone],
        )  # fmt: skip
        return self.ids[phone]

    def status(self, phone: str) -> str:
        return str(self.host.value("select status from broadcast_messages where id = %s", self.ids[phone]))


def test_each_error_has_its_cause_and_only_what_surely_was_not_sent_is_queued_again(
    host: Host, seqdev: Cli
) -> None:
    queue = Queue(host, seqdev, len(ERRORS))
    by_cause = dict(zip(ERRORS, queue.phones, strict=True))
    for cause, phone in by_cause.items():
        queue.fail(phone, *ERRORS[cause])
    found = run(seqdev, "audit", "failed", code=3)["failed"]
    assert {row["finding"]: row["messages"] for row in found} == dict.fromkeys(ERRORS, 1)
    assert "60123456789" not in str(found)
    before = snapshot(host)
    result = repair(seqdev, "failed", code=3)
    assert {cause for cause, phone in by_cause.items() if queue.status(phone) == "pending"} == SURE
    assert {cause: reasons(result).get(phone) for cause, phone in by_cause.items()} == {
        **dict.fromkeys(SURE),
        **dict.fromkeys(("cancelled", "not_on_whatsapp", "content"), "never_succeeds"),
        **dict.fromkeys(("no_answer", "no_reason", "other"), "may_be_sent"),
        "restricted": "device_restricted",
    }
    # Undone byte for byte, and done again by undoing that.
    undone = repair(seqdev, "undo", result["summary"]["run_id"])
    assert snapshot(host) == before
    repair(seqdev, "undo", undone["summary"]["run_id"])
    assert {cause for cause, phone in by_cause.items() if queue.status(phone) == "pending"} == SURE


def test_a_named_cause_is_queued_again_and_no_other(host: Host, seqdev: Cli) -> None:
    queue = Queue(host, seqdev, 2)
    other = queue.fail(queue.phones[0], error="kaputt")
    queue.fail(queue.phones[1])
    host.rows("update broadcast_messages set scheduled_at = null")
    before = snapshot(host)
    repair(seqdev, "failed", "--cause", "other")
    assert changes(before, snapshot(host)).keys() == {
        (str(other), column) for column in ("status", "error_message", "scheduled_at")
    }


def test_a_message_that_is_queued_again_is_the_same_and_its_step_is_completed_when_it_is_sent(
    host: Host, seqdev: Cli
) -> None:
    queue = Queue(host, seqdev, 1)
    queue.fail(queue.phones[0])
    assert seqdev("tick").code == 0
    state = "select sc.status, sc.last_error from sequence_contacts sc where sequence_stepid = %s"
    assert tuple(host.rows(state, queue.step)[0]) == ("failed", "Device offline")
    repair(seqdev, "failed")
    assert host.value(f"select m.id = {MESSAGE_ID} from broadcast_messages m, sequence_contacts sc"
                      " where m.recipient_phone = sc.contact_phone and sc.sequence_stepid = %s", queue.step)  # fmt: skip
    assert host.value("select count(*) from broadcast_messages") == 1
    host.rows("update broadcast_messages set status = 'sent', sent_at = now() at time zone 'UTC'")
    assert seqdev("tick").code == 0
    assert tuple(host.rows(state, queue.step)[0]) == ("completed", None)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_message_is_tried_so_often_at_most_with_longer_pauses(host: Host, seqdev: Cli, times: int) -> None:
    queue = Queue(host, seqdev, 1)
    phone = queue.phones[0]
    for number in range(times):
        queue.fail(phone)
        repair(seqdev, "failed")
        pause = 15 * 2**number
        queue.fail(phone)
        host.rows("update seqdev.change set changed_at = changed_at - %s * interval '1 minute'", pause - 1)
        assert reasons(repair(seqdev, "failed", "--attempts", 9, code=3)) == {phone: "tried_lately"}
        host.rows("update seqdev.change set changed_at = changed_at - interval '1 minute'")
    assert reasons(repair(seqdev, "failed", "--attempts", times, code=3)) == {phone: "attempts_used"}
    repair(seqdev, "failed", "--attempts", times + 1)
    assert queue.status(phone) == "pending"


def test_who_was_stopped_or_has_a_later_message_gets_none(host: Host, seqdev: Cli) -> None:
    queue = Queue(host, seqdev, 4)
    stopped, overtaken, blocked, other = queue.phones
    host.rows("delete from sequence_contacts where contact_phone = %s and status = 'active'", blocked)
    assert seqdev("block", "add", "+60 12-000002", "--why", "asked", "--yes").code in (0, 3)
    for phone in queue.phones:
        queue.fail(phone)
    host.rows(
        "update sequence_contacts set status = 'paused' where contact_phone = %s and status = 'active'",
        stopped,
    )
    host.rows(
        "update sequence_contacts set next_trigger_time = '2000-01-01' where contact_phone = %s and status = 'active'",
        overtaken,
    )
    assert seqdev("tick").code == 0
    assert reasons(repair(seqdev, "failed", code=3)) == {
        **{stopped: "stopped", overtaken: "overtaken", blocked: "blocked"}
    }
    assert queue.status(other) == "pending"


@pytest.mark.thorough
def test_the_device_must_be_there_and_online_and_the_users_own(host: Host, seqdev: Cli) -> None:
    queue = Queue(host, seqdev, 1)
    (phone,) = queue.phones
    queue.fail(phone)
    away, gone = host.device(queue.user, "B", "offline"), host.device(queue.user, "C", "banned")
    theirs = host.device(host.user(), "T")
    for device, why in ((away, "device_offline"), (gone, "device_gone"), (theirs, "device_of_other_user")):
        assert reasons(repair(seqdev, "failed", "--to", device, code=3)) == {phone: why}
    host.rows("update user_devices set status = 'offline' where id = %s", queue.device)
    assert reasons(repair(seqdev, "failed", code=3)) == {phone: "device_offline"}
    host.rows("update user_devices set status = 'online' where id = %s", away)
    repair(seqdev, "failed", "--to", "B")
    assert host.value("select device_id from broadcast_messages") == away


@pytest.mark.thorough
@pytest.mark.parametrize("part", ["sequence", "user", "device"])
def test_what_is_paused_is_not_queued_again(host: Host, seqdev: Cli, part: str) -> None:
    queue = Queue(host, seqdev, 2)
    for phone in queue.phones:
        queue.fail(phone)
    whose = {"sequence": queue.sequence, "user": queue.user, "device": queue.device}[part]
    assert seqdev("pause", f"--{part}", whose, "--why", "a test").code == 0
    assert set(reasons(repair(seqdev, "failed", code=3)).values()) == {"paused"}
    assert seqdev("resume", f"--{part}", whose, "--yes").code == 0
    repair(seqdev, "failed")
    assert {queue.status(phone) for phone in queue.phones} == {"pending"}


def test_messages_are_laid_out_over_the_time_given_the_oldest_first(host: Host, seqdev: Cli) -> None:
    queue = Queue(host, seqdev, 5)
    for place, phone in enumerate(queue.phones):
        queue.fail(phone)
        host.rows(
            "update broadcast_messages set created_at = created_at - %s * interval '1 minute' where id = %s",
            5 - place, queue.ids[phone],
        )  # fmt: skip
    repair(seqdev, "failed", "--spread", "2h", "--max", 4)
    assert [queue.status(phone) for phone in queue.phones] == ["pending"] * 4 + ["failed"]
    minutes = host.rows(
        "select round(extract(epoch from scheduled_at - min(scheduled_at) over ()) / 60)::integer as after"
        " from broadcast_messages where status = 'pending' order by created_at"
    )
    assert [row.after for row in minutes] == [0, 30, 60, 90]


def test_messages_are_taken_back_and_come_back_by_undo(host: Host, seqdev: Cli) -> None:
    queue = Queue(host, seqdev, 3)
    begun, young, old = queue.phones
    host.rows("update broadcast_messages set status = 'processing' where id = %s", queue.ids[begun])
    host.rows(
        "update broadcast_messages set created_at = created_at - interval '2 days',"
        " scheduled_at = scheduled_at - interval '2 days' where id = %s",
        queue.ids[old],
    )
    before = snapshot(host)
    result = repair(seqdev, "queued", "--cancel", "--older-than", "1d")
    assert [queue.status(phone) for phone in (begun, young, old)] == ["processing", "pending", "cancelled"]
    repair(seqdev, "undo", result["summary"]["run_id"])
    assert snapshot(host) == before
    again = repair(seqdev, "queued", "--cancel", "--device", "A")
    assert [queue.status(phone) for phone in (begun, young, old)] == ["processing", "cancelled", "cancelled"]
    # Who has got another status since stays as he is.
    host.rows("update broadcast_messages set status = 'sent' where id = %s", queue.ids[old])
    undone = repair(seqdev, "undo", again["summary"]["run_id"], code=3)
    assert reasons(undone) == {old: "changed_since"}
    assert [queue.status(phone) for phone in (young, old)] == ["pending", "sent"]


def test_the_step_of_a_message_that_was_taken_back_shows_it_and_the_sequence_goes_on(
    host: Host, seqdev: Cli
) -> None:
    queue = Queue(host, seqdev, 1)
    repair(seqdev, "queued", "--cancel", "--device", "A")
    assert seqdev("tick").code == 0
    rows = host.rows(
        "select status, last_error from sequence_contacts order by current_step nulls first, status desc"
    )
    assert ("failed", "taken back by seqdev") in [tuple(row) for row in rows]
    (found,) = run(seqdev, "audit", "failed", code=3)["failed"]
    assert found["finding"] == "cancelled"
    assert queue.status(queue.phones[0]) == "cancelled"


def test_messages_move_from_a_device_that_is_away_and_from_no_other(host: Host, seqdev: Cli) -> None:
    queue = Queue(host, seqdev, 2)
    b, theirs = host.device(queue.user, "B"), host.device(host.user(), "T")
    move = ("queued", "--device", "A", "--move-to")
    assert set(reasons(repair(seqdev, *move, "B", code=3)).values()) == {"device_online"}
    host.rows("update user_devices set status = 'offline' where id = %s", queue.device)
    assert set(reasons(repair(seqdev, *move, theirs, code=3)).values()) == {"device_of_other_user"}
    with only(host, {(message, "device_id"): b for message in queue.ids.values()}):
        repair(seqdev, *move, "B")
    with only(host, {}):
        repair(seqdev, *move, "B")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--cancel"], "which messages?"),
        (["--device", "A"], "give either --cancel or --move-to"),
        (["--device", "A", "--cancel", "--move-to", "B"], "give either --cancel or --move-to"),
    ],
)
def test_queued_asks_what_and_which(host: Host, seqdev: Cli, argv: list[str], said: str) -> None:
    host.device(host.user(), "A")
    ran = seqdev("repair", "queued", *argv, "--yes")
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
