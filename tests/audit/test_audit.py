"""What the audits promise: each kind of trouble is found and named, and nothing else is."""

import csv
import io
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.world.command import Cli
from tests.world.host import Host

SEED_CHECK = """
    SELECT sc.id, bm.id AS message_id,
        CASE WHEN sc.assigned_device_id = bm.device_id THEN 'MATCH' ELSE 'MISMATCH' END AS status
    FROM sequence_contacts sc
    JOIN broadcast_messages bm ON bm.recipient_phone = sc.contact_phone
    WHERE bm.sequence_id = sc.sequence_id
      AND bm.created_at > NOW() - INTERVAL '1 hour'
"""
"""The seed's own query. It is right where the message is of the row's step, or the row is the only one."""

SEED_AVAILABILITY = """
    SELECT d.id, d.device_name, d.status, COUNT(DISTINCT sc.contact_phone) AS assigned_contacts,
        CASE WHEN d.status = 'online' THEN 'Available' ELSE 'Not Available' END AS availability
    FROM user_devices d LEFT JOIN sequence_contacts sc ON sc.assigned_device_id = d.id
    GROUP BY d.id, d.device_name, d.status ORDER BY assigned_contacts DESC
"""

NAMES = ["mismatches", "devices", "contacts", "sequences", "leads", "collisions", "writers", "failed"]


def audit(seqdev: Cli, name: str, *options: str, code: int = 3) -> list[dict[str, Any]]:
    """The rows of an audit in JSON."""
    ran = seqdev("audit", name, "--format", "json", *options)
    assert ran.code == code, ran.err
    rows: list[dict[str, Any]] = json.loads(ran.out)[name]
    return rows


def write(
    host: Host,
    contact: UUID,
    device: UUID,
    own: bool = False,
    stepless: bool = False,
    ago: str = "1 minute",
    status: str = "sent",
    done: bool = True,
) -> UUID:
    """A processor writes the message of a contact: seqdev (``own``), or another one; returns its id."""
    (row,) = host.rows(
        "insert into broadcast_messages (id, user_id, device_id, sequence_id, sequence_stepid, recipient_phone,"
        " content, status, scheduled_at, created_at)"
        " select case when %(own)s then md5('seqdev message ' || sc.id)::uuid else gen_random_uuid() end,"
        " s.user_id, %(device)s, sc.sequence_id, case when not %(stepless)s then sc.sequence_stepid end,"
        " sc.contact_phone, 'hello', %(status)s, t, t"
        " from sequence_contacts sc join sequences s on s.id = sc.sequence_id,"
        " (select now() at time zone 'UTC' - %(ago)s::interval as t) x where sc.id = %(contact)s returning id",
        {
            "own": own,
            "device": device,
            "stepless": stepless,
            "status": status,
            "ago": ago,
            "contact": contact,
        },
    )
    if done:
        host.rows(
            "update sequence_contacts set status = 'completed', completed_at = now() at time zone 'UTC',"
            " processing_device_id = %s where id = %s",
            device,
            contact,
        )
    identity: UUID = row.id
    return identity


def causes(rows: list[dict[str, Any]]) -> dict[str, str | None]:
    """The cause of each person."""
    return {row["phone"]: row["cause"] for row in rows}


