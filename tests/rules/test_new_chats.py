"""The rule new_chats_per_day, and devices that may open none: people a device has never written to wait, others go on."""

import json
import subprocess
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.world.command import Cli
from tests.world.forked import Forked
from tests.world.host import Host

KNOWN, NEW = "601200000", "601300000"


@pytest.fixture
def device(host: Host) -> UUID:
    """A device that has written to ten people, two days ago; ten others are due before these."""
    host.rule("policy", "strict")
    user = host.user()
    device = host.device(user, "A")
    sequence, (step,) = host.simple_sequence(user)
    for number in range(10):
        message(host, device, f"{KNOWN}{number}", timedelta(days=2))
        host.contact(sequence, step, f"{NEW}{number}", device, timedelta(minutes=number - 60))
        host.contact(sequence, step, f"{KNOWN}{number}", device, timedelta(minutes=number - 30))
    return device


def message(
    host: Host, device: UUID, phone: str, age: timedelta, status: str = "sent", error: str | None = None
) -> None:
    """A message of a sequence, made and sent so long ago."""
    host.rows(
        "insert into broadcast_messages (id, user_id, device_id, recipient_phone, status, error_message,"
        " sequence_stepid, scheduled_at, created_at, sent_at)"
        " select %s, user_id, id, %s, %s, %s, %s, at, at, case when %s then at end from user_devices,"
        " (select (now() - %s::interval) at time zone 'UTC' as at) as a where id = %s",
        *(uuid4(), phone, status, error, uuid4(), status == "sent", age, device),
    )


def tick(seqdev: Cli, *options: str) -> Any:
    ran = seqdev("tick", "--format", "json", *options)
    assert (ran.code, ran.err) == (0, "")
    return json.loads(ran.out)


def sent(host: Host) -> Counter[str]:
    """Messages that wait to leave, to known people and to others."""
    rows = host.rows(
        "select left(recipient_phone, 9) as who from broadcast_messages where status = 'pending'"
    )
    return Counter(row.who for row in rows)


@pytest.mark.parametrize("batch", ["10000", "3", "1"])
def test_the_oldest_of_the_new_go_and_nobody_waits_for_them(
    host: Host, seqdev: Cli, device: UUID, batch: str
) -> None:
    host.rule("new_chats_per_day", 3)
    dry = tick(seqdev, "--dry-run")
    done = tick(seqdev, "--batch-size", batch)
    for found in (dry, done):
        assert (found["queued"], found["waiting"]) == (13, {"new_chats_full": 7})
    assert sent(host) == {KNOWN: 10, NEW: 3}
    gone = host.rows(
        "select recipient_phone from broadcast_messages where recipient_phone ~ %s order by 1", NEW
    )
    assert [row.recipient_phone for row in gone] == [f"{NEW}{number}" for number in range(3)]
    assert tick(seqdev)["queued"] == 0


def test_a_day_later_others_may_come(host: Host, seqdev: Cli, device: UUID) -> None:
    host.rule("new_chats_per_day", 3)
    tick(seqdev)
    sent_at = "now() at time zone 'UTC' - interval '23 hours 50 minutes'"
    host.rows(f"update broadcast_messages set status = 'sent', sent_at = {sent_at} where status = 'pending'")
    assert tick(seqdev)["queued"] == 0
    host.rows("update broadcast_messages set sent_at = sent_at - interval '11 minutes'")
    assert tick(seqdev)["queued"] == 3
    # They are known now, and their next message is none of the new ones.
    host.rows("update sequence_contacts set status = 'active' where contact_phone = %s", f"{NEW}0")
    assert "written to this phone before" in str(explained(seqdev, f"{NEW}0"))


def test_under_a_full_device_known_and_new_wait_for_their_own_reasons(
    host: Host, seqdev: Cli, device: UUID
) -> None:
    host.rule("new_chats_per_day", 3)
    host.rule("max_in_flight", 6)
    dry = tick(seqdev, "--dry-run")
    done = tick(seqdev)
    for found in (dry, done):
        assert (found["queued"], found["waiting"]) == (6, {"device_full": 7, "new_chats_full": 7})
    # Those who are due the longest: three new ones and three known ones.
    assert sent(host) == {KNOWN: 3, NEW: 3}


