"""What a tick does on hosts as they are: rows made beforehand, keys, triggers, statuses, claims, zones of their own."""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.world import worker
from tests.world.command import Cli
from tests.world.generations import about_naive
from tests.world.host import Host

PHONE = "6012345678"


def tick(seqdev: Cli, *options: str, code: int = 0) -> Any:
    ran = seqdev("tick", "--format", "json", *options)
    assert (ran.code, ran.err if code == 0 else "") == (code, "")
    return json.loads(ran.out)


class Person:
    """A user with a device, a sequence of three steps, and a lead."""

    def __init__(self, host: Host, steps: int = 3) -> None:
        self.host = host
        self.user = host.user()
        self.device = host.device(self.user)
        self.sequence, self.steps = host.simple_sequence(self.user, steps=steps)
        self.lead = host.lead(self.user, self.device, PHONE, "WARM")

    def all_rows(self, first: str = "active") -> list[UUID]:
        """A row for each step, made at once; the first is due, the others a day after each other."""
        return [
            self.host.contact(
                *(self.sequence, step, PHONE, self.device, timedelta(days=place, minutes=-1)),
                status="pending" if place else first,
                current_step=place + 1,
            )
            for place, step in enumerate(self.steps)
        ]

    def statuses(self) -> list[str]:
        return [
            row.status
            for row in self.host.rows(
                "select sc.status from sequence_contacts as sc join sequence_steps as st on st.id = sc.sequence_stepid"
                " order by st.day_number"
            )
        ]


@pytest.fixture
def person(host: Host) -> Person:
    return Person(host)


# -- What the broadcast worker can read