@pytest.fixture
def processed(host: Host) -> dict[str, str | None]:
    """What four kinds of processor leave behind, and some more: phones, and the cause of each."""
    user, other = host.user(), host.user()
    first, second, third = host.device(user, "A"), host.device(user, "B"), host.device(user, "C", "offline")
    gone, others = host.device(user, "D"), host.device(other, "Z")
    sequence, (step, later) = host.simple_sequence(user, steps=2)
    expected: dict[str, str | None] = {}

    def person(
        cause: str | None,
        assigned: UUID | None,
        used: UUID,
        owner: UUID | None,
        own: bool,
        stepless: bool = False,
    ) -> UUID:
        phone = f"60120000{len(expected):02}"
        expected[phone] = cause
        # Another user has the phone too, with another device.
        host.lead(other, others, phone)
        host.lead(user, owner, phone)
        contact = host.contact(sequence, step, phone, assigned)
        # The row of the next step may have another device: the seed's query compares it all the same.
        host.contact(sequence, later, phone, third, timedelta(hours=23))
        write(host, contact, used, own, stepless)
        return contact

    for own in (True, False):
        person(None, first, first, first, own)
        person("lead_reowned", first, second, second, own)
        person("device_deleted", gone, second, first, own)
        person("fallback_used", third, second, third, own)
        person("assignment_missing", None, first, first, own)
        person("other_users_device", first, others, first, own)
        person("other_users_assignment", others, first, first, own)
        person("fallback_used" if own else "foreign_writer", first, second, first, own)
        journaled = person("assigned_since", first, second, first, own)
        host.rows(
            "insert into seqdev.change (run_id, table_name, row_id, column_name, old_value, new_value, changed_at)"
            " values (%s, 'sequence_contacts', %s, 'assigned_device_id', %s, %s, now())",
            *(uuid4(), journaled, str(second), str(first)),
        )
    person(None, first, first, first, own=False, stepless=True)
    person("foreign_writer", first, second, first, own=False, stepless=True)
    host.rows("delete from user_devices where id = %s", gone)
    return expected


def test_every_cause_of_a_mismatch_is_named(processed: dict[str, str | None], seqdev: Cli) -> None:
    found = causes(audit(seqdev, "mismatches", "--all", "--matches"))
    assert found == processed
    listed = causes(audit(seqdev, "mismatches", "--limit", "100"))
    assert listed == {phone: cause for phone, cause in processed.items() if cause}


def test_verdicts_are_those_of_the_seeds_query_where_it_is_right(
    processed: dict[str, str | None], host: Host, seqdev: Cli
) -> None:
    ours = {
        (row["contact_id"], row["message_id"]): row["verdict"]
        for row in audit(seqdev, "mismatches", "--all", "--matches")
    }
    host.rows("set timezone = 'UTC'")
    seeds = {(str(row.id), str(row.message_id)): row.status for row in host.rows(SEED_CHECK)}
    assert len(seeds) == 2 * len(ours) == 2 * len(processed), "it compares each message with every step"
    assert {pair: seeds[pair] for pair in ours} == ours


def test_a_reassigned_next_step_does_not_make_the_step_before_a_mismatch(host: Host, seqdev: Cli) -> None:
    user = host.user()
    first, second = host.device(user), host.device(user)
    sequence, steps = host.simple_sequence(user, steps=2)
    contacts = [
        host.contact(sequence, step, "6012345678", device, timedelta(hours=1))
        for step, device in zip(steps, (first, second), strict=True)
    ]
    for contact, device in zip(contacts, (first, second), strict=True):
        write(host, contact, device, own=True)
    assert audit(seqdev, "mismatches", code=0) == []
    # Nor does it hide one.
    host.rows("update broadcast_messages set device_id = %s", second)
    (row,) = audit(seqdev, "mismatches")
    assert (row["step"], row["cause"]) == (1, "fallback_used")


def test_each_mismatch_says_what_to_do_and_where(processed: dict[str, str | None], seqdev: Cli) -> None:
    rows = {row["cause"]: row for row in audit(seqdev, "mismatches", "--all", "--matches")}
    assert rows["lead_reowned"]["repair"] == "seqdev repair assigned"
    assert rows["assignment_missing"]["repair"] == "seqdev repair missing"
    deleted = rows["device_deleted"]
    assert deleted["repair"] == f"seqdev repair device {deleted['assigned_device_id']} --spread"
    assert (deleted["assigned_device"], deleted["used_device"]) == (None, "B")
    assert (rows["fallback_used"]["sequence"], rows["fallback_used"]["step"]) == ("warm", 1)
    assert rows[None]["repair"] is None


def test_a_tick_leaves_no_mismatch(host: Host, seqdev: Cli) -> None:
    user = host.user()
    sequence, (step, _) = host.simple_sequence(user, steps=2)
    for number in range(5):
        host.contact(sequence, step, f"60123456{number}", host.device(user))
    assert seqdev("tick").code == 0
    rows = audit(seqdev, "mismatches", "--all", "--matches", code=0)
    assert [(row["verdict"], row["writer"]) for row in rows] == [("MATCH", "seqdev")] * 5
    assert seqdev("audit", "mismatches").out == ""