def test_people_whom_nobody_is_assigned_to_are_their_leads_new_or_known(
    host: Host, seqdev: Cli, device: UUID
) -> None:
    host.rule("new_chats_per_day", 4)
    host.rows("update sequence_contacts set assigned_device_id = null")
    host.rows("update leads set device_id = %s", device)
    dry = tick(seqdev, "--dry-run")
    done = tick(seqdev)
    for found in (dry, done):
        assert (found["queued"], found["waiting"]) == (14, {"new_chats_full": 6})
    assert sent(host) == {KNOWN: 10, NEW: 4}


def test_two_rows_of_one_person_are_one_new_chat(host: Host, seqdev: Cli, device: UUID) -> None:
    host.rule("new_chats_per_day", 1)
    user = host.value("select user_id from user_devices where id = %s", device)
    sequence, (step,) = host.simple_sequence(user, "SECOND")
    host.contact(sequence, step, f"{NEW}0", device)
    dry = tick(seqdev, "--dry-run")
    done = tick(seqdev)
    for found in (dry, done):
        assert (found["queued"], found["waiting"]) == (12, {"new_chats_full": 9})
    assert sent(host)[NEW] == 2


def test_queue_leaves_it_to_the_sender_and_rules_set_says_so(host: Host, seqdev: Cli, device: UUID) -> None:
    host.rule("policy", None)
    ran = seqdev("rules", "set", "new_chats_per_day", "3", "--device", "A", "--yes")
    assert ran.code == 0
    assert "new_chats_per_day has no effect for now: the policy is queue" in ran.err
    assert tick(seqdev)["queued"] == 20


def test_with_a_policy_that_heeds_it_rules_set_says_nothing(host: Host, seqdev: Cli, device: UUID) -> None:
    assert "no effect" not in seqdev("rules", "set", "new_chats_per_day", "3", "--yes").err
    assert "no effect" in seqdev("rules", "set", "grace", "1h", "--yes").err
    host.rule("policy", "fallback", user=host.value("select user_id from user_devices"))
    assert "no effect" not in seqdev("rules", "set", "grace", "2h", "--device", "A", "--yes").err


def explained(seqdev: Cli, phone: str) -> Any:
    (story,) = json.loads(seqdev("explain", phone, "--format", "json").out)["stories"]
    waiting = story["waiting"][0]
    return waiting["reason"], {gate["gate"]: gate["detail"] for gate in waiting["gates"]}.get("new_chats")


def test_explain_says_what_is_full_and_whose_rule_it_is(host: Host, seqdev: Cli, device: UUID) -> None:
    assert explained(seqdev, f"{NEW}5") == (None, None)
    host.rule("new_chats_per_day", 3)
    assert explained(seqdev, f"{NEW}2")[0] is None
    assert explained(seqdev, f"{NEW}5") == (
        "new_chats_full",
        "new chats in a day 0 of 3 (new_chats_per_day for all)",
    )
    assert explained(seqdev, f"{KNOWN}5") == (None, "the device has written to this phone before")
    host.rule("new_chats_per_day", 5, device=device)
    assert explained(seqdev, f"{NEW}5")[1] == "new chats in a day 0 of 5 (new_chats_per_day of the device)"
    screen = seqdev("explain", f"{NEW}5").out
    assert "WAITS" in screen or "STOPPED: new_chats_full" in screen


@pytest.mark.parametrize("error", ["server returned error 463", "REACHOUT_TIMELOCK", "account is restricted"])
def test_a_device_that_may_open_no_chats_writes_to_those_it_knows_alone(
    host: Host, seqdev: Cli, device: UUID, error: str
) -> None:
    message(host, device, "60140000000", timedelta(hours=20), "failed", error)
    assert explained(seqdev, f"{NEW}0")[0] == "device_restricted"
    dry = tick(seqdev, "--dry-run")
    done = tick(seqdev)
    for found in (dry, done):
        assert (found["queued"], found["waiting"]) == (10, {"device_restricted": 10})
    assert sent(host) == {KNOWN: 10}
    host.rows(
        "update broadcast_messages set created_at = created_at - interval '5 hours',"
        " scheduled_at = scheduled_at - interval '5 hours'"
    )
    assert tick(seqdev)["queued"] == 10, "a day without such an error"


