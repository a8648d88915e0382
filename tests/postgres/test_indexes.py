"""``seqdev db check`` and ``db upgrade`` on keys and indexes: judged by columns and predicate, not by name."""

import json
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.world.command import Cli
from tests.world.host import Host

Connect = Callable[[str], "psycopg.Connection[Any]"]

# A host's index that does as well, in place of the one that seqdev makes.
AS_GOOD = {
    "the same by another name": (
        "seqdev_contacts_due",
        "create index host_due on sequence_contacts (assigned_device_id, next_trigger_time) where status = 'active'",
    ),
    "more columns behind": (
        "seqdev_messages_person",
        "create index host_person on broadcast_messages (recipient_phone, sequence_id, created_at) include (status)",
    ),
    "backwards": (
        "seqdev_messages_created",
        "create index on broadcast_messages (created_at desc nulls last)",
    ),
    "another order of the values": (
        "seqdev_messages_in_flight",
        "create index on broadcast_messages (device_id, scheduled_at)"
        " where status in ('processing', 'queued', 'pending')",
    ),
    "written with not in": (
        "seqdev_messages_sent",
        "create index on broadcast_messages (device_id, sent_at)"
        " where status not in ('pending', 'queued', 'processing', 'failed') and sent_at is not null",
    ),
    "a unique constraint's": ("seqdev_leads_phone", "alter table leads add unique (phone, user_id, niche)"),
    "the primary key's": (
        "seqdev_contacts_phone",
        "alter table sequence_contacts drop constraint sequence_contacts_pkey, add unique (id),"
        " add primary key (contact_phone, id)",
    ),
}

# A host's index that looks alike, and by which the rows are not found.
NOT_AS_GOOD = {
    "all rows": (
        "seqdev_contacts_due",
        "create index on sequence_contacts (assigned_device_id, next_trigger_time)",
    ),
    "other rows": (
        "seqdev_contacts_due",
        "create index on sequence_contacts (assigned_device_id, next_trigger_time) where status = 'Active'",
    ),
    "fewer rows": (
        "seqdev_contacts_due",
        "create index on sequence_contacts (assigned_device_id, next_trigger_time)"
        " where status = 'active' and retry_count = 0",
    ),
    "some rows, where all are needed": (
        "seqdev_leads_phone",
        "create index on leads (phone) where device_id is not null",
    ),
    "columns in another order": (
        "seqdev_messages_person",
        "create index on broadcast_messages (sequence_id, recipient_phone)",
    ),
    "too few columns": ("seqdev_messages_person", "create index on broadcast_messages (recipient_phone)"),
    "an expression": ("seqdev_leads_phone", "create index on leads (lower(phone))"),
    "a hash": ("seqdev_leads_phone", "create index on leads using hash (phone)"),
    "another ordering": ("seqdev_leads_phone", "create index on leads (phone varchar_pattern_ops)"),
}


