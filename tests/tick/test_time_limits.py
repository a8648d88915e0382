"""Statements that the server cancels, roles with settings of their own, and people who are too late."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from seqdev.errors import Cancelled
from seqdev.tick import tick as ticks
from tests.world import citus
from tests.world.command import Cli
from tests.world.generations import about_naive
from tests.world.host import Host


def tick(seqdev: Cli, *options: str, code: int = 0) -> tuple[Any, str]:
    """The summary of a tick, and what it said on stderr."""
    ran = seqdev("tick", "--format", "json", *options)
    assert ran.code == code, ran
    return json.loads(ran.out), ran.err


def on_each_message(host: Host, action: str, when: str = "true") -> None:
    """A trigger of the host's that does ``action`` for each message that is queued."""
    host.rows(
        f"create function act() returns trigger language plpgsql as $$ begin {action}; return new; end $$"
    )
    host.rows(
        "create trigger act before insert on broadcast_messages"
        f" for each row when ({when}) execute function act()"
    )


def of_role(host: Host, setting: str) -> None:
    """The role's own setting, as an administrator may have made it."""
    database = host.value("select current_database()")
    host.rows(f"alter role current_user in database {database} set {setting}")


def people(host: Host, number: int, device: UUID) -> None:
    user = host.value("select user_id from user_devices where id = %s", device)
    sequence, (step,) = host.simple_sequence(user)
    for i in range(number):
        host.contact(sequence, step, f"60{device.int % 10**6}{i:04}", device)