def test_messages_before_the_window_are_not_looked_at(host: Host, seqdev: Cli) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    contact = host.contact(sequence, step, "6012345678", host.device(user))
    write(host, contact, host.device(user), ago="90 minutes")
    assert audit(seqdev, "mismatches", code=0) == []
    assert len(audit(seqdev, "mismatches", "--since", "2h")) == 1
    assert len(seqdev("--timezone", "Asia/Kuala_Lumpur", "audit", "mismatches", "--since", "2h").out) == 0


def test_devices_agrees_with_the_seeds_availability_query(host: Host, seqdev: Cli) -> None:
    user = host.user()
    sequence, (step, later) = host.simple_sequence(user, steps=2)
    for number, status in enumerate(("online", "offline", "online")):
        device = host.device(user, f"device {number}", status)
        for person in range(number * 2):
            host.contact(sequence, step, f"6012345{number}{person}", device, status="completed")
            host.contact(sequence, later, f"6012345{number}{person}", device)
    seeds = {
        (str(row.id), row.device_name, row.status, row.assigned_contacts, row.availability)
        for row in host.rows(SEED_AVAILABILITY)
    }
    rows = audit(seqdev, "devices")
    names = ("device_id", "device", "status", "assigned_contacts", "availability")
    assert {tuple(row[name] for name in names) for row in rows} == seeds


def test_devices_shows_work_limits_and_pace(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user, "A")
    sequence, (step,) = host.simple_sequence(user)
    host.lead(user, device, "6012000000")
    host.contact(sequence, step, "6012000000", None, timedelta(minutes=-30))
    host.contact(sequence, step, "6012000001", device, timedelta(minutes=-10))
    host.contact(sequence, step, "6012000002", device, timedelta(hours=1))
    for status, sent, count in (("pending", None, 4), ("sent", "2 minutes", 3), ("sent", "2 hours", 5)):
        host.rows(
            "insert into broadcast_messages (user_id, device_id, recipient_phone, status, scheduled_at, sent_at)"
            " select %s, %s, '6012', %s, (now() - interval '5 minutes') at time zone 'UTC',"
            " (now() - %s::interval) at time zone 'UTC' from generate_series(1, %s)",
            *(user, device, status, sent, count),
        )
    (row,) = audit(seqdev, "devices", code=0)
    assert (row["due"], row["in_flight"], row["sent_hour"], row["sent_day"]) == (2, 4, 3, 8)
    assert row["room"] == 50 - 4
    assert row["drain"] == 2 * 3600, "six to go at three an hour"
    assert row["trouble"] is None
    assert host.value(
        "select abs(extract(epoch from now() - interval '30 minutes' - %s::timestamptz)) < 60",
        row["oldest_due"],
    )


@pytest.mark.parametrize(
    ("trouble", "status", "queued", "sent"),
    [
        ("zombie", "online", "20 minutes", None),
        ("zombie", "online", "20 minutes", "16 minutes"),
        (None, "online", "20 minutes", "14 minutes"),
        (None, "online", "10 minutes", None),
        ("offline_with_work", "offline", "1 minute", None),
        (None, "offline", None, None),
    ],
)
def test_zombies_and_dead_devices_stand_out(
    host: Host, seqdev: Cli, trouble: str | None, status: str, queued: str | None, sent: str | None
) -> None:
    user = host.user()
    for number in range(3):
        host.device(user, f"healthy {number}")
    device = host.device(user, "suspect", status)
    for state, ago in (("pending", queued), ("sent", sent)):
        if ago:
            host.rows(
                "insert into broadcast_messages (user_id, device_id, recipient_phone, status, scheduled_at, sent_at)"
                " values (%(u)s, %(d)s, '6012', %(s)s::text, (now() - %(t)s::interval) at time zone 'UTC',"
                " case when %(s)s::text = 'sent' then (now() - %(t)s::interval) at time zone 'UTC' end)",
                {"u": user, "d": device, "s": state, "t": ago},
            )
    rows = audit(seqdev, "devices", code=3 if trouble else 0)
    assert [row["trouble"] for row in rows if row["device"] == "suspect"] == [trouble]
    if trouble:
        assert rows[0]["device"] == "suspect"
        assert f"seqdev repair device {device} --spread" in rows[0]["repair"]


