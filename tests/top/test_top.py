"""seqdev top: the service on one page, printed once and live."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from seqdev.top import top
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.live import live


def page(seqdev: Cli, *options: str) -> dict[str, Any]:
    ran = seqdev("top", "--format", "json", *options)
    assert (ran.code, ran.err) == (0, "")
    found: dict[str, Any] = json.loads(ran.out)
    return found


def message(host: Host, device: Any, **columns: Any) -> None:
    user = host.value("select user_id from user_devices where id = %s", device)
    sequence = host.value("select id from sequences limit 1")
    columns = {"status": "sent", "content": "x", "recipient_phone": "601111111111"} | columns
    names = ", ".join(columns)
    host.rows(
        f"insert into broadcast_messages (user_id, device_id, {names}, sequence_stepid, sequence_id)"
        f" values (%s, %s, {', '.join(['%s'] * len(columns))}, gen_random_uuid(), %s) returning id",
        *(user, device, *columns.values(), sequence),
    )


def ago(host: Host, minutes: float) -> Any:
    return host.value("select now() - %s", timedelta(minutes=minutes))


def test_the_page_tells_what_the_audits_tell(host: Host, seqdev: Cli) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    device, away = host.device(user, "Anna"), host.device(user, "Ben", status="offline")
    for number, to in enumerate([device, device, away]):
        host.lead(user, to, f"60123456700{number}")
        host.contact(sequence, step, f"60123456700{number}", to)
    host.rule("policy", "strict")
    found, audited = page(seqdev), json.loads(seqdev("audit", "all", "--format", "json").out)
    service = found["service"]
    assert service["backlog"] == audited["health"]["backlog"] == 3
    assert (service["last_tick"], service["tick_level"]) == (None, "critical")
    assert service["oldest_due"] == audited["health"]["oldest_due"]
    assert {one["device"]: (one["due"], one["state"]) for one in found["devices"]} == {
        "Anna": (2, "online"),
        "Ben": (1, "device_offline"),
    }
    seqdev("tick")
    found = page(seqdev)
    assert found["service"]["waiting"] == {"device_offline": 1}
    assert (found["service"]["tick_level"], found["service"]["ticks"]) == ("ok", "." * 59 + "|")
    rows = {
        row["device"]: row
        for row in json.loads(seqdev("audit", "devices", "--format", "json").out)["devices"]
    }
    for one in found["devices"]:
        for name in ("due", "in_flight", "sent_hour", "sent_day", "status"):
            assert one[name] == rows[one["device"]][name], name
    host.rows(
        "update broadcast_messages set device_id = %s where recipient_phone = '601234567000' returning id",
        away,
    )
    found, told = page(seqdev)["service"], seqdev("audit", "mismatches", "--format", "json").out
    assert found["mismatches_hour"] == len(json.loads(told)["mismatches"]) == 1
    assert found["mismatches_per_minute"] == 0.2
    assert "1 from another device than the assigned (0.2 a minute now)" in seqdev("top").out


def test_each_minute_has_what_was_sent_and_failed_in_it(host: Host, seqdev: Cli) -> None:
    user = host.user()
    host.simple_sequence(user)
    device = host.device(user)
    for back in (0.5, 3.5, 3.6, 59.5, 61):
        message(host, device, sent_at=ago(host, back), created_at=ago(host, back))
    message(host, device, status="failed", created_at=ago(host, 300), scheduled_at=ago(host, 7.5))
    message(host, device, status="pending", created_at=ago(host, 2), scheduled_at=ago(host, 2))
    host.rows(
        "insert into seqdev.run (id, command, started_at, finished_at, exit_code, version)"
        " select gen_random_uuid(), 'tick', at, at, code, '1' from (values (now() - interval '2.5 min', 0),"
        " (now() - interval '4.5 min', 13), (now() - interval '70 min', 0)) as r (at, code) returning id"
    )
    found = page(seqdev)
    minutes = {one["ago"]: one for one in found["minutes"]}
    assert list(minutes) == list(range(59, -1, -1))
    assert {back: one["sent"] for back, one in minutes.items() if one["sent"]} == {0: 1, 3: 2, 59: 1}
    assert {back: one["failed"] for back, one in minutes.items() if one["failed"]} == {7: 1}
    assert found["service"]["ticks"] == "." * 55 + "!.|.."
    assert (found["service"]["sent_hour"], found["service"]["failed_hour"]) == (4, 1)
    ran = seqdev("top")
    assert (ran.code, ran.err) == (0, "")
    assert "ended with exit code" not in ran.out
    assert "1 sent, 0 failed" in ran.out
    assert "!.|.. now" in ran.out


def test_a_pause_and_a_late_tick_stand_at_the_top(host: Host, seqdev: Cli) -> None:
    user = host.user()
    host.device(user, "Anna")
    seqdev("tick")
    host.rows(
        "update seqdev.run set started_at = started_at - interval '2 h', finished_at = finished_at - interval '2 h' returning id"
    )
    seqdev("pause", "--why", "wrong texts")
    ran = seqdev("top", "--once")
    lines = [line.split() for line in ran.out.splitlines() if line.strip()]
    paused = next(line for line in lines if line[0] == "paused")
    assert (paused[-3:], lines.index(paused)) == (["wrong", "texts", "critical"], 1)
    late = next(line for line in lines if line[:2] == ["last", "tick"])
    assert (late[2:5], late[-1]) == (["2", "h", "ago,"], "critical")


def test_only_what_is_of_the_user(host: Host, seqdev: Cli) -> None:
    user, other = host.user(), host.user()
    host.device(user, "Anna")
    sequence, (step,) = host.simple_sequence(other)
    device = host.device(other, "Ben")
    host.lead(other, device, "601234567001")
    host.contact(sequence, step, "601234567001", device)
    found = page(seqdev, "--user", str(user))
    assert [one["device"] for one in found["devices"]] == ["Anna"]
    assert found["service"]["backlog"] == 0
    ran = seqdev("top", "--user", "nobody")
    assert (ran.code, ran.out) == (2, "")
    assert "nobody" in ran.err


def test_a_statement_that_takes_too_long_is_given_up(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top, "STATEMENT_TIMEOUT", timedelta(milliseconds=200))
    host.connection.execute("begin; lock table user_devices in access exclusive mode")
    ran = seqdev("top")
    host.connection.execute("rollback")
    assert ran.code == 13
    assert ran.out == ""
    assert "Traceback" not in ran.err


@pytest.mark.thorough
def test_the_live_screen_follows_the_service_and_tells_of_people(host: Host, seqdev: Cli) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.rows("update sequences set name = '[red]Tea' returning id")
    device = host.device(user, "Anna")
    host.device(user, "Zoe")
    host.lead(user, device, "601234567001")
    host.contact(sequence, step, "601234567001", device)
    with live("--mask", "top", "--every", "1s") as screen:
        screen.see("1 due", "Anna", "Zoe", "never")
        count = "select count(*) from pg_stat_activity where application_name like 'seqdev top%'"
        assert host.value(count) == 1
        host.rows("update user_devices set status = 'banned' where id = %s returning id", device)
        screen.see("device_gone")
        screen.press("?")
        screen.see("hold still, and go on")
        screen.press("?")
        screen.see("1 due")
        screen.press("/")
        screen.see("letters of a name")
        screen.press("zo")
        screen.see("Zoe")
        screen.press("\r")
        screen.press("\x1b")
        screen.see("Anna")
        screen.press("\x1b[A")
        screen.press("\r")
        screen.see("due since", "[red]Tea", "601******001")
        screen.press("\r")
        story = screen.see("601******001", "device_gone")
        assert "601234567001" not in story
        screen.press("\x1b")
        screen.see("due since")
        screen.press("\x1b")
        screen.see("Zoe")
        assert host.value(count) == 1
        screen.press("q")
        assert screen.end() == 0


@pytest.mark.thorough
def test_without_a_database_the_live_screen_says_so_and_ends(
    seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQDEV_DATABASE_URL", "host=127.0.0.1 port=1 dbname=x user=x")
    with live("top") as screen:
        assert screen.end() == 13
        assert "Traceback" not in screen.shown


@pytest.mark.thorough
def test_what_nobody_expected_ends_the_live_screen_without_a_traceback_or_what_rows_hold(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.device(host.user(), "Anna")
    (tmp_path / "sitecustomize.py").write_text(
        "from seqdev.top import view\nview.line = lambda device, now: 1 / len(device.device[9:])\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with live("top") as screen:
        assert screen.end() == 1
        told = screen.shown
    assert "unexpected error: ZeroDivisionError" in told
    assert "Traceback" not in told
    assert "locals" not in told
