"""``seqdev db upgrade`` puts people where they stand, whichever column their host moves on, and asks where it cannot know."""

import json
from typing import Any

import psycopg
import pytest

from tests.world.command import Cli
from tests.world.host import Connect
from tests.world.old_hosts import ONE_ROW_PER_PERSON, ROWS, TABLES, everything

pytestmark = pytest.mark.thorough

SEQUENCE = "00000000-0000-4000-8000-0000000000a1"
STEP = "00000000-0000-4000-8000-00000000005{}"


@pytest.fixture
def old_host(empty_database: str, connect: Connect) -> "psycopg.Connection[Any]":
    """A host that keeps one row a person, with a sequence of three steps and nobody in it."""
    host = connect(empty_database)
    for script in (TABLES.format(instant="timestamp"), ROWS, ONE_ROW_PER_PERSON):
        host.execute(script.encode())
    host.execute("delete from sequence_contacts")
    host.execute("update sequence_steps set next_trigger = 'warm 3' where day_number = 2")
    host.execute(
        "insert into sequence_steps (id, sequence_id, day_number, trigger, trigger_delay_hours, is_entry_point, content)"
        f" values ('{STEP.format(3)}', '{SEQUENCE}', 3, 'warm 3', 24, false, 'three')".encode()
    )
    return host


def put(host: "psycopg.Connection[Any]", number: int, **columns: object) -> None:
    columns = {"status": "active", **columns}
    names = "".join(f", {name}" for name in columns)
    marks = ", %s" * len(columns)
    host.execute(
        f"insert into sequence_contacts (sequence_id, contact_phone, next_trigger_time{names})"
        f" values ('{SEQUENCE}', '60120000{number}', now() at time zone 'UTC' - interval '1 hour'{marks})".encode(),
        [*columns.values()],
    )


def days(host: "psycopg.Connection[Any]") -> dict[str, int | None]:
    """The day of the step that each contact has, by the end of its phone."""
    return dict(
        host.execute(
            "select right(contact_phone, 3), st.day_number from sequence_contacts sc"
            " left join sequence_steps st on st.id = sc.sequence_stepid"
        ).fetchall()
    )


def test_where_only_the_trigger_moves_on_the_upgrade_asks_and_nobody_gets_the_first_message_again(
    old_host: "psycopg.Connection[Any]", seqdev: Cli
) -> None:
    old_host.execute("alter table sequence_contacts add current_day int default 0")
    put(old_host, 100, current_step=1, current_day=1, current_trigger="WARM")
    put(old_host, 101, current_step=1, current_day=3, current_trigger="warm 3")
    put(old_host, 102, current_step=1, current_day=2, current_trigger="warm 2")
    before = everything(old_host)

    ran = seqdev("db", "upgrade", "--yes", "--format", "json")
    assert ran.code == 2
    assert "of 2 contacts, trigger, day and step number name different steps" in ran.err
    assert "--place-by trigger|day|step" in ran.err
    (counted,) = (one for one in json.loads(ran.out) if one["item"] == "sequence_contacts: the step of each")
    assert "1 gets the step" in counted["why"]
    assert "2 have values that name different steps" in counted["why"]
    assert everything(old_host) == before

    assert seqdev("db", "upgrade", "--yes", "--place-by", "trigger").code == 0
    assert days(old_host) == {"100": 1, "101": 3, "102": 2}
    assert json.loads(seqdev("tick", "--format", "json").out)["queued"] == 3
    assert old_host.execute(
        "select right(recipient_phone, 3), content from broadcast_messages order by 1"
    ).fetchall() == [("100", "one"), ("101", "three"), ("102", "two")]


@pytest.mark.parametrize(("by", "day"), [("trigger", 3), ("day", 2), ("step", 1)])
def test_what_comes_first_is_what_was_said(
    by: str, day: int, old_host: "psycopg.Connection[Any]", seqdev: Cli
) -> None:
    old_host.execute("alter table sequence_contacts add current_day int")
    put(old_host, 100, current_step=1, current_day=2, current_trigger="warm 3")
    put(old_host, 101, current_step=2, current_trigger="warm 2")
    assert seqdev("db", "upgrade", "--yes", "--place-by", by).code == 0
    assert days(old_host) == {"100": day, "101": 2}