def test_if_lost_tells_the_people_and_whether_the_others_can_take_them(host: Host, seqdev: Cli) -> None:
    user = host.user()
    lost = host.device(user, "lost")
    sequence, (step,) = host.simple_sequence(user)
    for number, hours in enumerate((-1, 0.5, 12, 48)):
        host.contact(sequence, step, f"601234567{number}", lost, timedelta(hours=hours))
    host.device(host.user(), "of another user")
    ran = seqdev("audit", "devices", "--if-lost", "lost", "--format", "json")
    found = json.loads(ran.out)
    assert ran.code == 3
    assert (found["people"], found["due_1h"], found["due_24h"]) == (4, 2, 3)
    assert (found["other_devices"], found["room_1h"], found["fits"]) == (0, 0, False)
    host.device(user, "spare")
    ran = seqdev("audit", "devices", "--if-lost", "lost", "--format", "json")
    found = json.loads(ran.out)
    assert (ran.code, found["other_devices"], found["room_1h"], found["room_24h"]) == (0, 1, 50, 800)


def test_each_broken_promise_of_a_contact_is_found(host: Host, seqdev: Cli) -> None:
    user, other = host.user(), host.user()
    device = host.device(user, "A")
    sequence, (step, later) = host.simple_sequence(user, steps=2)
    soon = timedelta(hours=1)
    expected: set[tuple[str, str]] = set()

    def person(finding: str, step_id: UUID | None, assigned: UUID | None, **columns: Any) -> UUID:
        phone = f"60120000{len(expected):02}"
        expected.add((phone, finding))
        return host.contact(sequence, step_id, phone, assigned, columns.pop("due_in", soon), **columns)

    # seqdev has been here before all of this.
    host.rows(
        "insert into seqdev.run (id, command, started_at, version)"
        " values (gen_random_uuid(), 'tick', now() - interval '1 hour', '')"
    )
    done = person("done_no_message", later, device, status="completed")
    host.rows("update sequence_contacts set completed_at = now() at time zone 'UTC' where id = %s", done)
    # The message of another step is not its own.
    write(host, host.contact(sequence, step, "6012000000", device), device, own=True)
    write(host, person("message_not_done", step, device), device, own=True, done=False)
    write(host, person("written_by_other", step, device), device, done=False)
    write(host, person("next_step_missing", step, device), device, own=True)
    host.rows("update leads set trigger = 'OTHER, WARM' where phone = '6012000003'")
    two = person("several_active", step, device)
    host.contact(
        sequence,
        later,
        host.value("select contact_phone from sequence_contacts where id = %s", two),
        device,
        soon,
    )
    person("step_gone", uuid4(), device)
    person("no_device", step, None)
    person("device_missing", step, uuid4())
    person("other_users_device", step, host.device(other))
    stuck = person("stuck", step, device)
    host.rows(
        "update sequence_contacts set processing_started_at = (now() - interval '6 minutes') at time zone 'UTC',"
        " processing_device_id = %s where id = %s",
        *(device, stuck),
    )
    for time in (None, "infinity"):
        never = person("never_due", step, device)
        host.rows("update sequence_contacts set next_trigger_time = %s where id = %s", time, never)
    # Whose time does not matter.
    for number, status in enumerate(("pending", "paused", "completed")):
        other_row = host.contact(sequence, step, f"601288888{number}", device, status=status)
        host.rows("update sequence_contacts set next_trigger_time = null where id = %s", other_row)
    for finding, ago in (("15m", 20), ("1h", 90), ("1d", 60 * 25), ("7d", 60 * 24 * 8)):
        person(f"overdue_{finding}", step, device, due_in=timedelta(minutes=-ago))
    # What is right is not found: done by seqdev, done by another processor that names no step.
    for number, own in enumerate((True, False)):
        contact = host.contact(sequence, later, f"601299999{number}", device)
        write(host, contact, device, own, stepless=not own)
    rows = audit(seqdev, "contacts", "--all")
    assert {(row["phone"], row["finding"]) for row in rows} == expected
    assert len(rows) == len(expected)


