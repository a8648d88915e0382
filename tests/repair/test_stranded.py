"""Rows made beforehand that nobody has activated: found, activated, sent once."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.world.command import Cli
from tests.world.host import Host
from tests.world.repairs import message, only, repair, run_of, snapshot

PHONE = "6012000001"


class Beforehand:
    """A person whose rows the host has made all at once; the first step is done, and the second waits."""

    def __init__(self, host: Host, done: str = "completed", ago: str = "3 hours") -> None:
        self.host = host
        user = host.user()
        self.device = host.device(user, "A")
        sequence, steps = host.simple_sequence(user, steps=3)
        host.lead(user, self.device, PHONE, "WARM")
        self.first, self.second, self.third = (
            host.contact(sequence, step, PHONE, self.device, timedelta(hours=hours), status=status)
            for step, hours, status in zip(steps, (-3, -2, -1), (done, "pending", "pending"), strict=True)
        )
        message(host, self.first, self.device, ago)
        host.rows(
            "update sequence_contacts set completed_at = now() at time zone 'UTC' - %s::interval where id = %s",
            *(ago, self.first),
        )

    def due(self, row: UUID) -> Any:
        return self.host.value("select next_trigger_time from sequence_contacts where id = %s", row)


def found(seqdev: Cli) -> list[tuple[str, str]]:
    rows = json.loads(seqdev("audit", "contacts", "--all", "--format", "json").out)["contacts"]
    return [(row["contact_id"], row["repair"]) for row in rows if row["finding"] == "stranded"]


@pytest.mark.parametrize("done", ["completed", "failed", "sent"])
def test_the_next_step_is_activated_by_the_delay_after_the_step_before(
    host: Host, seqdev: Cli, done: str
) -> None:
    one = Beforehand(host, done)
    assert found(seqdev) == [(str(one.second), "seqdev repair stranded")]
    due = host.value(
        "select completed_at + interval '24 hours' from sequence_contacts where id = %s", one.first
    )
    before = snapshot(host)
    with only(
        host,
        {
            (one.second, "status"): "active",
            (one.second, "next_trigger_time"): due,
        },
    ):
        result = repair(seqdev, "stranded")
    assert found(seqdev) == []
    repair(seqdev, "undo", run_of(result))
    assert snapshot(host) == before


def test_the_rows_own_time_counts_where_it_is_later(host: Host, seqdev: Cli) -> None:
    one = Beforehand(host, ago="3 days")
    host.rows(
        "update sequence_contacts set next_trigger_time = now() at time zone 'UTC' + interval '5 hours'"
    )
    own = one.due(one.second)
    with only(host, {(one.second, "status"): "active"}):
        repair(seqdev, "stranded")
    assert one.due(one.second) == own


def test_stranded_people_get_every_step_once(host: Host, seqdev: Cli) -> None:
    Beforehand(host, ago="3 days")
    repair(seqdev, "stranded")
    for _ in range(3):
        assert seqdev("tick").code == 0
        host.make_all_due()
    assert host.value("select count(*) from broadcast_messages") == 3
    assert host.broken_promises() == []


def test_who_has_an_active_row_or_one_not_done_before_is_not_stranded(host: Host, seqdev: Cli) -> None:
    one = Beforehand(host)
    host.rows("update sequence_contacts set status = 'active' where id = %s", one.third)
    assert found(seqdev) == []
    host.rows("update sequence_contacts set status = 'pending' where id = %s", one.third)
    host.rows("update sequence_contacts set status = 'paused' where id = %s", one.first)
    assert found(seqdev) == []
    with only(host, {}):
        repair(seqdev, "stranded")


def test_what_another_processor_has_sent_is_not_sent_again(host: Host, seqdev: Cli) -> None:
    one = Beforehand(host, ago="3 days")
    message(host, one.second, one.device, "2 days", own=False)
    repair(seqdev, "stranded")
    assert seqdev("tick").code == 0
    rows = dict(host.rows("select id, status from sequence_contacts"))
    assert (rows[one.second], rows[one.third]) == ("completed", "active")
    assert host.value("select count(*) from broadcast_messages") == 2


def test_an_index_of_one_active_row_is_no_trouble(host: Host, seqdev: Cli) -> None:
    Beforehand(host)
    host.rows(
        "create unique index one_active on sequence_contacts (sequence_id, contact_phone) where status = 'active'"
    )
    assert repair(seqdev, "stranded")["summary"]["changed"] == 1


def test_where_the_step_that_was_done_is_deleted_the_days_tell_the_order(host: Host, seqdev: Cli) -> None:
    """As after an edit of the sequence, and a repair of the rows of deleted steps."""
    one = Beforehand(host)
    for day, row in enumerate((one.first, one.second, one.third), 1):
        host.rows("update sequence_contacts set current_step = %s where id = %s", day, row)
    host.rows("update sequence_contacts set sequence_stepid = %s where id = %s", uuid4(), one.first)
    assert found(seqdev) == [(str(one.second), "seqdev repair stranded")]
    result = repair(seqdev, "stranded")
    assert [row["row_id"] for row in result["rows"]] == [str(one.second)]
    assert one.due(one.second) == host.value(
        "select completed_at + interval '24 hours' from sequence_contacts where id = %s", one.first
    )
