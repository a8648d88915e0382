"""``audit … --at``: what had been found then, and a refusal where nothing tells."""

import json
from datetime import datetime, timedelta
from itertools import product

import pytest

from tests.world import history
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.inbox import Inbox
from tests.world.repairs import message


def test_a_mismatch_of_then_is_found_though_it_is_repaired_since(host: Host, seqdev: Cli) -> None:
    user = host.user()
    a, b = host.device(user, "A"), host.device(user, "B")
    sequence, (step, later) = host.simple_sequence(user, steps=2)
    done = host.contact(sequence, step, "60120000001", a, status="completed")
    host.rows("update sequence_contacts set completed_at = now() at time zone 'UTC' where id = %s", done)
    host.contact(sequence, later, "60120000001", a, timedelta(days=1))
    host.lead(user, b, "60120000001")
    message(host, done, b, own=False)
    history.pass_time(host, timedelta(minutes=10))
    assert seqdev("repair", "assigned", "--yes").code == 0
    history.pass_time(host, timedelta(minutes=10))
    ran = seqdev("audit", "mismatches", "--at", "15m", "--format", "json")
    assert ran.code == 3, ran.err
    (found,) = json.loads(ran.out)["mismatches"]
    devices = (found["assigned_device_id"], found["used_device_id"])
    assert (found["finding"], *devices) == ("mismatch", str(a), str(b))
    (found,) = json.loads(seqdev("audit", "mismatches", "--at", "5m", "--format", "json").out)["mismatches"]
    assert found["finding"] == "repaired"
    assert "60120000001" in seqdev("audit", "mismatches", "--at", "15m").out
    ran = seqdev("audit", "mismatches", "--at", "2h", "--format", "json")
    assert (ran.code, json.loads(ran.out)["mismatches"]) == (0, []), "before it was written"


INSTEAD = {
    "devices": "seqdev stats --by device --until 1h",
    "sequences": "seqdev rules history",
    "leads": "seqdev repair list",
}


@pytest.mark.parametrize("name", INSTEAD)
def test_where_nothing_of_then_is_kept_it_is_not_guessed(host: Host, seqdev: Cli, name: str) -> None:
    ran = seqdev("audit", name, "--at", "1h")
    assert (ran.code, ran.out) == (2, "")
    assert f"audit {name} cannot say how it stood at 1h: the host keeps " in ran.err
    assert INSTEAD[name] in ran.err
    assert "seqdev explain PHONE --at 1h" in ran.err