def test_without_a_trigger_the_day_decides_and_without_a_day_the_step(
    old_host: "psycopg.Connection[Any]", seqdev: Cli
) -> None:
    old_host.execute("alter table sequence_contacts add current_day int")
    put(old_host, 100, current_step=0, current_day=2, current_trigger="")
    put(old_host, 101, current_step=3)
    assert seqdev("db", "upgrade", "--yes").code == 0
    assert days(old_host) == {"100": 2, "101": 3}


def test_who_cannot_be_placed_stays_untouched_and_is_listed(
    old_host: "psycopg.Connection[Any]", seqdev: Cli
) -> None:
    old_host.execute(
        "insert into sequence_steps (sequence_id, day_number, trigger) values (%s, 7, 'twice'), (%s, 8, 'twice')",
        [SEQUENCE, SEQUENCE],
    )
    put(old_host, 100, current_step=9)
    put(old_host, 101)
    put(old_host, 102, current_trigger="twice")
    put(old_host, 103, current_step=1, current_trigger="a step that was deleted")
    put(old_host, 104, current_step=2)
    rows = "select to_jsonb(sc) - 'sequence_stepid' from sequence_contacts sc order by id"
    before = old_host.execute(rows).fetchall()

    listed = seqdev("db", "places", "--format", "json")
    assert listed.code == 3
    assert "4 contacts" in listed.err
    found = {one["phone"][-3:]: (one["why"], one["by_step"], one["step"]) for one in json.loads(listed.out)}
    assert found == {
        "100": ("no_step", None, None),
        "101": ("no_step", None, None),
        "102": ("several_steps", None, None),
        "103": ("disagree", 1, None),
    }
    assert seqdev("db", "upgrade", "--yes", "--place-by", "trigger").code == 0
    # The trigger was to decide, and it names nothing.
    assert days(old_host) == {"100": None, "101": None, "102": None, "103": None, "104": 2}
    assert old_host.execute(rows).fetchall() == before
    assert json.loads(seqdev("tick", "--format", "json").out)["queued"] == 1
    after = seqdev("--mask", "db", "places", "--limit", "1", "--place-by", "trigger")
    assert after.code == 3
    assert "60120000" not in after.out
    assert "the first 1 of 4 contacts" in after.err
    assert seqdev("db", "places", "--place-by", "step").code == 3


def test_who_has_finished_needs_no_step_and_is_asked_about_by_nobody(
    old_host: "psycopg.Connection[Any]", seqdev: Cli
) -> None:
    put(old_host, 100, current_step=1, status="completed", completed_at="2025-07-01")
    put(old_host, 101, current_step=1, status="sent", current_trigger="")
    put(old_host, 102, current_step=2)
    assert seqdev("db", "upgrade", "--yes").code == 0
    assert days(old_host) == {"100": None, "101": None, "102": 2}
    assert seqdev("db", "places").code == 0


def test_rows_a_step_get_each_their_own_and_none_of_them_that_of_another(
    old_host: "psycopg.Connection[Any]", seqdev: Cli
) -> None:
    old_host.execute(
        "alter table sequence_contacts drop constraint sequence_contacts_sequence_id_contact_phone_key"
    )
    put(old_host, 100, current_step=1, status="completed")
    put(old_host, 100, current_step=2)
    put(old_host, 101, current_step=1, sequence_stepid=STEP.format(1))
    put(old_host, 101, current_step=1)
    put(old_host, 102, current_step=3)
    put(old_host, 102, current_step=3)
    assert seqdev("db", "upgrade", "--yes").code == 0
    assert old_host.execute(
        "select right(contact_phone, 3), current_step, st.day_number from sequence_contacts sc"
        " left join sequence_steps st on st.id = sc.sequence_stepid order by 1, 2, 3"
    ).fetchall() == [
        ("100", 1, 1),
        ("100", 2, 2),
        ("101", 1, 1),
        ("101", 1, None),
        ("102", 3, None),
        ("102", 3, None),
    ]
    listed = json.loads(seqdev("db", "places", "--format", "json").out)
    assert [one["why"] for one in listed] == ["step_taken"] * 3


def test_more_people_than_a_batch_are_all_placed(
    old_host: "psycopg.Connection[Any]", seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqdev.postgres.places.BATCH", 7)
    for number in range(100, 140):
        put(old_host, number, current_step=number % 4)
    assert seqdev("db", "upgrade", "--yes").code == 0
    assert days(old_host) == {str(number): number % 4 or None for number in range(100, 140)}