@pytest.mark.parametrize("scope", ["sequence", "user", "device"])
def test_who_waits_for_a_pause_is_not_overdue(host: Host, seqdev: Cli, scope: str) -> None:
    user = host.user()
    device, other = host.device(user), host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "6012345678", device, timedelta(days=-2))
    host.contact(sequence, step, "6012345679", None, timedelta(days=-2))
    host.lead(user, device, "6012345679")
    elsewhere, (own,) = host.simple_sequence(host.user())
    host.contact(elsewhere, own, "6012345670", other, timedelta(days=-2))
    host.rule(
        "paused", "until resumed: x", **{scope: {"sequence": sequence, "user": user, "device": device}[scope]}
    )
    found = {
        row["phone"]: row["finding"]
        for row in audit(seqdev, "contacts")
        if row["finding"] != "other_users_device"
    }
    assert found == {"6012345678": "paused", "6012345679": "paused", "6012345670": "overdue_1d"}
    host.rule(
        "paused",
        "until 2000-01-01T00:00:00Z: x",
        **{scope: {"sequence": sequence, "user": user, "device": device}[scope]},
    )
    assert "paused" not in str(audit(seqdev, "contacts"))


def test_a_contact_of_no_sequence_is_found(host: Host, seqdev: Cli) -> None:
    user = host.user()
    host.rows("alter table sequence_contacts drop constraint if exists sequence_contacts_sequence_id_fkey")
    host.contact(uuid4(), uuid4(), "6012345678", host.device(user), timedelta(hours=1))
    (row,) = audit(seqdev, "contacts")
    assert (row["finding"], row["sequence"]) == ("sequence_gone", None)


def test_each_way_a_sequence_cannot_run_is_found(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)

    def sequence(name: str, *steps: tuple[int, str, str], **columns: Any) -> UUID:
        made = host.sequence(user, name, **columns)
        for day, trigger, following in steps:
            host.step(made, day, trigger, following)
        return made

    sequence("right", (1, "R", "R2"), (2, "R2", "CHAIN"))
    sequence("chained", (1, "CHAIN", ""))
    entryless = host.sequence(user, "no_entry_step")
    host.step(entryless, 1, "N", "", is_entry_point=False)
    sequence("looping_trigger", (1, "L", "L2"), (2, "L2", "L3"), (3, "L3", "L2"))
    sequence("dangling_trigger", (1, "G", "NOWHERE"))
    sequence("unreachable_step", (1, "U", ""), (2, "U2", ""))
    host.step(host.sequence(user, "no_content"), 1, "C", "", content=" ")
    sequence("day_gap", (1, "D", "D4"), (4, "D4", ""))
    inactive = sequence("inactive_with_people", (1, "I", ""), status="inactive", is_active=False)
    host.contact(inactive, None, "6012345678", device)
    sequence("status_disagrees", (1, "S", ""), status="inactive")
    rows = audit(seqdev, "sequences")
    assert sorted(row["finding"] for row in rows) == sorted(row["sequence"] for row in rows)
    assert len(rows) == 8
    details = {row["finding"]: (row["step"], row["detail"], row["people"]) for row in rows}
    assert details["looping_trigger"] == (3, "L2", None)
    assert details["dangling_trigger"] == (1, "NOWHERE", None)
    assert details["day_gap"] == (4, "day 1 to 4", None)
    assert details["inactive_with_people"] == (None, None, 1)


