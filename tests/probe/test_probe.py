"""``seqdev db check`` tries an enrolment and the claims of all steps, and leaves nothing behind."""

import json
import time
from typing import Any

import psycopg
import pytest

from tests.world import citus
from tests.world.command import Cli
from tests.world.host import Connect, Host
from tests.world.repairs import snapshot

KEYED = pytest.mark.plain("each unique key holds the phone")

RAISES = """
create function {name}() returns trigger language plpgsql as $$
begin
    {body}
    return new;
end $$;
create trigger {name} before {event} for each row execute function {name}();
"""


def world(host: Host, steps: int = 3) -> None:
    """An active sequence with a device and a lead, and one that is not active."""
    user = host.user()
    device = host.device(user)
    host.simple_sequence(user, steps=steps)
    host.lead(user, device, "60123456789")
    other = host.sequence(user, status="draft")
    host.step(other, 1, "DRAFT")


def check(seqdev: Cli, *options: str) -> tuple[int, dict[str, Any], str]:
    """The exit code of ``db check``, what it found in the probe, and what it said."""
    ran = seqdev("db", "check", "--ok", "--format", "json", *options)
    found = {one["item"]: one for one in json.loads(ran.out) if one["item"].startswith("probe")}
    return ran.code, found, ran.err


def test_a_probe_goes_through_every_step_and_leaves_nothing(
    host: Host, seqdev: Cli, connect: Connect
) -> None:
    world(host)
    # On the whole way nobody may hear of them, either.
    host.each(
        RAISES.format(name="tell", event="insert on leads", body="perform pg_notify('told', 'https://a');")
    )
    listener = connect(host.url)
    listener.execute("listen told")
    before = snapshot(host)
    code, found, _ = check(seqdev)
    assert code == 0
    assert found["probe: enrolment and claim"]["status"] == "ok"
    assert found["probe: enrolment and claim"]["why"].startswith("1 sequence entered and 3 steps claimed")
    assert snapshot(host) == before
    assert list(listener.notifies(timeout=0.3)) == []
    assert host.value("select count(*) from seqdev.change") == 0


@pytest.mark.parametrize(
    ("obstacle", "item", "says"),
    [
        (
            "alter table broadcast_messages add constraint few_kinds check (message_type in ('image', 'video'))",
            "probe: claim",
            ['check constraint "few_kinds" of broadcast_messages', "quarantines", "warm, day 1"],
        ),
        (
            "alter table sequence_contacts add constraint no_third check (current_step < 3)",
            "probe: claim",
            ['check constraint "no_third" of sequence_contacts', "warm, day 2"],
        ),
        pytest.param(
            "create unique index one_each on sequence_contacts (sequence_id) where status = 'active'; "
            "insert into sequence_contacts (sequence_id, contact_phone, status, sequence_stepid)"
            " select sequence_id, '1', 'active', id from sequence_steps where trigger = 'WARM'",
            "probe: enrolment",
            ['unique key "one_each" of sequence_contacts', "refused_by_database", "warm"],
            marks=KEYED,
        ),
        pytest.param(
            "create unique index one_a_device on broadcast_messages (device_id)",
            "probe: claim",
            ['unique key "one_a_device" of broadcast_messages', "warm, day 2"],
            marks=KEYED,
        ),
        (
            RAISES.format(
                name="angry",
                event="insert on broadcast_messages",
                body="raise 'no % today', new.recipient_phone;",
            ),
            "probe: claim",
            ["SQLSTATE P0001", "by function angry", "warm, day 1"],
        ),
        (
            RAISES.format(
                name="odd", event="insert on broadcast_messages", body="raise feature_not_supported;"
            ),
            "probe: claim",
            [
                "does not run sql/tick/claim" if citus.URL else "the schema is not one seqdev can work on",
                "a command that does the same ends so, too",
            ],
        ),
        (
            RAISES.format(name="deaf", event="insert on broadcast_messages", body="return null;"),
            "probe: claim",
            ["keeps a row from being written, without an error", "warm, day 1"],
        ),
        (
            RAISES.format(name="closed", event="insert on sequence_contacts", body="return null;"),
            "probe: enrolment",
            ["keeps a row from being written, without an error", "warm"],
        ),
        (
            RAISES.format(name="vip", event="insert on leads", body="raise check_violation;"),
            "probe: a lead",
            ["SQLSTATE 23514", "by function vip"],
        ),
        pytest.param(
            "alter table broadcast_messages add constraint late check (false) not valid;"
            " alter table broadcast_messages add constraint later"
            " unique (device_id) deferrable initially deferred",
            "probe: claim",
            ['check constraint "late" of broadcast_messages'],
            marks=KEYED,
        ),
    ],
)
def test_what_refuses_a_row_is_named_and_what_follows(
    obstacle: str, item: str, says: list[str], host: Host, seqdev: Cli
) -> None:
    world(host)
    host.each(obstacle)
    before = snapshot(host)
    code, found, err = check(seqdev)
    assert code == 3
    assert list(found) == [item]
    assert found[item]["status"] == "advised"
    for words in says:
        assert words in found[item]["why"]
    assert "601234" not in str(found) + err
    assert snapshot(host) == before