@pytest.mark.parametrize("error", ["error 14630 of 60146300000", "not on WhatsApp", None])
def test_another_error_restricts_nobody(host: Host, seqdev: Cli, device: UUID, error: str | None) -> None:
    message(host, device, "60140000000", timedelta(hours=1), "failed", error)
    assert tick(seqdev)["queued"] == 20


def test_the_errors_are_a_rule(host: Host, seqdev: Cli, device: UUID) -> None:
    message(host, device, "60140000000", timedelta(hours=1), "failed", "Too many (new) chats!")
    assert tick(seqdev, "--dry-run")["queued"] == 20
    assert seqdev("rules", "set", "restricted_errors", "many (new) chats, 463", "--yes").code == 0
    assert tick(seqdev, "--dry-run")["queued"] == 10
    found = json.loads(seqdev("audit", "failed", "--format", "json").out)
    assert "restricted" in str(found) or found is not None
    assert seqdev("rules", "set", "restricted_errors", "", "--yes").code == 0
    assert tick(seqdev)["queued"] == 20


@pytest.mark.parametrize("policy", ["fallback", "reassign"])
def test_whom_the_device_may_not_write_to_another_takes_within_its_own_limit(
    host: Host, seqdev: Cli, device: UUID, policy: str
) -> None:
    user = host.value("select user_id from user_devices where id = %s", device)
    other = host.device(user, "B")
    host.rule("policy", policy)
    host.rule("new_chats_per_day", 4, device=other)
    message(host, device, "60140000000", timedelta(hours=20), "failed", "463")
    dry = tick(seqdev, "--dry-run")
    done = tick(seqdev)
    for found in (dry, done):
        assert (found["queued"], found["moved"]) == (14, 4)
        assert found["waiting"] == {"device_restricted": 6}
    assert host.value("select count(*) from broadcast_messages where device_id = %s", other) == 4
    assert tick(seqdev)["queued"] == 0


@pytest.mark.parametrize("policy", ["fallback", "reassign"])
@pytest.mark.parametrize(
    ("older", "room", "queued", "new"),
    [(NEW, 50, 14, 4), (KNOWN, 50, 14, 4), (NEW, 12, 12, 4), (KNOWN, 12, 12, 2), (KNOWN, 3, 3, 0)],
)
def test_whom_another_device_knows_is_no_new_chat_there(
    host: Host, seqdev: Cli, device: UUID, policy: str, older: str, room: int, queued: int, new: int
) -> None:
    user = host.value("select user_id from user_devices where id = %s", device)
    other = host.device(user, "B")
    host.rows("update broadcast_messages set device_id = %s", other)
    host.rows("update user_devices set status = 'offline' where id = %s", device)
    host.rule("policy", policy)
    host.rule("new_chats_per_day", 4, device=other)
    host.rule("max_in_flight", room, device=other)
    host.rows(
        "update sequence_contacts set next_trigger_time = next_trigger_time - interval '1 day'"
        " where contact_phone ~ %s",
        older,
    )
    dry = tick(seqdev, "--dry-run")
    done = tick(seqdev)
    for found in (dry, done):
        assert (found["queued"], found["moved"]) == (queued, queued)
        assert found["waiting"] == {"device_offline": 20 - queued}
    assert sent(host)[NEW] == new
    assert tick(seqdev)["queued"] == 0


def test_a_device_that_may_open_no_chats_takes_people_whom_it_knows(
    host: Host, seqdev: Cli, device: UUID
) -> None:
    user = host.value("select user_id from user_devices where id = %s", device)
    other = host.device(user, "B")
    host.rows("update broadcast_messages set device_id = %s", other)
    host.rows("update user_devices set status = 'offline' where id = %s", device)
    host.rule("policy", "fallback")
    host.rule("new_chats_per_day", 0, device=other)

    def goes_to(phone: str) -> Any:
        (story,) = json.loads(seqdev("explain", phone, "--format", "json").out)["stories"]
        outcomes = {one["policy"]: one for one in story["waiting"][0]["policies"]}
        return outcomes["fallback"]["device_name"]

    assert [goes_to(f"{KNOWN}3"), goes_to(f"{NEW}3")] == ["B", None]
    # Although all the others stand before them in the line.
    for found in (tick(seqdev, "--dry-run"), tick(seqdev)):
        assert (found["queued"], found["moved"]) == (10, 10)
    assert sent(host) == {KNOWN: 10}