def test_all_runs_what_can_answer_and_says_what_it_leaves_out(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    host.simple_sequence(user)
    host.lead(user, device, "60120000001", "WARM")
    assert seqdev("enroll", "--yes").code == 0
    assert seqdev("pause", "--why", "wrong texts").code == 0
    history.pass_time(host, timedelta(hours=3))
    assert seqdev("resume", "--yes").code == 0
    assert seqdev("tick").code == 0
    history.pass_time(host, timedelta(hours=1))
    ran = seqdev("audit", "all", "--at", "2h", "--format", "json")
    assert ran.code == 3, ran.err
    found = json.loads(ran.out)
    audits = {line["audit"]: line for line in found["audits"]}
    assert audits.keys() == {"mismatches", "contacts", "writers", "collisions", "failed"}
    assert audits["contacts"]["kinds"] == {"overdue_1h": 1}
    ended = datetime.fromisoformat(found["standing"]["at"])
    assert audits["contacts"]["window"] == f"1 day, until {ended:%Y-%m-%d %H:%M} UTC"
    assert (found["standing"]["last_tick"], found["standing"]["paused_why"]) == (None, "wrong texts")
    left_out = {one["what"] for one in found["cannot_be_known"]}
    assert {"audit devices", "audit sequences", "audit leads"} <= left_out
    ran = seqdev("audit", "all", "--at", "30m")
    assert ran.code == 0, ran.out
    assert "cannot be known" in ran.out
    assert "audit devices" in ran.out
    assert seqdev("audit", "all", "--at", "30m", "--nagios").code == 2


def test_a_message_that_failed_is_known_where_the_worker_says_when(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user, "A")
    sequence, (step,) = host.simple_sequence(user)
    contacts = [
        host.contact(sequence, step, f"6012000000{number}", device, status="completed") for number in range(3)
    ]
    for contact in contacts:
        message(host, contact, device)
    host.rows("alter table broadcast_messages add updated_at timestamp default now()")
    host.rows(
        "update broadcast_messages set status = 'failed', error_message = 'media upload',"
        " created_at = now() at time zone 'UTC' - interval '3 hours', updated_at = now() at time zone 'UTC'"
        " - case when recipient_phone = '60120000000' then interval '2 hours'"
        " when recipient_phone = '60120000001' then interval '30 minutes' else interval '3 hours' end"
    )
    ran = seqdev("audit", "failed", "--at", "1h", "--format", "json")
    assert ran.code == 3, ran.err
    found = json.loads(ran.out)
    assert {(one["finding"], one["messages"]) for one in found["failed"]} == {("media", 1), ("not_known", 2)}
    assert any("updated_at" in one["why"] for one in found["cannot_be_known"])
    host.rows("alter table broadcast_messages drop updated_at")
    (one,) = json.loads(seqdev("audit", "failed", "--at", "1h", "--format", "json").out)["failed"]
    assert (one["finding"], one["messages"], one["example"]) == ("not_known", 3, None)
    host.rows("update broadcast_messages set content = 'hello', media_url = '', recipient_name = ''")
    # A repair has found them failed since: that may have been before that instant, and after it.
    assert seqdev("repair", "failed", "--why", "try again", "--yes").code == 0
    (one,) = json.loads(seqdev("audit", "failed", "--at", "1h", "--format", "json").out)["failed"]
    assert (one["finding"], one["messages"], one["example"]) == ("not_known", 3, None)


def test_a_row_that_only_the_host_knows_of_is_not_known(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    contact = host.contact(sequence, step, "60120000001", device, timedelta(days=-2))
    message(host, contact, device, own=False)
    host.rows("update broadcast_messages set created_at = now() at time zone 'UTC' - interval '2 hours'")
    for name in ("contacts", "writers"):
        found = json.loads(seqdev("audit", name, "--at", "1h", "--format", "json").out)
        assert [one["finding"] for one in found[name]] == ["not_known"], name
        assert found[name][0]["phone"] == "60120000001"
    host.rows("delete from sequence_contacts")
    found = json.loads(seqdev("audit", "writers", "--at", "1h", "--format", "json").out)
    assert [one["finding"] for one in found["writers"]] == ["no_contact"]


def test_who_was_not_done_only_then_is_looked_at_too(host: Host, seqdev: Cli) -> None:
    """Who is done now, and was long before, but had been brought back meanwhile: only the journal tells."""
    user = host.user()
    device = host.device(user)
    host.simple_sequence(user)
    host.lead(user, device, "60120000001", "WARM")
    assert seqdev("enroll", "--yes").code == 0
    assert seqdev("tick").code == 0
    history.pass_time(host, timedelta(days=3))
    ran = seqdev("contacts", "restart", "60120000001", "--sequence", "warm", "--yes", "--why", "test")
    assert ran.code == 0, ran.err
    history.pass_time(host, timedelta(hours=1))
    assert seqdev("repair", "undo", "last", "--yes").code == 0
    history.pass_time(host, timedelta(minutes=10))
    (row,) = host.rows(
        "select status, completed_at < now() at time zone 'UTC' - interval '2 days' as long_ago from sequence_contacts"
    )
    assert (row.status, row.long_ago) == ("completed", True)
    assert seqdev("audit", "contacts", "--at", "5m").code == 0
    found = json.loads(seqdev("audit", "contacts", "--at", "30m", "--format", "json").out)["contacts"]
    assert [(one["phone"], one["finding"]) for one in found] == [("60120000001", "not_known")]


def test_who_had_written_back_by_then(host: Host, seqdev: Cli) -> None:
    inbox = Inbox(host)
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    message(host, host.contact(sequence, step, "60120000001", device, status="completed"), device, "2 hours")
    host.rows("update broadcast_messages set sent_at = created_at")
    inbox.receives(device, "60120000001@s.whatsapp.net", timedelta(minutes=30))

    def replies(at: str) -> list[tuple[int, int]]:
        ran = seqdev("audit", "replies", "--at", at, "--format", "json")
        assert ran.code == 0, ran.err
        return [(one["messages"], one["replied"]) for one in json.loads(ran.out)]

    assert replies("3h") == []
    assert replies("1h") == [(1, 0)]
    assert replies("10m") == [(1, 1)]


def test_the_end_of_the_window_is_said_once(host: Host, seqdev: Cli) -> None:
    ran = seqdev("audit", "mismatches", "--at", "1h", "--until", "2h")
    assert (ran.code, ran.out) == (2, "")
    assert "--until and --at do not go together" in ran.err


def test_what_is_to_come_is_refused(host: Host, seqdev: Cli) -> None:
    assert "still to come" in seqdev("audit", "mismatches", "--at", "2999-01-01").err


ABSURD = ("0001-01-01", "9999-12-31", "900000d", "0001-01-01 00:00+14:00", "9999-12-31 23:59-14:00")
PAST = ("contacts", "mismatches", "writers", "collisions", "failed", "all")


@pytest.mark.thorough
@pytest.mark.cases(2)
@pytest.mark.parametrize("zone", ["Asia/Jakarta", "America/New_York"])
def test_instants_of_no_calendar_are_wrong_usage(host: Host, seqdev: Cli, zone: str) -> None:
    for name, option, at in product(("contacts", "all"), ("--at", "--since", "--until"), ABSURD):
        for zoned in ([], ["--zone", zone]):
            ran = seqdev(*zoned, "audit", name, option, at)
            assert (ran.code, ran.out) == (2, ""), (name, option, at)
            assert f"{at.lower()} is further away than dates go" in ran.err
    for command in ("stats", "report", "runs"):
        ran = seqdev(command, "--since", "0001-01-01")
        assert (ran.code, "further away than dates go" in ran.err) == (2, True), command
    assert seqdev("audit", "contacts", "--since", "1000-01-02").code == 0
    assert "is not before now" in seqdev("audit", "contacts", "--since", "8999-12-30").err


@pytest.mark.cases(2)
@pytest.mark.parametrize("name", [*PAST, "replies"])
def test_of_what_was_before_anything_nothing_is_made_up(host: Host, seqdev: Cli, name: str) -> None:
    Inbox(host)
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "60120000001", host.device(user))
    for at in ("1900-01-01", "200000d"):
        ran = seqdev("audit", name, "--at", at)
        assert (ran.code, ran.out) == (2, "")
        assert f"--at {at} is before anything was sent" in ran.err
        assert "give an instant after 2009-01-01" in ran.err
    assert seqdev("explain", "60120000001", "--at", "1900-01-01").code == 2
