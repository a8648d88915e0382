"""What was done before seqdev came, or is over by its own word, is no finding, and no advice writes to people again."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from seqdev.postgres.queries import ROOT
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.repairs import message


def contacts(seqdev: Cli, code: int = 0) -> list[tuple[str, str]]:
    ran = seqdev("audit", "contacts", "--all", "--format", "json")
    assert ran.code == code, ran.err
    return [(row["phone"], row["finding"]) for row in json.loads(ran.out)["contacts"]]


def done(host: Host, sequence: UUID, step: UUID, phone: str, device: UUID, ago: str = "1 minute") -> UUID:
    """A row that was done a while ago."""
    contact = host.contact(sequence, step, phone, device, status="completed")
    host.rows(
        "update sequence_contacts set completed_at = now() at time zone 'UTC' - %s::interval where id = %s",
        *(ago, contact),
    )
    return contact


def test_what_was_done_before_the_first_tick_is_no_finding(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, steps = host.simple_sequence(user, steps=2)
    for number in range(3):
        host.lead(user, device, f"601200000{number}", "WARM")
    done(host, sequence, steps[1], "6012000000", device)
    done(host, sequence, steps[0], "6012000001", device)
    assert contacts(seqdev) == [], "no tick has ever run here"
    assert seqdev("tick").code == 0
    assert contacts(seqdev) == [], "the tick came later"
    # A host that never writes completed_at.
    undated = done(host, sequence, steps[1], "6012000002", device)
    host.rows("update sequence_contacts set completed_at = null where id = %s", undated)
    assert contacts(seqdev) == []
    host.rows("update seqdev.run set started_at = now() - interval '1 hour'")
    assert contacts(seqdev, code=3) == [
        ("6012000000", "done_no_message"),
        ("6012000001", "done_no_message"),
        ("6012000001", "next_step_missing"),
    ]


def test_people_who_finished_miss_nothing_when_a_step_is_appended(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (first, last) = host.simple_sequence(user, steps=2)
    for number in range(3):
        host.lead(user, device, f"601200000{number}", "WARM")
        host.contact(sequence, last, f"601200000{number}", device)
    # Under way: seqdev has not taken the trigger from this one, whose next row somebody has deleted.
    host.contact(sequence, first, "6012000009", device)
    host.lead(user, device, "6012000009", "WARM")
    assert seqdev("tick").code == 0
    host.rows("delete from sequence_contacts where contact_phone = '6012000009' and status = 'active'")
    host.rows("update sequence_steps set next_trigger = 'WARM_3' where id = %s", last)
    host.step(sequence, 3, "WARM_3", "")
    assert contacts(seqdev, code=3) == [("6012000009", "next_step_missing")]


def test_who_ended_by_seqdevs_own_word_misses_nothing(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence = host.sequence(user)
    step = host.step(sequence, 1, "WARM", "NOWHERE")
    host.contact(sequence, step, "6012000000", device)
    host.lead(user, device, "6012000000", "WARM")
    assert seqdev("tick").code == 0
    host.rows("update leads set trigger = 'WARM'")
    host.step(sequence, 2, "NOWHERE", "")
    assert host.value("select last_error from sequence_contacts").startswith("ended: ")
    assert contacts(seqdev) == []


FORBIDDEN = ("set it active", "insert the row", "make it active again")


@pytest.mark.parametrize(
    "name", ["contacts", "mismatches", "devices", "writers", "collisions", "failed", "sequences"]
)
def test_no_advice_tells_to_make_active_what_was_done(name: str) -> None:
    text = " ".join((ROOT / "audit" / f"{name}.sql").read_text().split())
    assert [words for words in FORBIDDEN if words in text] == []


def test_a_row_without_its_message_is_left_as_it_is(host: Host, seqdev: Cli) -> None:
    """The host deletes a device's messages with the device: they were sent."""
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    host.lead(user, device, "6012000000", "WARM")
    contact = host.contact(sequence, step, "6012000000", device)
    assert seqdev("tick").code == 0
    host.rows("delete from broadcast_messages")
    (found,) = found_by(seqdev, "done_no_message")
    assert "leave the row as it is" in found["repair"]
    assert host.value("select status from sequence_contacts where id = %s", contact) == "completed"
    explained = seqdev("explain", "6012000000").out
    assert "may have been sent" in explained


def found_by(seqdev: Cli, finding: str) -> list[dict[str, Any]]:
    found = json.loads(seqdev("audit", "contacts", "--all", "--format", "json").out)["contacts"]
    return [row for row in found if row["finding"] == finding]


def test_another_users_healthy_device_keeps_its_people(host: Host, seqdev: Cli) -> None:
    """A row that names another user's device: the advice is about that user's people alone."""
    user, other = host.user(), host.user()
    own, theirs = host.device(user, "OWN"), host.device(other, "THEIRS")
    host.device(other, "SPARE")
    sequence, (step,) = host.simple_sequence(user)
    stray = host.contact(sequence, step, "6012000000", theirs, timedelta(hours=1))
    host.lead(user, own, "6012000000")
    their_sequence, (their_step,) = host.simple_sequence(other)
    rightly = host.contact(their_sequence, their_step, "6012000001", theirs, timedelta(hours=1))
    host.lead(other, theirs, "6012000001")
    (found,) = found_by(seqdev, "other_users_device")
    assert seqdev(*found["repair"].split()[1:], "--yes").code == 0
    assigned = dict(host.rows("select id, assigned_device_id from sequence_contacts"))
    assert assigned == {stray: own, rightly: theirs}
    assert host.value("select device_id from leads where user_id = %s", other) == theirs
    assert found_by(seqdev, "other_users_device") == []


def test_a_message_of_another_processor_is_not_sent_again_by_a_repair(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    contact = host.contact(
        sequence, step, "6012000000", device, status="set_aside", last_error="quarantined: x"
    )
    host.lead(user, device, "6012000000")
    message(host, contact, device, own=False)
    ran = seqdev("repair", "quarantined", "--yes", "--format", "json")
    assert ran.code == 0, ran.err
    row = host.rows("select status, processing_started_at from sequence_contacts")[0]
    assert row.status == "active"
    assert row.processing_started_at == host.value("select created_at from broadcast_messages")