def findings(seqdev: Cli) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code of ``db check``, and what it finds that is not in order."""
    ran = seqdev("db", "check", "--format", "json")
    return ran.code, {one["item"]: one for one in json.loads(ran.out)}


@pytest.mark.thorough
@pytest.mark.cases(3)
@pytest.mark.parametrize("case", AS_GOOD)
def test_an_index_that_does_as_well_counts_by_any_name(case: str, host: Host, seqdev: Cli) -> None:
    own, made = AS_GOOD[case]
    host.rows(f"drop index {own}")
    assert findings(seqdev)[1].keys() == {f"index {own}"}
    host.rows(made)
    assert findings(seqdev) == (0, {})
    upgraded = seqdev("db", "upgrade", "--yes")
    assert (upgraded.code, upgraded.err) == (0, "seqdev: nothing to do\nseqdev: the database is ready\n")


@pytest.mark.thorough
@pytest.mark.cases(4)
@pytest.mark.parametrize("case", NOT_AS_GOOD)
def test_an_index_by_which_the_rows_are_not_found_does_not_count(case: str, host: Host, seqdev: Cli) -> None:
    own, made = NOT_AS_GOOD[case]
    host.rows(f"drop index {own}")
    host.rows(made)
    code, found = findings(seqdev)
    assert (code, set(found)) == (3, {f"index {own}"})
    assert found[f"index {own}"]["remedy"].startswith(f"create index concurrently if not exists {own} ")


def test_indexes_by_phone_are_built_with_room_for_the_writes_of_the_host(host: Host) -> None:
    found = host.rows(
        "select relname from pg_class where relkind = 'i' and relname ~ '^seqdev' and reloptions = '{fillfactor=70}'"
    )
    assert {name for (name,) in found} == {
        "seqdev_contacts_phone",
        "seqdev_leads_phone",
        "seqdev_messages_person",
    }


@pytest.mark.thorough
@pytest.mark.cases(1)
@pytest.mark.parametrize("case", ["other rows", "columns in another order", "an expression"])
def test_an_index_of_the_right_name_on_something_else_is_made_anew(
    case: str, host: Host, seqdev: Cli
) -> None:
    own, made = NOT_AS_GOOD[case]
    before = host.value(f"select pg_get_indexdef('{own}'::regclass)")
    host.rows(f"drop index {own}")
    host.rows(made.replace("create index on", f"create index {own} on"))
    code, found = findings(seqdev)
    assert (code, found[f"index {own}"]["status"]) == (3, "advised")
    assert found[f"index {own}"]["remedy"] == f"drop index concurrently if exists public.{own}"
    assert f"; {own} is " in found[f"index {own}"]["why"]
    upgraded = seqdev("db", "upgrade", "--yes")
    assert upgraded.code == 0, upgraded.err
    assert findings(seqdev) == (0, {})
    assert host.value(f"select pg_get_indexdef('{own}'::regclass)") == before


@pytest.mark.thorough
def test_a_name_that_a_constraint_has_taken_is_left_to_a_person(host: Host, seqdev: Cli) -> None:
    host.rows("drop index seqdev_leads_phone")
    host.rows("alter table leads add constraint seqdev_leads_phone unique (name, phone)")
    code, found = findings(seqdev)
    assert (code, set(found)) == (3, {"index seqdev_leads_phone"})
    one = found["index seqdev_leads_phone"]
    assert one["remedy"] is None
    assert one["why"].endswith(
        "; seqdev_leads_phone is on (name, phone), and is a constraint's: give that another name"
    )
    upgraded = seqdev("db", "upgrade", "--yes")
    assert (upgraded.code, upgraded.out) == (0, "")
    host.rows("alter table leads drop constraint seqdev_leads_phone")
    host.rows("alter table leads add constraint host_key unique (name, phone)")
    assert seqdev("db", "upgrade", "--yes").code == 0
    assert findings(seqdev) == (0, {})


KEY = "sequence_contacts unique (contact_phone, sequence_id, sequence_stepid)"

# In place of the key of one row per person and step: whether seqdev can write with it.
KEYS = {
    "by an index, in another order": (
        "create unique index on sequence_contacts (sequence_stepid, sequence_id, contact_phone)",
        True,
    ),
    "with more columns inside": (
        "create unique index on sequence_contacts (sequence_id, contact_phone, sequence_stepid) include (status)",
        True,
    ),
    "of some rows": (
        "create unique index on sequence_contacts (sequence_id, contact_phone, sequence_stepid)"
        " where status = 'active'",
        False,
    ),
    "with one column more": (
        "create unique index on sequence_contacts (sequence_id, contact_phone, sequence_stepid, user_id)",
        False,
    ),
    "not unique": ("create index on sequence_contacts (sequence_id, contact_phone, sequence_stepid)", False),
    "checked at COMMIT": (
        "alter table sequence_contacts add unique (sequence_id, contact_phone, sequence_stepid)"
        " deferrable initially deferred",
        False,
    ),
}


@pytest.mark.cases(3)
@pytest.mark.parametrize("case", KEYS)
def test_check_and_tick_agree_on_keys(case: str, host: Host, seqdev: Cli) -> None:
    made, good = KEYS[case]
    (name,) = host.rows(
        "select conname from pg_constraint where conrelid = 'sequence_contacts'::regclass and contype = 'u'"
    )[0]
    host.rows(f"alter table sequence_contacts drop constraint {name}")
    host.rows(made)
    code, found = findings(seqdev)
    assert (code, KEY in found) == ((0, False) if good else (10, True))
    assert seqdev("tick").code == code
    if "deferrable" in made:
        # ON CONFLICT refuses it even beside another key.
        assert seqdev("db", "upgrade", "--yes").code == 10
        host.rows(
            "alter table sequence_contacts drop constraint "
            + next(item.split()[-1] for item in found if "constraint" in item)
        )
    assert seqdev("db", "upgrade", "--yes").code == 0
    assert findings(seqdev) == (0, {})
    assert seqdev("tick").code == 0


def test_the_name_of_a_missing_key_may_be_taken(host: Host, seqdev: Cli) -> None:
    (name,) = host.rows(
        "select conname from pg_constraint where conrelid = 'sequence_contacts'::regclass and contype = 'u'"
    )[0]
    host.rows(f"alter table sequence_contacts drop constraint {name}")
    host.rows("create index seqdev_contacts_step on sequence_contacts (sequence_stepid)")
    code, found = findings(seqdev)
    assert (code, found[KEY]["status"]) == (10, "wrong")
    assert found[KEY]["remedy"] == "drop index concurrently if exists public.seqdev_contacts_step"
    assert seqdev("db", "upgrade", "--yes").code == 0
    assert findings(seqdev) == (0, {})
    assert seqdev("tick").code == 0


def test_an_index_that_another_session_is_building_is_waited_for(
    host: Host, database: str, connect: Connect, seqdev: Cli
) -> None:
    host.rows("drop index seqdev_leads_phone")
    holder, builder = connect(database), connect(database)
    with holder.transaction():
        holder.execute("insert into users default values")
        holder.execute("lock table leads in row exclusive mode")
        build = "create index concurrently seqdev_leads_phone on leads (phone)"
        thread = threading.Thread(target=builder.execute, args=(build.encode(),))
        thread.start()
        while not host.value("select count(*) from pg_stat_progress_create_index"):
            pass
        _, found = findings(seqdev)
    thread.join()
    assert found["index seqdev_leads_phone"]["why"].endswith("; another session is building it")
    assert found["index seqdev_leads_phone"]["remedy"] is None
    assert findings(seqdev) == (0, {})


def test_the_list_of_values_may_be_of_any_text_type(host: Host, seqdev: Cli) -> None:
    """The server writes another predicate back for each type."""
    host.rows("create domain message_status as text")
    for kind in ("text", "varchar(20)", "message_status"):
        host.rows(f"alter table broadcast_messages alter column status type {kind}")
        host.rows(f"alter table sequence_contacts alter column status type {kind}")
        assert findings(seqdev) == (0, {})