def test_each_kind_of_bad_lead_is_found(host: Host, seqdev: Cli) -> None:
    user, other = host.user(), host.user()
    device, others = host.device(user), host.device(other)
    host.simple_sequence(user)
    host.lead(user, device, "6012000000", "WARM")
    host.lead(user, None, "6012000001", "WARM")
    host.lead(user, others, "6012000003", "WARM")
    host.lead(user, device, "call me", "WARM")
    host.lead(user, device, "6012000005", "WARM, WARMEXAMA,")
    for owner, its in ((user, device), (other, others)):
        host.lead(owner, its, "6012000006")
    host.rows("alter table leads drop constraint if exists leads_device_id_fkey")
    host.lead(user, uuid4(), "6012000002", "WARM")
    rows = audit(seqdev, "leads")
    assert {(row["phone"], row["finding"], row["detail"]) for row in rows} == {
        ("6012000001", "no_device", None),
        ("6012000002", "device_missing", None),
        ("6012000003", "other_users_device", None),
        ("call me", "bad_phone", None),
        ("6012000005", "nobody_listens", "WARMEXAMA"),
        ("6012000006", "shared_phone", "with 1 other user"),
    }
    assert len(rows) == 7


def test_one_phone_from_two_devices_is_a_collision_but_not_across_users(host: Host, seqdev: Cli) -> None:
    user, other = host.user(), host.user()
    first, second, others = host.device(user, "A"), host.device(user, "B"), host.device(other, "Z")
    sequence, steps = host.simple_sequence(user, steps=2)
    theirs, (their_step,) = host.simple_sequence(other)
    soon = timedelta(hours=1)
    for step, device in zip(steps, (first, second), strict=True):
        write(host, host.contact(sequence, step, "6012000001", device, soon), device, own=True)
    write(host, host.contact(sequence, steps[0], "6012000002", first, soon), first, own=True)
    host.contact(sequence, steps[1], "6012000002", second)
    write(host, host.contact(sequence, steps[0], "6012000003", first, soon), first, own=True)
    write(host, host.contact(theirs, their_step, "6012000003", others, soon), others, own=True)
    again, (entry,) = host.simple_sequence(user, "AGAIN")
    write(host, host.contact(again, entry, "6012000003", first, soon), first, own=True)
    rows = audit(seqdev, "collisions")
    assert {(row["phone"], row["finding"], row["messages"], row["due"]) for row in rows} == {
        ("6012000001", "written", 2, 0),
        ("6012000002", "due", 1, 1),
    }
    assert {frozenset(row["device_ids"].split()) for row in rows} == {frozenset({str(first), str(second)})}
    assert audit(seqdev, "collisions", "--device", "Z", code=0) == []


