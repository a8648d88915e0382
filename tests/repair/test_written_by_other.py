"""What another processor has written is not written again, and the person goes on with the next step."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.world.command import Cli
from tests.world.host import Host
from tests.world.repairs import message, only, repair, run_of, snapshot

PHONE = "6012000001"


def scene(host: Host, age: str = "10 minutes") -> tuple[UUID, UUID]:
    """A person whose first step is due, and was written by another processor: the row, and the device."""
    user = host.user()
    device = host.device(user, "A")
    sequence, (step, _) = host.simple_sequence(user, steps=2)
    row = host.contact(sequence, step, PHONE, device)
    host.lead(user, device, PHONE, "WARM")
    message(host, row, device, age, own=False)
    return row, device


def found(seqdev: Cli) -> list[Any]:
    rows = json.loads(seqdev("audit", "contacts", "--all", "--format", "json").out)["contacts"]
    return [row["repair"] for row in rows if row["finding"] == "written_by_other"]


@pytest.mark.thorough
def test_the_next_tick_completes_the_row_without_a_message(host: Host, seqdev: Cli) -> None:
    row, _ = scene(host)
    (advice,) = found(seqdev)
    assert advice.endswith("seqdev repair written-by-other")
    before = snapshot(host)
    written = host.value("select created_at from broadcast_messages")
    with only(host, {(row, "processing_started_at"): written}):
        result = repair(seqdev, "written-by-other")
    repair(seqdev, "undo", run_of(result))
    assert snapshot(host) == before
    repair(seqdev, "written-by-other")
    assert seqdev("tick").code == 0
    assert host.value("select count(*) from broadcast_messages") == 1
    assert found(seqdev) == []
    statuses = [
        one.status for one in host.rows("select status from sequence_contacts order by next_trigger_time")
    ]
    assert statuses == ["completed", "active"]


def test_a_row_that_its_processor_is_still_at_is_left_alone(host: Host, seqdev: Cli) -> None:
    row, device = scene(host, "1 minute")
    host.rows(
        "update sequence_contacts set processing_device_id = %s, processing_started_at = now() at time zone 'UTC'"
        " where id = %s",
        *(device, row),
    )
    with only(host, {}):
        result = repair(seqdev, "written-by-other", code=3)
    assert result["summary"]["reasons"] == {"claimed": 1}


def test_messages_of_seqdev_and_of_other_steps_mark_nothing(host: Host, seqdev: Cli) -> None:
    row, device = scene(host)
    host.rows("delete from broadcast_messages")
    message(host, row, device)
    other = host.value("select id from sequence_steps where day_number = 2")
    later = host.contact(host.value("select id from sequences"), other, PHONE, device, timedelta(hours=1))
    assert found(seqdev) == []
    message(host, later, device, own=False)
    assert len(found(seqdev)) == 1
    result = repair(seqdev, "written-by-other")
    assert [one["row_id"] for one in result["rows"]] == [str(later)]