@pytest.mark.thorough
@pytest.mark.parametrize("policy", ["fallback", "reassign"])
@pytest.mark.parametrize("first", ["a", "b"])
def test_who_waits_for_room_alone_is_told_by_what_the_tick_leaves(
    host: Host, seqdev: Cli, device: UUID, policy: str, first: str
) -> None:
    """Six new people of a full device, two of whom may not go even with room, and two places elsewhere."""
    user = host.value("select user_id from user_devices where id = %s", device)
    host.rows("delete from sequence_contacts where contact_phone ~ %s or contact_phone ~ '[6-9]$'", KNOWN)
    # Whose turn comes first of equally old ones is told by the id, and must tell nothing else.
    host.rows(
        "update sequence_contacts set next_trigger_time = (select min(next_trigger_time) from sequence_contacts),"
        " id = (case when (right(contact_phone, 1)::int < 3) = (%s = 'a') then 'a' else 'b' end"
        " || right(md5(contact_phone), 31))::uuid",
        first,
    )
    host.rule("policy", policy)
    host.rule("max_in_flight", 0, device=device)
    host.rule("new_chats_per_day", 4, device=device)
    assert explained(seqdev, f"{NEW}5")[0] == "new_chats_full"
    other = host.device(user, "B")
    host.rule("max_in_flight", 2, device=other)
    for found in (tick(seqdev, "--dry-run"), tick(seqdev)):
        assert (found["queued"], found["moved"]) == (2, 2)
        # Four are left, and as many may be new.
        assert found["waiting"] == {"device_full": 4}
    for number in range(6):
        waits = host.value("select status from sequence_contacts where contact_phone = %s", f"{NEW}{number}")
        if waits == "active":
            assert explained(seqdev, f"{NEW}{number}")[0] == "device_full"


def test_new_chats_go_by_priority_as_room_does(host: Host, seqdev: Cli, device: UUID) -> None:
    user = host.value("select user_id from user_devices where id = %s", device)
    sequence, (step,) = host.simple_sequence(user, "URGENT")
    host.rows("update sequences set priority = 5 where id = %s", sequence)
    for number in range(3):
        host.contact(sequence, step, f"601400000{number}", device)
    host.rule("new_chats_per_day", 4)
    assert explained(seqdev, f"{NEW}3")[0] is None
    host.rule("host_columns", "true")
    assert explained(seqdev, "6014000002")[0] is None
    assert explained(seqdev, f"{NEW}1")[0] == "new_chats_full"
    dry = tick(seqdev, "--dry-run")
    done = tick(seqdev)
    for found in (dry, done):
        assert (found["queued"], found["waiting"]) == (14, {"new_chats_full": 9})
    assert sent(host) == {KNOWN: 10, NEW: 1, "601400000": 3}


@pytest.mark.thorough
def test_eight_ticks_at_once_open_no_chat_too_many(host: Host, seqdev: Cli, device: UUID) -> None:
    host.rule("new_chats_per_day", 5)
    running = [
        Forked(["tick", "--batch-size", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(8)
    ]
    for process in running:
        _, err = process.communicate(timeout=100)
        assert (process.returncode, err) == (0, "")
    assert sent(host) == {KNOWN: 10, NEW: 5}
    assert not host.broken_promises()


def test_those_who_wait_starve_nobody_however_many_they_are(host: Host, seqdev: Cli, device: UUID) -> None:
    user = host.value("select user_id from user_devices where id = %s", device)
    sequence, (step,) = host.simple_sequence(user, "CROWD")
    host.rows(
        "insert into sequence_contacts (id, sequence_id, sequence_stepid, contact_phone, assigned_device_id, status,"
        " next_trigger_time) select gen_random_uuid(), %s, %s, '6015' || n, %s, 'active',"
        " (now() - interval '3 days') at time zone 'UTC' from generate_series(1, 2000) as n",
        *(sequence, step, device),
    )
    host.make_leads()
    host.rule("new_chats_per_day", 0)
    assert tick(seqdev, "--batch-size", "4")["queued"] == 10
    assert sent(host) == {KNOWN: 10}
