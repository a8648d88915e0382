"""What a tick promises: section 3 and 4 of the domain, one promise a test."""

import json
from datetime import timedelta
from typing import Any

import pytest

from seqdev.tick.batch import LOCK
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.statements import run


def tick(seqdev: Cli, *options: str) -> Any:
    ran = seqdev("tick", "--format", "json", *options)
    assert (ran.code, ran.err) == (0, "")
    return json.loads(ran.out)


def test_a_due_contact_gets_one_message_and_its_next_step(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (first, second) = host.simple_sequence(user, steps=2)
    host.contact(sequence, first, "6012345678", device, contact_name="Ana")

    summary = tick(seqdev)

    assert (summary["due"], summary["queued"], summary["waiting"]) == (1, 1, {})
    (message,) = host.rows("select * from broadcast_messages")
    assert (message.user_id, message.device_id) == (user, device)
    assert (message.sequence_id, message.sequence_stepid) == (sequence, first)
    assert (message.recipient_phone, message.recipient_name) == ("6012345678", "Ana")
    assert (message.message_type, message.content, message.status) == ("text", "message of day 1", "pending")
    done, waiting = host.rows("select * from sequence_contacts order by current_step nulls first")
    assert (done.status, done.processing_device_id, done.processing_started_at) == ("completed", device, None)
    assert (waiting.status, waiting.sequence_stepid, waiting.assigned_device_id) == ("active", second, device)
    assert (waiting.current_step, waiting.current_trigger) == (2, "WARM_2")
    assert waiting.next_trigger_time - done.completed_at == timedelta(hours=24)
    assert not host.broken_promises()


def test_a_second_tick_does_nothing(host: Host, seqdev: Cli) -> None:
    user = host.user()
    sequence, (step, _) = host.simple_sequence(user, steps=2)
    host.contact(sequence, step, "6012345678", host.device(user))
    tick(seqdev)
    assert tick(seqdev)["due"] == 0
    assert host.value("select count(*) from broadcast_messages") == 1


def test_a_contact_set_active_again_by_hand_is_not_written_to_twice(host: Host, seqdev: Cli) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "6012345678", host.device(user))
    tick(seqdev)
    host.rows("update sequence_contacts set status = 'active'")
    summary = tick(seqdev)
    assert (summary["queued"], summary["already_queued"]) == (0, 1)
    assert not host.broken_promises()


@pytest.mark.parametrize("policy", ["queue", "strict"])
def test_the_same_phone_of_two_users_gets_a_message_of_each_from_their_own_device(
    host: Host, seqdev: Cli, policy: str
) -> None:
    expected = set()
    for _ in range(2):
        user = host.user()
        device = host.device(user)
        sequence, (step,) = host.simple_sequence(user)
        host.lead(user, device, "6012345678", "WARM")
        # Without an assigned device, it is the lead's: of the same user, not any lead with this phone.
        host.contact(sequence, step, "6012345678", None)
        expected.add((user, device))
    assert tick(seqdev, "--policy", policy)["queued"] == 2
    assert set(host.rows("select user_id, device_id from broadcast_messages")) == expected


def test_queue_writes_to_an_offline_device_and_strict_waits(host: Host, seqdev: Cli) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "6012345678", host.device(user, status="offline"))
    assert tick(seqdev, "--policy", "strict")["waiting"] == {"device_offline": 1}
    assert tick(seqdev, "--policy", "queue")["queued"] == 1


def test_who_waits_for_a_device_that_does_not_come_back_is_told_from_who_waits_for_one_that_may(
    host: Host, seqdev: Cli
) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    for number, status in enumerate(["banned", "deleted", "offline"]):
        host.contact(sequence, step, f"601234567{number}", host.device(user, status=status))
    waits = {"device_gone": 2, "device_offline": 1}
    planned = json.loads(seqdev("tick", "--dry-run", "--policy", "strict", "--format", "json").out)
    assert planned["waiting"] == waits
    assert tick(seqdev, "--policy", "strict")["waiting"] == waits
    assert tick(seqdev, "--policy", "queue")["queued"] == 3


def test_a_device_taken_out_of_service_is_not_available_under_strict(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "6012345678", device)
    host.rows("insert into device_load_balance (device_id, is_available) values (%s, false)", device)
    assert tick(seqdev, "--policy", "strict")["waiting"] == {"device_offline": 1}