def test_no_text_of_a_message_is_null(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence = host.sequence(user)
    for number, (kind, content, media) in enumerate(
        [
            (None, "hello", None),
            ("", None, "https://example.com/a.png"),
            (" ", "hello", ""),
            ("image", "", "x"),
        ]
    ):
        step = host.step(
            sequence, number + 1, f"S{number}", "", content=content, media_url=media, message_type=kind
        )
        host.contact(sequence, step, f"601200000{number}", device, contact_name=None)
    assert tick(seqdev)["queued"] == 4
    rows = sorted(worker.read(host.rows, device), key=lambda row: row.recipient_phone)
    assert [(row.message_type, row.content, row.media_url, row.recipient_name) for row in rows] == [
        ("text", "hello", "", ""),
        ("text", "", "https://example.com/a.png", ""),
        ("text", "hello", "", ""),
        ("image", "", "x", ""),
    ]


def test_what_the_worker_passes_over_takes_a_place_in_its_limit(
    host: Host, seqdev: Cli, person: Person
) -> None:
    old = {"scheduled_at": datetime(2020, 1, 1), "created_at": datetime(2020, 1, 1), "content": None}
    host._insert(
        "broadcast_messages", user_id=person.user, device_id=person.device, recipient_phone="1", **old
    )
    host.contact(person.sequence, person.steps[0], PHONE, person.device)
    tick(seqdev)
    assert worker.read(host.rows, person.device, limit=1) == []
    assert [row.recipient_phone for row in worker.read(host.rows, person.device, limit=2)] == [PHONE]
    # It is not seqdev's: nobody holds the host's own against it.
    assert worker.passed_over(host.rows) == []


# -- Rows of all steps, made at enrolment


def test_the_next_steps_row_that_waits_becomes_active(host: Host, seqdev: Cli, person: Person) -> None:
    _, second, _ = person.all_rows()
    assert tick(seqdev)["queued"] == 1
    assert person.statuses() == ["completed", "active", "pending"]
    (row,) = host.rows("select * from sequence_contacts where id = %s", second)
    done = host.value("select completed_at from sequence_contacts where status = 'completed'")
    # Its own time was a minute less than a day ahead: the delay ends later.
    assert row.next_trigger_time == done + timedelta(hours=24)
    assert row.assigned_device_id == person.device
    assert not host.broken_promises()
    for expected in (["completed", "completed", "active"], ["completed"] * 3):
        host.make_all_due()
        assert tick(seqdev)["queued"] == 1
        assert person.statuses() == expected
    assert host.value("select count(*) from broadcast_messages") == 3
    assert host.value("select count(*) from sequence_contacts") == 3


def test_a_waiting_row_whose_own_time_is_later_keeps_it(host: Host, seqdev: Cli, person: Person) -> None:
    _, second, _ = person.all_rows()
    host.rows("update sequence_contacts set next_trigger_time = '2099-01-01' where id = %s", second)
    tick(seqdev)
    due = host.value("select next_trigger_time from sequence_contacts where id = %s", second)
    assert due.replace(tzinfo=None) == datetime(2099, 1, 1)


def test_enrol_activates_the_first_row_of_who_has_waiting_rows_only(
    host: Host, seqdev: Cli, person: Person
) -> None:
    person.all_rows("pending")
    assert tick(seqdev)["due"] == 0
    plan = seqdev("enroll", "--dry-run", "--format", "json")
    assert (plan.code, json.loads(plan.out)["sequences"][0]["enrolled"]) == (0, 1)
    assert person.statuses() == ["pending", "pending", "pending"]
    ran = seqdev("enroll", "--yes", "--format", "json")
    assert (ran.code, json.loads(ran.out)["sequences"][0]["enrolled"]) == (0, 1)
    assert person.statuses() == ["active", "pending", "pending"]
    again = seqdev("enroll", "--yes", "--format", "json")
    assert (again.code, json.loads(again.out)["sequences"][0]["already_in"]) == (0, 1)
    assert tick(seqdev)["queued"] == 1
    assert person.statuses() == ["completed", "active", "pending"]


def test_enrol_does_not_begin_again_where_the_host_deletes_what_is_done(
    host: Host, seqdev: Cli, person: Person
) -> None:
    first, _, _ = person.all_rows("completed")
    host.rows("delete from sequence_contacts where id = %s", first)
    assert seqdev("enroll", "--yes").code == 0
    assert person.statuses() == ["active", "pending"]
    host.make_all_due()
    tick(seqdev)
    assert host.rows("select content from broadcast_messages") == [("message of day 2",)]


def test_reassign_takes_the_waiting_row_along_and_journals_it(
    host: Host, seqdev: Cli, person: Person
) -> None:
    first, second, _ = person.all_rows()
    other = host.device(person.user)
    host.rows("update user_devices set status = 'offline' where id = %s", person.device)
    assert tick(seqdev, "--policy", "reassign")["moved"] == 1
    journal = host.rows("select row_id, old_value, new_value from seqdev.change order by row_id")
    assert journal == sorted((row, str(person.device), str(other)) for row in (first, second))
    rows = dict(host.rows("select id, assigned_device_id from sequence_contacts"))
    assert (rows[first], rows[second]) == (other, other)


# -- Keys and triggers of the host's

ONE_ACTIVE = """
create unique index one_active on sequence_contacts (sequence_id, contact_phone) where status = 'active'
"""
STEPS_IN_ORDER = (
    """
create function steps_in_order() returns trigger language plpgsql as $$
begin
    if new.status = 'active' and old.status = 'pending' and exists (
        select 1 from sequence_contacts as c
        where c.sequence_id = new.sequence_id and c.contact_phone = new.contact_phone
            and c.current_step < new.current_step and c.status not in ('completed', 'sent', 'failed')
    ) then raise exception 'step % is not next', new.current_step;
    end if;
    return new;
end $$
""",
    "create trigger steps_in_order before update on sequence_contacts for each row execute function steps_in_order()",
)


@pytest.mark.thorough
@pytest.mark.cases(2)
@pytest.mark.parametrize("made", ["beforehand", "step by step"])
@pytest.mark.parametrize("people", [1, 500])
def test_one_active_row_a_person_and_steps_in_order_hold_during_a_claim(
    host: Host, seqdev: Cli, made: str, people: int
) -> None:
    host.rows(ONE_ACTIVE)
    for statement in STEPS_IN_ORDER:
        host.rows(statement)
    user = host.user()
    device = host.device(user)
    sequence, steps = host.simple_sequence(user, steps=3)
    for number in range(people):
        for place, step in enumerate(steps if made == "beforehand" else steps[:1]):
            status = "pending" if place else "active"
            host.contact(*(sequence, step, f"6012{number:07}", device), status=status, current_step=place + 1)
    host.rows("analyze")
    for _ in steps:
        assert tick(seqdev)["queued"] == people
        host.make_all_due()
    assert host.value("select count(*) from broadcast_messages") == 3 * people
    assert set(host.rows("select status from sequence_contacts")) == {("completed",)}
    assert not host.broken_promises()


# -- Devices of platforms


@pytest.mark.parametrize("policy", ["strict", "fallback", "reassign"])
def test_a_device_of_a_platform_is_online_whatever_its_status(
    host: Host, seqdev: Cli, person: Person, policy: str
) -> None:
    host.contact(person.sequence, person.steps[0], PHONE, person.device)
    host.device(person.user)
    host.rows("update user_devices set status = 'offline', platform = 'Wablas' where id = %s", person.device)
    assert tick(seqdev, "--policy", policy)["moved"] == 0
    assert host.rows("select device_id from broadcast_messages") == [(person.device,)]


@pytest.mark.parametrize("platform", [None, "", "  "])
def test_a_blank_platform_is_none(host: Host, seqdev: Cli, person: Person, platform: str | None) -> None:
    host.contact(person.sequence, person.steps[0], PHONE, person.device)
    host.rows("update user_devices set status = 'offline', platform = %s", platform)
    assert tick(seqdev, "--policy", "strict")["waiting"] == {"device_offline": 1}


# -- What became of a message


@pytest.mark.parametrize("status", ["failed", "error", "skipped", "expired", "cancelled"])
def test_a_message_that_will_never_be_sent_shows_as_failed_and_as_completed_once_it_is_sent(
    host: Host, seqdev: Cli, person: Person, status: str
) -> None:
    host.contact(person.sequence, person.steps[0], PHONE, person.device)
    tick(seqdev)
    host.rows("update broadcast_messages set status = %s", status)
    assert tick(seqdev)["failed_reflected"] == 1
    (row,) = host.rows("select * from sequence_contacts where completed_at is not null")
    assert (row.status, row.retry_count) == ("failed", 1)
    assert row.last_error
    host.rows("update broadcast_messages set status = 'pending'")
    assert tick(seqdev)["failed_reflected"] == 0
    assert host.value("select status from sequence_contacts where id = %s", row.id) == "failed"
    host.rows("update broadcast_messages set status = 'sent'")
    tick(seqdev)
    (again,) = host.rows("select * from sequence_contacts where id = %s", row.id)
    assert (again.status, again.last_error, again.retry_count) == ("completed", None, 1)
    assert not host.broken_promises()


# -- People whose lead is gone


def test_rows_to_come_of_a_person_whose_lead_is_gone_wait(host: Host, seqdev: Cli, person: Person) -> None:
    host.contact(person.sequence, person.steps[0], PHONE, person.device)
    host.contact(person.sequence, person.steps[0], "6012000002", person.device)
    host.rows("delete from leads where phone = %s", PHONE)
    # Somebody else's lead with this phone does not count.
    host.lead(host.user(), None, PHONE)
    assert tick(seqdev, "--dry-run")["waiting"] == {"no_lead": 1}
    summary = tick(seqdev)
    assert (summary["queued"], summary["waiting"]) == (1, {"no_lead": 1})
    assert host.value("select last_error from sequence_contacts where contact_phone = %s", PHONE).startswith(
        "waits: no_lead"
    )
    explained = json.loads(seqdev("explain", PHONE, "--user", str(person.user), "--format", "json").out)
    assert explained["stories"][0]["waiting"][0]["reason"] == "no_lead"
    host.rule("without_lead", "true")
    assert tick(seqdev)["queued"] == 1


# -- Delays


@pytest.mark.parametrize("hours", [None, 0, -5])
@pytest.mark.parametrize(("default", "expected"), [("", 24), ("0s", 0), ("90m", 1.5)])
def test_a_delay_that_is_none_is_a_day_or_what_is_configured(
    host: Host, seqdev: Cli, hours: int | None, default: str, expected: float
) -> None:
    if default:
        host.rule("default_delay", default)
    person = Person(host)
    host.rows("update sequence_steps set trigger_delay_hours = %s", hours)
    host.contact(person.sequence, person.steps[0], PHONE, person.device)
    tick(seqdev)
    done = host.value("select completed_at from sequence_contacts where status = 'completed'")
    due = host.value("select next_trigger_time from sequence_contacts where status = 'active'")
    assert due - done == timedelta(hours=expected)


# -- Claims of other processors


def claimed(person: Person, since: str | None, message: bool = False, **columns: object) -> UUID:
    """A row that another processor has claimed, and perhaps written the message of."""
    host = person.host
    contact = host.contact(person.sequence, person.steps[0], PHONE, person.device)
    host.rows(
        "update sequence_contacts set processing_device_id = %s,"
        " processing_started_at = now() at time zone 'UTC' - %s::interval where id = %s",
        *(person.device, since, contact),
    )
    if message:
        host._insert(
            "broadcast_messages",
            user_id=person.user,
            device_id=person.device,
            sequence_id=person.sequence,
            recipient_phone=PHONE,
            **{"sequence_stepid": person.steps[0], "created_at": datetime.now(), **columns},
        )
    return contact


def test_a_claim_without_an_instant_is_respected_until_it_is_released(
    host: Host, seqdev: Cli, person: Person
) -> None:
    claimed(person, None)
    host.contact(person.sequence, person.steps[0], "6012000002", person.device)
    summary = tick(seqdev)
    assert (summary["queued"], summary["waiting"]) == (1, {"claimed": 1})
    explained = json.loads(seqdev("explain", PHONE, "--format", "json").out)
    assert explained["stories"][0]["waiting"][0]["reason"] == "claimed"
    host.rows("update sequence_contacts set next_trigger_time = next_trigger_time - interval '1 hour'")
    assert "stuck" in seqdev("audit", "contacts", "--format", "csv").out
    assert seqdev("repair", "stuck", "--yes", "--format", "json").code == 0
    assert tick(seqdev)["queued"] == 1
    assert not host.broken_promises()


@pytest.mark.parametrize("since", ["1 hour", None])
@pytest.mark.parametrize("step", ["named", "not named"])
def test_the_message_of_a_processor_that_died_before_its_row_counts_as_sent(
    host: Host, seqdev: Cli, person: Person, since: str | None, step: str
) -> None:
    contact = claimed(person, since, message=True, **({} if step == "named" else {"sequence_stepid": None}))
    if since is None:
        host.rows("update sequence_contacts set next_trigger_time = next_trigger_time - interval '1 hour'")
        assert seqdev("repair", "stuck", "--yes").code == 0
    summary = tick(seqdev)
    assert (summary["queued"], summary["already_queued"]) == (0, 1)
    assert host.value("select count(*) from broadcast_messages") == 1
    assert host.value("select status from sequence_contacts where id = %s", contact) == "completed"
    assert host.value("select count(*) from sequence_contacts where status = 'active'") == 1


def test_a_message_of_another_step_or_before_the_claim_does_not_count_as_sent(
    host: Host, seqdev: Cli, person: Person
) -> None:
    claimed(person, "1 hour", message=True, sequence_stepid=person.steps[1])
    host.rows(
        "insert into broadcast_messages (user_id, device_id, sequence_id, recipient_phone, created_at)"
        " values (%s, %s, %s, %s, now() at time zone 'UTC' - interval '2 hours')",
        *(person.user, person.device, person.sequence, PHONE),
    )
    assert tick(seqdev)["queued"] == 1


# -- Capacity where clocks and zones play tricks


@pytest.fixture
def repeated_hour(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Naive instants are in a zone whose summer time ends half an hour from now: they are read an hour late."""
    local = host.value("select now() at time zone 'UTC' + interval '1 hour 30 minutes'")
    # In summer time, one hour ahead, the clock goes from `local` back by an hour.
    day = host.value("select extract(doy from %s::timestamp)::int", local)
    monkeypatch.setenv("SEQDEV_TIMEZONE", f"WIN0SUM,{(day + 180) % 365}/0,{day - 1}/{local:%H:%M:%S}")


@pytest.mark.thorough
@about_naive
@pytest.mark.parametrize("policy", ["strict", "reassign"])
def test_the_repeated_hour_of_summer_time_gives_no_room_twice(
    host: Host, seqdev: Cli, repeated_hour: None, policy: str
) -> None:
    host.rule("max_in_flight", "5")
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    for number in range(30):
        host.contact(sequence, step, f"60120000{number:02}", device, timedelta(days=-2))
    for _ in range(4):
        tick(seqdev, "--policy", policy)
    stamp = host.rows(
        "select scheduled_at, now() at time zone 'UTC' as clock from broadcast_messages limit 1"
    )[0]
    assert stamp.scheduled_at - stamp.clock > timedelta(minutes=50), "not written in summer time"
    assert host.value("select count(*) from broadcast_messages") == 5


def test_messages_of_a_clock_that_was_ahead_are_in_flight(host: Host, seqdev: Cli, person: Person) -> None:
    host.rule("max_in_flight", "1")
    host.contact(person.sequence, person.steps[0], PHONE, person.device)
    host.contact(person.sequence, person.steps[0], "6012000002", person.device)
    assert tick(seqdev, "--policy", "strict")["queued"] == 1
    host.rows(
        "update broadcast_messages set scheduled_at = scheduled_at + interval '3 seconds',"
        " created_at = created_at + interval '3 seconds'"
    )
    assert tick(seqdev, "--policy", "strict")["waiting"] == {"device_full": 1}
    # What the host has planned for later is not in flight.
    host.rows("update broadcast_messages set scheduled_at = created_at + interval '1 hour'")
    assert tick(seqdev, "--policy", "strict")["queued"] == 1