@pytest.mark.thorough
def test_a_batch_that_takes_too_long_is_halved_until_it_goes(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On Citus a statement that does nothing takes a part of a second.
    slower = 5 if citus.URL else 1
    monkeypatch.setenv("SEQDEV_STATEMENT_TIMEOUT", f"{400 * slower}ms")
    people(host, 16, host.device(host.user()))
    on_each_message(host, f"perform pg_sleep({0.04 * slower})")
    summary, err = tick(seqdev, "--batch-size", "16")
    assert (summary["queued"], summary["waiting"], err) == (16, {}, "")
    assert not host.broken_promises()


def test_the_time_limit_of_the_role_does_not_count(host: Host, seqdev: Cli) -> None:
    of_role(host, "statement_timeout = '50ms'")
    people(host, 4, host.device(host.user()))
    on_each_message(host, "perform pg_sleep(0.05)")
    assert tick(seqdev)[0]["queued"] == 4


def test_the_isolation_of_the_role_does_not_count(host: Host, seqdev: Cli) -> None:
    of_role(host, "default_transaction_isolation = 'serializable'")
    people(host, 3, host.device(host.user()))
    on_each_message(host, "new.media_url = current_setting('transaction_isolation')")
    assert tick(seqdev)[0]["queued"] == 3
    assert host.rows("select distinct media_url from broadcast_messages") == [("read committed",)]


def test_who_cancels_every_statement_gets_an_error_and_no_endless_loop(host: Host, seqdev: Cli) -> None:
    people(host, 8, host.device(host.user()))
    on_each_message(host, "perform pg_cancel_backend(pg_backend_pid()); perform pg_sleep(1)")
    summary, err = tick(seqdev, "--batch-size", "8", code=13)
    assert (summary["queued"], summary["waiting"]) == (0, {"next_tick": 8})
    assert "the server cancelled a statement (time limit or a person), even for a single contact" in err
    assert not host.broken_promises()


def test_one_contact_that_takes_for_ever_holds_back_its_own_device_only(host: Host, seqdev: Cli) -> None:
    user = host.user()
    slow, quick = host.device(user), host.device(user)
    people(host, 2, slow)
    people(host, 6, quick)
    on_each_message(
        host,
        "perform pg_cancel_backend(pg_backend_pid()); perform pg_sleep(1)",
        f"new.device_id = '{slow}'",
    )
    summary, err = tick(seqdev, "--batch-size", "8", code=13)
    assert (summary["queued"], summary["waiting"]) == (6, {"next_tick": 2})
    assert "even for a single contact" in err
    assert not host.broken_promises()


def test_a_tick_that_cannot_count_who_waits_is_no_failure_but_says_so(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled(*_: object) -> None:
        raise Cancelled("the server cancelled a statement (time limit or a person)")

    monkeypatch.setattr(ticks, "decide", cancelled)
    people(host, 3, host.device(host.user()))
    summary, err = tick(seqdev, code=3)
    assert (summary["queued"], summary["due"], summary["waiting"]) == (3, None, None)
    assert "who still waits was not counted: the server cancelled a statement" in err
    assert host.value("select finished_at is not null from seqdev.run")


def test_a_tick_that_cannot_show_failed_sends_queues_all_the_same(host: Host, seqdev: Cli) -> None:
    device = host.device(host.user())
    people(host, 2, device)
    tick(seqdev)
    host.rows("update broadcast_messages set status = 'failed'")
    host.rows(
        "create function act() returns trigger language plpgsql as $$ begin"
        " perform pg_cancel_backend(pg_backend_pid()); perform pg_sleep(1); return new; end $$"
    )
    host.rows(
        "create trigger act before update on sequence_contacts for each row"
        " when (new.status = 'failed') execute function act()"
    )
    people(host, 3, host.device(host.user()))
    summary, err = tick(seqdev, code=3)
    assert (summary["queued"], summary["failed_reflected"]) == (3, 0)
    assert "failed sends were not shown on their rows: the server cancelled a statement" in err


def test_an_enrolment_that_takes_too_long_goes_on_in_smaller_batches(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqdev.enroll.enroll.BATCH", 16)
    monkeypatch.setenv("SEQDEV_STATEMENT_TIMEOUT", "400ms")
    user = host.user()
    device = host.device(user)
    host.simple_sequence(user)
    for number in range(16):
        host.lead(user, device, f"60120000{number:02}", "WARM")
    host.rows(
        "create function act() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(0.04); return new; end $$"
    )
    host.rows("create trigger act before insert on sequence_contacts for each row execute function act()")
    assert seqdev("enroll", "--yes").code == 0
    assert host.value("select count(*) from sequence_contacts") == 16


LATE = [timedelta(minutes=-30), timedelta(hours=-1), timedelta(hours=-3), timedelta(days=-2)]


@pytest.fixture
def late(host: Host) -> UUID:
    """A user with one device, and people who are later and later; one of them has no device assigned."""
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    for number, due_in in enumerate(LATE):
        host.contact(sequence, step, f"601200000{number}", device, due_in)
        host.lead(user, device, f"601300000{number}")
        host.contact(sequence, step, f"601300000{number}", None, due_in)
    return user


@pytest.mark.usefixtures("late")
@pytest.mark.parametrize("policy", ["queue", "strict", "fallback", "reassign"])
def test_who_is_too_late_waits_and_goes_with_a_tick_without_that_limit(
    host: Host, seqdev: Cli, policy: str
) -> None:
    options = ("--policy", policy, "--max-lateness", "2h")
    planned, _ = tick(seqdev, "--dry-run", *options)
    assert (planned["queued"], planned["waiting"]) == (4, {"too_late": 4})
    done, _ = tick(seqdev, *options)
    assert (done["due"], done["queued"], done["waiting"]) == (8, 4, {"too_late": 4})
    sent = host.rows("select recipient_phone from broadcast_messages order by 1")
    assert [row[0] for row in sent] == ["6012000000", "6012000001", "6013000000", "6013000001"]
    assert tick(seqdev, "--policy", policy)[0]["queued"] == 4
    assert not host.broken_promises()


@pytest.mark.parametrize("policy", ["fallback", "reassign"])
def test_who_is_too_late_does_not_go_on_another_device_either(
    host: Host, seqdev: Cli, late: UUID, policy: str
) -> None:
    host.rows("update user_devices set status = 'offline'")
    host.device(late)
    done, _ = tick(seqdev, "--policy", policy, "--max-lateness", "2h")
    assert (done["queued"], done["moved"], done["waiting"]) == (4, 4, {"too_late": 4})


@pytest.mark.usefixtures("late")
def test_the_comparison_of_the_policies_counts_who_is_too_late(seqdev: Cli) -> None:
    ran = seqdev("tick", "--compare", "--max-lateness", "2h", "--format", "json")
    assert [row["waiting"] for row in json.loads(ran.out)] == [{"too_late": 4}] * 4


@pytest.mark.usefixtures("late")
def test_lateness_is_a_rule_as_well_and_the_option_wins(host: Host, seqdev: Cli) -> None:
    host.rule("max_lateness", "45m")
    assert tick(seqdev, "--dry-run")[0]["waiting"] == {"too_late": 6}
    assert tick(seqdev, "--dry-run", "--max-lateness", "1d")[0]["waiting"] == {"too_late": 2}
    assert tick(seqdev, "--dry-run", "--max-lateness", "0s")[0]["waiting"] == {}


@pytest.mark.usefixtures("late")
def test_explain_names_lateness_where_it_is_a_rule(host: Host, seqdev: Cli) -> None:
    assert "too_late" not in seqdev("explain", "6012000003").out
    host.rule("max_lateness", "2h")
    screen = seqdev("explain", "6012000003").out
    assert "STOPPED: too_late (max_lateness is 02:00:00)" in " ".join(screen.split())
    assert "seqdev tick --max-lateness 0s" in screen
    assert "too_late" not in seqdev("explain", "6012000000").out


@about_naive
def test_lateness_is_judged_in_the_configured_time_zone(host: Host, seqdev: Cli) -> None:
    sequence, (step,) = host.simple_sequence(host.user())
    device = host.device(host.value("select user_id from sequences"))
    for number, hours in enumerate((1, 3)):
        contact = host.contact(sequence, step, f"601200000{number}", device)
        host.rows(
            "update sequence_contacts set next_trigger_time ="
            " (now() - make_interval(hours => %s::int)) at time zone 'Asia/Jakarta' where id = %s",
            hours,
            contact,
        )
    ran = seqdev("--timezone", "Asia/Jakarta", "tick", "--max-lateness", "2h", "--format", "json")
    assert json.loads(ran.out)["waiting"] == {"too_late": 1}
    assert host.rows("select recipient_phone from broadcast_messages") == [("6012000000",)]


@pytest.mark.parametrize("delay", [0, 24])
def test_five_overdue_steps_take_five_ticks(host: Host, seqdev: Cli, delay: int) -> None:
    user = host.user()
    sequence, steps = host.simple_sequence(user, steps=5)
    host.rows("update sequence_steps set trigger_delay_hours = %s", delay)
    host.contact(sequence, steps[0], "6012000000", host.device(user), timedelta(days=-9))
    for messages in range(1, 6):
        host.make_all_due()
        assert tick(seqdev)[0]["queued"] == 1
        assert host.value("select count(*) from broadcast_messages") == messages
    assert not host.broken_promises()