@pytest.mark.parametrize("policy", ["queue", "strict"])
def test_contacts_that_no_device_may_serve_wait_with_the_reason(host: Host, seqdev: Cli, policy: str) -> None:
    user, other = host.user(), host.user()
    sequence, (step,) = host.simple_sequence(user)
    gone = host.device(user)
    host.contact(sequence, step, "6012000001", None)
    host.contact(sequence, step, "6012000002", gone)
    host.contact(sequence, step, "6012000003", host.device(other))
    host.rows("delete from user_devices where id = %s", gone)
    summary = tick(seqdev, "--policy", policy)
    assert summary["waiting"] == {"no_device": 1, "device_missing": 1, "device_of_other_user": 1}
    assert summary["queued"] == 0


def test_strict_counts_in_flight_hour_and_day_of_every_message_of_the_device(host: Host, seqdev: Cli) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    for limit, status, scheduled, sent, room in (
        ("in flight", "pending", "-1 minute", None, 10),
        ("in flight later", "pending", "1 hour", None, 50),
        ("in flight, unscheduled", "queued", None, None, 10),
        ("hour", "sent", "-2 hours", "-59 minutes", 40),
        ("day", "sent", "-2 days", "-23 hours", 50),
        ("failed", "failed", "-1 minute", "-1 minute", 50),
    ):
        device = host.device(user, limit)
        # Campaign messages: they belong to no sequence.
        host.rows(
            "insert into broadcast_messages"
            " (user_id, device_id, recipient_phone, status, scheduled_at, sent_at)"
            " select %s, %s, '6019' || i, %s, now() at time zone 'UTC' + %s::interval,"
            " now() at time zone 'UTC' + %s::interval from generate_series(1, 40) as i",
            user,
            device,
            status,
            scheduled,
            sent,
        )
        for number in range(60):
            host.contact(sequence, step, f"60{user.int % 1000}{device.int % 100000}{number}", device)
        assert tick(seqdev, "--policy", "strict")["queued"] == room, limit
        host.rows("delete from sequence_contacts where status = 'active'")