def test_messages_that_seqdev_did_not_make_are_found(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    expected = set()
    for number, (finding, makers, stepless) in enumerate(
        (
            (None, [True], False),
            ("other_writer", [False], False),
            ("other_writer", [False], True),
            ("written_twice", [True, False], False),
            ("no_contact", [False], False),
        )
    ):
        contact = host.contact(sequence, step, f"601200000{number}", device)
        for own in makers:
            write(host, contact, device, own, stepless)
        if finding:
            expected.add((f"601200000{number}", finding))
    host.rows("delete from sequence_contacts where contact_phone = '6012000004'")
    host.rows(
        "insert into broadcast_messages (user_id, device_id, campaign_id, recipient_phone) values (%s, %s, 1, '6')",
        *(user, device),
    )
    rows = audit(seqdev, "writers")
    assert {(row["phone"], row["finding"]) for row in rows} == expected
    assert len(rows) == len(expected)


def test_a_clean_database_gives_zero(host: Host, seqdev: Cli) -> None:
    user = host.user()
    sequence, (step, _) = host.simple_sequence(user, steps=2)
    for number in range(3):
        device = host.device(user)
        host.lead(user, device, f"601234567{number}", "WARM")
        host.contact(sequence, step, f"601234567{number}", device)
    assert seqdev("tick").code == 0
    for name in (*NAMES, "all"):
        ran = seqdev("audit", name)
        assert (ran.code, ran.err[:15]) == (0, "seqdev: 0 found"), ran.out


def test_a_user_filter_lets_no_other_users_phone_through(host: Host, seqdev: Cli) -> None:
    """Each user has every kind of trouble, on the same phones and on phones of their own."""
    users = [host.user(), host.user()]
    devices = [(host.device(user), host.device(user)) for user in users]
    for number, user in enumerate(users):
        (first, second), (others, _) = devices[number], devices[1 - number]
        sequence, steps = host.simple_sequence(user, steps=2)
        for phone in (f"60{number}111", "6099999"):
            host.lead(user, None, f"{phone}1", "NOBODY")
            host.lead(user, others, f"{phone}2", "NOBODY")
            for place, used in ((3, second), (4, others)):
                contact = host.contact(sequence, steps[0], f"{phone}{place}", first, timedelta(days=-2))
                write(host, contact, used, done=place == 3)
                write(host, contact, first, own=True, done=False)
            host.contact(sequence, steps[1], f"{phone}5", uuid4(), timedelta(days=-2))
        # A row that says it is the other user's.
        theirs = {"user_id": users[1 - number]}
        contact = host.contact(
            sequence, steps[0], f"60{1 - number}1118", first, timedelta(days=-2), lead=False, **theirs
        )
        write(host, contact, second, done=False)
    for name in NAMES:
        ran = seqdev("audit", name, "--all", "--user", str(users[0]))
        assert ran.code in (0, 3), ran.err
        assert "601111" not in ran.out + ran.err, name
        if name not in ("devices", "sequences", "failed"):
            assert "600111" in ran.out, name
    for option in ("--sequence", "--device"):
        value = host.value(
            "select id::text from sequences where user_id = %s"
            if option == "--sequence"
            else "select id::text from user_devices where user_id = %s limit 1",
            users[1],
        )
        ran = seqdev("audit", "mismatches", "--user", str(users[0]), option, value)
        assert (ran.code, ran.out) == (2, ""), "another user's is not found by its id"


@pytest.mark.parametrize("output", ["table", "json", "jsonl", "csv", "tsv", "markdown"])
def test_hostile_names_are_harmless(host: Host, seqdev: Cli, output: str) -> None:
    user = host.user()
    evil = "=cmd()|\x1b[31m\u202eevil\r\n'--"
    first, second = host.device(user, evil), host.device(user, evil, "offline")
    sequence, (step,) = host.simple_sequence(user)
    host.rows("update sequences set name = %s", evil)
    host.sequence(user, evil, is_active=False)
    contact = host.contact(
        sequence, step, "6012345678", first, timedelta(days=-2), processing_started_at="-infinity"
    )
    host.lead(user, first, "6012345678", evil, name=evil)
    write(host, contact, second, done=False, status="pending")
    failed = write(host, contact, second, done=False, status="failed")
    host.rows("update broadcast_messages set error_message = %s where id = %s", evil, failed)
    for name in NAMES:
        ran = seqdev("audit", name, "--format", output)
        assert ran.code == 3, ran.err
        assert not set(ran.out + ran.err) & set("\x1b\u202e\r")
        if output in ("csv", "tsv"):
            for row in csv.reader(io.StringIO(ran.out), delimiter="," if output == "csv" else "\t"):
                assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)


def test_the_limit_is_announced_and_all_lifts_it(host: Host, seqdev: Cli) -> None:
    user = host.user()
    for number in range(25):
        host.lead(user, None, f"60123456{number:02}")
    ran = seqdev("audit", "leads", "--format", "csv")
    assert (ran.code, len(ran.out.splitlines())) == (3, 21)
    assert "seqdev: 25 found, 20 shown: --limit, or --all" in ran.err
    for options, shown in ((["--limit", "3"], 3), (["--all"], 25), (["--all", "--limit", "4"], 4)):
        ran = seqdev("audit", "leads", "--format", "csv", *options)
        assert len(ran.out.splitlines()) == shown + 1
        assert ("shown" in ran.err) == (shown < 25)
        assert "25 found" in ran.err
    assert json.loads(seqdev("audit", "leads", "--format", "json").out)["found"] == [
        {
            "finding": "no_device",
            "severity": "warning",
            "found": 25,
            "repair": "seqdev leads assign --distribute",
        }
    ]


def test_mask_hides_every_phone(processed: dict[str, str | None], host: Host, seqdev: Cli) -> None:
    for name in NAMES:
        for output in ("table", "json", "csv"):
            ran = seqdev("--mask", "audit", name, "--all", "--format", output)
            assert ran.code in (0, 3), ran.err
            assert not [phone for phone in processed if phone in ran.out], name