def test_what_the_probe_says_is_what_the_tick_then_does(host: Host, seqdev: Cli) -> None:
    world(host)
    host.rows("alter table broadcast_messages add constraint short check (length(content) < 17)")
    host.rows("update sequence_steps set content = 'a message that is longer' where day_number = 2")
    _, found, _ = check(seqdev)
    assert "warm, day 2" in found["probe: claim"]["why"]
    host.rows("update leads set trigger = 'WARM'")
    assert seqdev("enroll", "--yes").code == 0
    assert seqdev("tick").code == 0
    host.make_all_due()
    assert seqdev("tick").code == 3
    assert host.rows("select current_step, status from sequence_contacts order by 1") == [
        (1, "completed"),
        (2, "set_aside"),
    ]


def test_hosts_whose_own_rules_seqdev_respects_are_in_order(host: Host, seqdev: Cli) -> None:
    world(host)
    host.rows(
        "create unique index one_active on sequence_contacts (sequence_id, contact_phone) where status = 'active'"
    )
    host.rows("alter table leads add constraint malay check (phone ~ '^60[0-9]{9}$')")
    code, found, _ = check(seqdev)
    assert (code, list(found)) == (0, ["probe: enrolment and claim"])


def test_beside_a_trigger_that_could_write_elsewhere_it_is_made_only_when_asked_for(
    host: Host, seqdev: Cli
) -> None:
    world(host)
    host.each(
        RAISES.format(
            name="afar",
            event="insert on broadcast_messages",
            body="if false then perform dblink_exec('elsewhere', 'select 1'); end if; raise 'no';",
        )
    )
    code, found, err = check(seqdev)
    assert (code, found) == (0, {})
    assert "no probe was made" in err
    assert "trigger afar of broadcast_messages (function afar)" in err
    assert "--probe" in err
    code, found, _ = check(seqdev, "--probe")
    assert (code, list(found)) == (3, ["probe: claim"])
    code, found, err = check(seqdev, "--no-probe")
    assert (code, found) == (0, {})
    assert "no probe was made" not in err


def test_without_the_rights_to_write_it_says_that_it_was_not_made(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    world(host)
    host.rows("drop role if exists probe_reader")
    host.rows("create role probe_reader login")
    try:
        assert seqdev("db", "grants", "audit", "--to", "probe_reader", "--yes").code == 0
        reader = psycopg.conninfo.make_conninfo(host.url, user="probe_reader")
        monkeypatch.setenv("SEQDEV_DATABASE_URL", reader)
        code, found, err = check(seqdev)
        assert (code, found) == (0, {})
        assert "no probe was made of what enroll and tick write: the database role may not do this" in err
    finally:
        host.rows("drop owned by probe_reader")
        host.rows("drop role probe_reader")


@pytest.mark.plain("no foreign key leads from a distributed table, so that nothing waits for the device")
def test_a_row_that_somebody_holds_keeps_a_probe_from_being_made_and_not_for_long(
    host: Host, seqdev: Cli, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    world(host)
    # A probe waits no longer than a second, whatever a command waits: far apart, for a machine that is busy.
    monkeypatch.setenv("SEQDEV_LOCK_TIMEOUT", "5m")
    other = connect(host.url)
    with other.transaction():
        other.execute("select from user_devices for update")
        begun = time.monotonic()
        code, found, err = check(seqdev)
        assert time.monotonic() - begun < 120
    assert (code, found) == (0, {})
    assert "no probe was made of what enroll and tick write: other sessions held the rows" in err


def test_without_anything_to_try_it_says_so(host: Host, seqdev: Cli) -> None:
    code, found, _ = check(seqdev)
    assert code == 0
    assert found["probe: enrolment and claim"]["why"].startswith("nothing to try: no active sequence")


def test_steps_that_no_step_leads_to_are_named_as_not_tried(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, steps = host.simple_sequence(user, steps=3)
    host.contact(sequence, steps[2], "6012345678", device)
    items = [one["item"] for one in json.loads(seqdev("db", "check", "--probe", "--format", "json").out)]
    assert "probe: steps not tried" not in items
    # A circle: from the first step nobody comes to the third.
    host.rows("update sequence_steps set next_trigger = trigger")
    found = {one["item"]: one for one in json.loads(seqdev("db", "check", "--probe", "--format", "json").out)}
    assert found["probe: steps not tried"]["status"] == "advised"
    assert found["probe: steps not tried"]["why"].startswith("1 step, at which 1 active contact stands")