def test_strict_gives_a_full_device_nothing_and_says_so(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    for number in range(70):
        host.contact(sequence, step, f"6012{number:06}", device)
    summary = tick(seqdev, "--policy", "strict")
    assert (summary["queued"], summary["waiting"]) == (50, {"device_full": 20})
    assert tick(seqdev, "--policy", "strict")["queued"] == 0


def test_an_inactive_sequence_sends_nothing(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    for column, value in (("is_active", False), ("status", "paused")):
        sequence, (step,) = host.simple_sequence(user)
        host.contact(sequence, step, "6012345678", device)
        host.rows(f"update sequences set {column} = %s where id = %s", value, sequence)
    assert tick(seqdev)["due"] == 0
    # Nor where its device has something else to send.
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "6012345678", device)
    summary = tick(seqdev)
    assert (summary["due"], summary["queued"]) == (1, 1)


def test_the_claim_of_another_processor_is_respected_for_five_minutes(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    contact = host.contact(sequence, step, "6012345678", device, processing_device_id=device)
    for age, queued, waiting in (("4 minutes", 0, {"claimed": 1}), ("6 minutes", 1, {})):
        host.rows(
            "update sequence_contacts set processing_started_at = now() at time zone 'UTC' - %s::interval"
            " where id = %s",
            age,
            contact,
        )
        summary = tick(seqdev)
        assert (summary["queued"], summary["waiting"]) == (queued, waiting)


def test_at_the_end_the_entry_trigger_leaves_the_list_and_nothing_else(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    lead = host.lead(user, device, "6012345678", "COLD, WARM ,WARMEXAMA")
    host.contact(sequence, step, "6012345678", device)
    summary = tick(seqdev)
    assert (summary["ended"], summary["chained"]) == (1, 0)
    assert host.value("select trigger from leads where id = %s", lead) == "COLD,WARMEXAMA"


def test_the_last_step_chains_to_the_sequence_that_it_names(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence = host.sequence(user)
    step = host.step(sequence, 1, "WARM", "COLD")
    host.simple_sequence(user, "COLD")
    lead = host.lead(user, device, "6012345678", "A,WARM,B")
    host.contact(sequence, step, "6012345678", device)
    assert tick(seqdev)["chained"] == 1
    assert host.value("select trigger from leads where id = %s", lead) == "A,COLD,B"
    assert seqdev("enroll", "--yes").code == 0
    assert tick(seqdev)["queued"] == 1


def test_a_chain_counts_for_the_sequence_that_the_lead_named_and_not_for_another_that_ends_beside_it(
    host: Host, seqdev: Cli
) -> None:
    user = host.user()
    device = host.device(user)
    for trigger, then in (("WARM", "COLD"), ("OTHER", "HOT")):
        sequence = host.sequence(user, trigger)
        host.contact(sequence, host.step(sequence, 1, trigger, then), "6012345678", device, lead=False)
        host.simple_sequence(user, then)
    lead = host.lead(user, device, "6012345678", "WARM")
    summary = tick(seqdev)
    assert (summary["ended"], summary["chained"]) == (2, 1)
    assert host.value("select trigger from leads where id = %s", lead) == "COLD"


def test_of_two_sequences_that_end_with_one_entry_trigger_the_one_that_leads_on_is_followed(
    host: Host, seqdev: Cli
) -> None:
    user = host.user()
    device = host.device(user)
    phones = [f"60123456{number}" for number in range(100, 120)]
    host.simple_sequence(user, "COLD")
    # In whatever order the rows come: half of them this way, half the other way.
    for sequence, (then, first) in zip(
        [host.sequence(user) for _ in range(3)],
        [("COLD", phones[:10]), ("", phones), ("COLD", phones[10:])],
        strict=True,
    ):
        step = host.step(sequence, 1, "WARM", then)
        for phone in first:
            host.contact(sequence, step, phone, device, lead=False)
    for phone in phones:
        host.lead(user, device, phone, "WARM")
    summary = tick(seqdev)
    assert (summary["ended"], summary["chained"]) == (40, 20)
    assert host.rows("select trigger, count(*) from leads group by trigger") == [("COLD", 20)]


def test_a_chain_that_comes_back_stops_there(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    for trigger, then in (("WARM", "COLD"), ("COLD", "WARM")):
        host.step(host.sequence(user, trigger), 1, trigger, then)
    lead = host.lead(user, device, "6012345678", "WARM")
    for _ in range(4):
        assert seqdev("enroll", "--yes").code == 0
        tick(seqdev)
    assert host.value("select count(*) from broadcast_messages") == 2
    assert host.value("select trigger from leads where id = %s", lead) == ""
    assert (
        host.value("select last_error from sequence_contacts order by completed_at desc limit 1")
        == "ended: was in the sequence of WARM before"
    )
    assert not host.broken_promises()


@pytest.mark.usefixtures("without_delay")
def test_steps_in_a_circle_end_with_the_reason(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence = host.sequence(user)
    first = host.step(sequence, 1, "WARM", "two", trigger_delay_hours=0)
    host.step(sequence, 2, "two", "WARM", trigger_delay_hours=0)
    lead = host.lead(user, device, "6012345678", "WARM")
    host.contact(sequence, first, "6012345678", device)
    assert [tick(seqdev)["queued"] for _ in range(4)] == [1, 1, 0, 0]
    assert host.value("select trigger from leads where id = %s", lead) == ""
    assert host.rows("select last_error from sequence_contacts order by completed_at") == [
        (None,),
        ("ended: the next step was done before",),
    ]


def test_a_next_trigger_that_names_nothing_ends_the_contact_with_the_reason(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence = host.sequence(user)
    step = host.step(sequence, 1, "WARM", "nowhere")
    lead = host.lead(user, device, "6012345678", "WARM")
    host.contact(sequence, step, "6012345678", device)
    assert tick(seqdev)["ended"] == 1
    (contact,) = host.rows("select status, last_error from sequence_contacts")
    assert contact == ("completed", "ended: next_trigger nowhere names no step or sequence")
    assert host.value("select trigger from leads where id = %s", lead) == ""


@pytest.mark.plain("by whom a row is distributed is never null")
def test_broken_contacts_wait_with_a_reason_and_stop_nobody_else(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    host.rows("alter table sequence_contacts alter column contact_phone drop not null")
    sequence, (step,) = host.simple_sequence(user)
    silent = host.step(sequence, 9, "silent", "", content=None)
    host.contact(sequence, step, None, device, timedelta(days=-3))  # type: ignore[arg-type]
    host.contact(sequence, None, "6012000002", device, timedelta(days=-3))
    host.contact(sequence, silent, "6012000003", device, timedelta(days=-3))
    host.contact(sequence, step, "6012000004", device)
    summary = tick(seqdev, "--batch-size", "1")
    assert summary["queued"] == 1
    assert summary["waiting"] == {"bad_phone": 1, "step_missing": 1, "no_content": 1}
    reasons = host.rows("select last_error from sequence_contacts where status = 'active' order by 1")
    assert [reason.split(":")[1].strip() for (reason,) in reasons] == [
        "bad_phone",
        "no_content",
        "step_missing",
    ]


def test_failed_sends_show_on_the_step_and_the_steps_after_it_go_on(host: Host, seqdev: Cli) -> None:
    user = host.user()
    sequence, (first, _) = host.simple_sequence(user, steps=2)
    host.contact(sequence, first, "6012345678", host.device(user))
    tick(seqdev)
    host.rows("update broadcast_messages set status = 'failed', error_message = 'number not on the service'")
    assert tick(seqdev)["failed_reflected"] == 1
    failed, waiting = host.rows("select * from sequence_contacts order by current_step nulls first")
    assert (failed.status, failed.last_error, failed.retry_count) == (
        "failed",
        "number not on the service",
        1,
    )
    assert waiting.status == "active"
    assert tick(seqdev)["failed_reflected"] == 0
    host.make_all_due()
    assert tick(seqdev)["queued"] == 1
    assert not host.broken_promises()


@pytest.mark.usefixtures("without_delay")
def test_nobody_gets_two_messages_from_one_tick(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence = host.sequence(user)
    first = host.step(sequence, 1, "WARM", "two")
    host.step(sequence, 2, "two", "three", trigger_delay_hours=0)
    host.step(sequence, 3, "three", "", trigger_delay_hours=0)
    for number in range(20):
        host.contact(sequence, first, f"6012{number:06}", device)
    assert [tick(seqdev, "--batch-size", "3")["queued"] for _ in range(4)] == [20, 20, 20, 0]


def test_max_messages_is_kept_to_the_message(host: Host, seqdev: Cli) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    for number in range(30):
        host.contact(sequence, step, f"6012{number:06}", host.device(user))
    summary = tick(seqdev, "--max-messages", "7", "--batch-size", "4")
    assert (summary["queued"], summary["waiting"]) == (7, {"next_tick": 23})


@pytest.mark.parametrize("policy", ["queue", "strict"])
def test_a_dry_run_predicts_the_run_and_changes_nothing(host: Host, seqdev: Cli, policy: str) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    devices = [host.device(user), host.device(user, status="offline")]
    for number in range(130):
        host.contact(sequence, step, f"6012{number:06}", devices[number % 2])
    dry = tick(seqdev, "--policy", policy, "--dry-run")
    assert host.value("select count(*) from broadcast_messages") == 0
    real = tick(seqdev, "--policy", policy)
    for field in ("due", "queued", "waiting"):
        assert dry[field] == real[field]


def test_a_phone_without_a_device_of_its_own_keeps_none_on_the_next_step(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (first, second) = host.simple_sequence(user, steps=2)
    host.lead(user, device, "6012345678", "WARM")
    host.contact(sequence, first, "6012345678", None)
    tick(seqdev)
    assert host.rows(
        "select assigned_device_id from sequence_contacts where sequence_stepid = %s", second
    ) == [(None,)]
    host.make_all_due()
    assert tick(seqdev)["queued"] == 1
    assert host.rows("select distinct device_id from broadcast_messages") == [(device,)]


ONE_LOCK = pytest.mark.plain("one lock is for all devices")


@ONE_LOCK
def test_a_batch_locks_no_more_devices_than_it_works_on(host: Host, database: str) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    for number in range(20):
        host.contact(sequence, step, f"6012{number:06}", host.device(user))
    host.rows("analyze")
    with host.connection.transaction():
        locked = run(host, LOCK, most=3)
        assert len(locked) == 3
        held = "select count(*) from pg_locks where locktype = 'advisory' and mode = 'ExclusiveLock'"
        assert host.value(held) == 3


@ONE_LOCK
def test_a_device_that_another_tick_holds_is_left_to_it(host: Host, database: str, seqdev: Cli) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    for number in range(2):
        host.contact(sequence, step, f"6012{number:06}", host.device(user, f"device {number}"))
    with host.connection.transaction():
        assert len(run(host, LOCK, most=1)) == 1
        assert tick(seqdev)["waiting"] == {"next_tick": 1}
    assert tick(seqdev)["queued"] == 1