def test_an_audit_works_in_a_read_only_transaction(host: Host, seqdev: Cli) -> None:
    database = host.value("select current_database()")
    host.rows(f"alter database {database} set default_transaction_read_only = on")
    for name in (*NAMES, "all"):
        assert seqdev("audit", name).code in (0, 3)


def test_dates_without_an_end_are_no_trouble(host: Host, seqdev: Cli) -> None:
    user = host.user()
    first, second = host.device(user), host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    for number, instant in enumerate(("infinity", "-infinity")):
        contact = host.contact(sequence, step, f"601234567{number}", first)
        write(host, contact, second, done=False)
        host.rows(
            "update sequence_contacts set next_trigger_time = %(t)s, completed_at = %(t)s where id = %(c)s",
            {"t": instant, "c": contact},
        )
    host.rows("update broadcast_messages set created_at = 'infinity'")
    host.rows("update user_devices set last_seen = '-infinity'")
    for name in (*NAMES, "all"):
        ran = seqdev("audit", name, "--format", "json")
        assert ran.code in (0, 3), ran.err


@pytest.mark.thorough
def test_aware_timestamps_are_read_as_they_are(host: Host, seqdev: Cli) -> None:
    for table, column in (
        ("broadcast_messages", "created_at"),
        ("broadcast_messages", "sent_at"),
        ("broadcast_messages", "scheduled_at"),
        ("sequence_contacts", "next_trigger_time"),
        ("sequence_contacts", "completed_at"),
        ("sequence_contacts", "processing_started_at"),
        ("user_devices", "last_seen"),
    ):
        host.rows(f"alter table {table} alter {column} type timestamptz using {column} at time zone 'UTC'")
    host.rows("set timezone = 'UTC'")
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    contact = host.contact(sequence, step, "6012345678", host.device(user))
    write(host, contact, host.device(user), ago="30 minutes")
    for zone in ("UTC", "Asia/Kuala_Lumpur"):
        for name in (*NAMES, "all"):
            assert seqdev("--timezone", zone, "audit", name).code in (0, 3)
        assert (
            len(
                json.loads(seqdev("--timezone", zone, "audit", "mismatches", "--format", "json").out)[
                    "mismatches"
                ]
            )
            == 1
        )


def test_last_seen_may_be_missing(host: Host, seqdev: Cli) -> None:
    host.device(host.user())
    host.rows("alter table user_devices drop column last_seen")
    (row,) = audit(seqdev, "devices", code=0)
    assert row["last_seen"] is None


@pytest.mark.thorough
@pytest.mark.cases(2)
@pytest.mark.parametrize("instant", ["0044-03-15 BC", "294276-12-31", "-infinity", "infinity"])
def test_instants_outside_the_calendar_stop_no_command(host: Host, seqdev: Cli, instant: str) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    contact = host.contact(sequence, step, "6012345678", host.device(user))
    host.rows("update sequence_contacts set next_trigger_time = %s where id = %s", instant, contact)
    host.rows("update user_devices set last_seen = %s", instant)
    for argv in (
        *(("audit", name) for name in (*NAMES, "all")),
        ("tick", "--dry-run"),
        ("explain", "6012345678"),
        ("explain", "6012345678", "--format", "json"),
        ("tick",),
    ):
        assert seqdev(*argv).code in (0, 3), argv


@pytest.mark.parametrize(
    "argv",
    [
        ("audit", "contacts", "--user", ""),
        ("audit", "devices", "--if-lost", ""),
        ("enroll", "--yes", "--device", ""),
        ("repair", "stuck", "--yes", "--user", ""),
        ("explain", "6012345678", "--user", ""),
    ],
)
def test_an_empty_name_is_nobody_not_everybody(host: Host, seqdev: Cli, argv: tuple[str, ...]) -> None:
    host.device(host.user())
    ran = seqdev(*argv)
    assert (ran.code, ran.out) == (2, "")
    assert "''" in ran.err
