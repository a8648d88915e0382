"""What a report promises: the audits' numbers of one instant, nobody's phone, name or text, and a bounded file."""

import json
import os
import pty
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from seqdev.audit import audit
from tests.world.command import ROOT, Cli, command
from tests.world.host import Host
from tests.world.reported import IMAGE, NAME, NUMBERED, PHONE, SCRIPT, TEXT, incident, message, plant_canaries

SINCE = ("--since", "3h")


def evidence(seqdev: Cli, *options: str) -> dict[str, Any]:
    """What a report says, for programs."""
    ran = seqdev("report", "--format", "json", *options)
    assert ran.code == 0, ran.err
    document: dict[str, Any] = json.loads(ran.out)
    return document


def html(seqdev: Cli, *options: str) -> str:
    """The page."""
    ran = seqdev("report", *options)
    assert ran.code == 0, ran.err
    assert ran.err == ""
    return ran.out


class Elements(HTMLParser):
    """The elements of a page, and all of its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, list[str]] = {}
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def test_its_numbers_are_those_of_the_audits(host: Host, seqdev: Cli) -> None:
    incident(host, seqdev)
    told = evidence(seqdev, *SINCE)
    audits = json.loads(seqdev("audit", "all", *SINCE, "--format", "json").out)
    assert told["audits"] == audits["audits"]
    assert {one["audit"]: one["found"] for one in told["audits"]}["mismatches"] == 24
    assert {(one["audit"], one["finding"]): one["found"] for one in told["findings"]} == {
        (line["audit"], kind): number for line in audits["audits"] for kind, number in line["kinds"].items()
    }
    for name in ("backlog", "on_pause", "oldest_due", "last_tick"):
        assert told["service"][name] == audits["health"][name]

    found = json.loads(seqdev("audit", "mismatches", *SINCE, "--all", "--format", "json").out)["mismatches"]
    found = [one for one in found if one["verdict"] == "MISMATCH"]
    open_ = [one for one in found if one["state"] == "open"]
    assert told["mismatches"]["open"] == len(open_) == 17
    assert told["mismatches"]["repaired"] == len(found) - len(open_) == 7
    assert told["mismatches"]["first_at"] == min(one["at"] for one in found)
    assert told["mismatches"]["last_at"] == max(one["at"] for one in found)
    for table, key in (("causes", "cause"), ("sequences", "sequence")):
        for one in told[table]:
            same = [row for row in found if row[key] == one[key]]
            assert one["open"] == sum(row["state"] == "open" for row in same)
            assert one["repaired"] == sum(row["state"] == "repaired" for row in same)
    for one in told["devices"]:
        assert one["wrote"] == sum(row["used_device_id"] == one["device_id"] for row in found)
        assert one["lost"] == sum(row["assigned_device_id"] == one["device_id"] for row in found)

    failed = json.loads(seqdev("audit", "failed", *SINCE, "--format", "json").out)["failed"]
    assert [(one["cause"], one["messages"]) for one in told["failures"]] == [("device_offline", 6)]
    assert sum(one["messages"] for one in failed) == 6
    assert [one["failed"] for one in told["sequences"]] == [6]
    rooms = json.loads(seqdev("audit", "devices", "--format", "json").out)["devices"]
    assert {one["device_id"]: one["room"] for one in told["capacity"]} == {
        one["device_id"]: one["room"] for one in rooms
    }


def test_the_timeline_has_each_tick_mismatch_and_failure_once(host: Host, seqdev: Cli) -> None:
    incident(host, seqdev)
    told = evidence(seqdev, *SINCE)
    places = told["timeline"]
    assert len(places) <= 96
    assert [one["at"] for one in places] == sorted(one["at"] for one in places)
    assert sum(one["open"] for one in places) == 17
    assert sum(one["repaired"] for one in places) == 7
    assert sum(one["failed"] for one in places) == 6
    ticks = host.rows(
        "select exit_code = 0 as good from seqdev.run where command = 'tick' and started_at > now() - interval '3 hours'"
    )
    assert abs(sum(one["ticks"] for one in places) - sum(one.good for one in ticks)) <= 1
    assert sum(one["bad_ticks"] for one in places) == sum(not one.good for one in ticks)
    (gap,) = (one for one in told["gaps"] if one["lasted"] > 600)
    assert 2400 < gap["lasted"] <= 3000
    assert told["gaps"][0] == gap, "the longest gap is the first"
    (pause,) = told["pauses"]
    assert pause["resumed_at"]


@pytest.mark.thorough
def test_what_the_host_dates_outside_the_window_or_the_calendar_is_counted_too(
    host: Host, seqdev: Cli
) -> None:
    there = incident(host, seqdev)
    host.rows(
        "update broadcast_messages set created_at = 'infinity' where id in (select id from broadcast_messages where status = 'failed' limit 1)"
    )
    host.rows(
        "update broadcast_messages set created_at = created_at + interval '1 day' where id in"
        " (select id from broadcast_messages where device_id = %s limit 1)",
        there.hostile,
    )
    told = evidence(seqdev, *SINCE)
    assert told["mismatches"]["open"] + told["mismatches"]["repaired"] == 24
    assert sum(one["open"] + one["repaired"] for one in told["timeline"]) == 24
    assert told["timeline"][-1]["open"] + told["timeline"][-1]["repaired"] >= 1
    assert sum(one["messages"] for one in told["failures"]) == 6
    assert sum(one["failed"] for one in told["timeline"]) == 5
    html(seqdev, *SINCE)


def test_the_window_has_an_end(host: Host, seqdev: Cli) -> None:
    incident(host, seqdev)
    told = evidence(seqdev, *SINCE, "--until", "60m")
    found = json.loads(
        seqdev("audit", "mismatches", *SINCE, "--until", "60m", "--format", "json", "--all").out
    )["mismatches"]
    number = told["mismatches"]["open"] + told["mismatches"]["repaired"]
    assert number == sum(one["verdict"] == "MISMATCH" for one in found)
    assert 0 < told["mismatches"]["open"] < 17
    assert number == sum(one["open"] + one["repaired"] for one in told["timeline"])
    assert told["failures"] == []
    assert sum(one["failed"] for one in told["timeline"]) == 0
    assert told["runs"] == []
    (worked,) = told["hosts"]
    assert worked["ticks"] == sum(one["ticks"] + one["bad_ticks"] for one in told["timeline"]) <= 101
    assert told["pauses"]
    assert evidence(seqdev, *SINCE, "--until", "110m")["pauses"] == []
    assert told["about"]["until"] < told["about"]["at"]
    assert "is not before" in seqdev("report", "--since", "1h", "--until", "2h").err


def test_what_was_run_is_told_with_the_command_that_takes_it_back(host: Host, seqdev: Cli) -> None:
    there = incident(host, seqdev)
    (ran,) = evidence(seqdev, *SINCE)["runs"]
    assert (ran["command"], ran["changes"], ran["effect"]) == ("repair assigned", 7, "in effect")
    assert ran["undo"] == f"seqdev repair undo {there.repair}"
    assert seqdev(*ran["undo"].split()[1:], "--yes").code == 0
    told = evidence(seqdev, *SINCE)
    undone, repair = told["runs"]
    assert undone["command"] == f"repair undo {there.repair}"
    assert (repair["effect"], repair["undo"]) == ("undone", None)
    assert told["mismatches"]["repaired"] == 0


def test_all_of_it_is_of_one_instant(host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    there = incident(host, seqdev)
    stream = audit.stream

    def late(tx: Any, query: Any, criteria: Any) -> Iterator[Any]:
        """Another mismatch is made while the report is."""
        phone = f"60127{host.value('select count(*) from leads'):07}"
        step = host.value("select min(id::text)::uuid from sequence_steps")
        message(host, host.contact(there.sequence, step, phone, there.alpha), there.hostile, "1 minute")
        return stream(tx, query, criteria)

    monkeypatch.setattr(audit, "stream", late)
    told = evidence(seqdev, *SINCE)
    (line,) = (one for one in told["audits"] if one["audit"] == "mismatches")
    assert told["mismatches"]["open"] + told["mismatches"]["repaired"] == line["found"] == 24


@pytest.mark.parametrize("form", ["html", "json"])
def test_no_phone_name_or_text_is_in_it(host: Host, seqdev: Cli, form: str) -> None:
    incident(host, seqdev)
    plant_canaries(host)
    host.rule("paused", f"until resumed: {NAME} {TEXT} {PHONE}", user=host.value("select id from users"))
    page = html(seqdev, *SINCE, "--format", form)
    canaries = [NAME, *NAME.split(), TEXT, PHONE, PHONE[3:], "345 67 89", "hello", "Somebody"]
    assert [one for one in canaries if one in page] == []
    digits = {row.phone for row in host.rows("select contact_phone as phone from sequence_contacts")}
    assert [one for one in digits if one in page] == []
    assert "601" in page, "masked, not missing"

    host.rows(
        "update broadcast_messages set created_at = now() at time zone 'UTC' where recipient_phone like '60120%'"
    )
    whole = html(seqdev, *SINCE, "--format", form, "--show-phones")
    assert any(one in whole for one in digits)
    assert NUMBERED in whole
    assert [one for one in (NAME, TEXT, "hello", "Somebody") if one in whole] == []
    kept = seqdev("--mask", "report", *SINCE, "--format", form, "--show-phones").out
    assert [one for one in digits if one in kept] == [], "--mask has the last word"


def test_names_are_text_whatever_is_in_them(host: Host, seqdev: Cli) -> None:
    there = incident(host, seqdev)
    host.rows("update user_devices set device_name = E'\\u202Eevil\\u001b[31m' where id = %s", there.alpha)
    page = html(seqdev, *SINCE)
    shown = Elements(page)
    assert SCRIPT in shown.text
    assert IMAGE in shown.text
    assert {"script", "img", "iframe", "link", "object", "form"} & set(shown.tags) == set()
    assert {"src", "href", "onerror", "action"} & set(shown.attributes) == set()
    assert [one for one in shown.attributes["http-equiv"] if "Policy" in one]
    assert not re.search("[\u202e\x1b]", page)
    assert "\\u202eevil\\x1b[31m" in shown.text
    assert "url(" not in page
    assert "@import" not in page


def test_an_empty_database_makes_a_report_too(database: str, seqdev: Cli) -> None:
    page = Elements(html(seqdev))
    assert "Nothing: every message was written by the assigned device" in page.text
    assert "There is no device." in page.text
    told = evidence(seqdev)
    begins, ends = told["about"]["since"], told["about"]["until"]
    assert begins[:10] < ends[:10]
    assert begins[11:] == ends[11:], "a day"


def test_a_table_has_fifty_rows_and_says_how_many_more(host: Host, seqdev: Cli) -> None:
    many(host, messages=600, devices=60, days=1)
    told = evidence(seqdev)
    left = {one["table"]: one["rows"] for one in told["left_out"]}
    assert left == {"devices": 10, "sequences": 10, "people": 550, "capacity": 10}
    assert all(len(told[table]) == 50 for table in left)
    assert told["mismatches"]["open"] == 600
    page = html(seqdev)
    assert page.count("and 10 more") == 3
    assert "and 550 more" in page


@pytest.mark.load
def test_a_year_of_ticks_and_a_hundred_thousand_mismatches_make_a_small_file(host: Host, seqdev: Cli) -> None:
    many(host, messages=100_000, devices=300, days=365)
    host.rows(
        "insert into seqdev.run (id, command, started_at, finished_at, version, exit_code)"
        " select gen_random_uuid(), 'tick', at, at + interval '1 second', '0.1.0', 0"
        " from generate_series(now() - interval '365 days', now(), interval '1 minute') as at"
        " where extract(hour from at) <> 3"
    )
    page = html(seqdev, "--since", "365d")
    assert len(page.encode()) < 2_000_000
    assert "100,000" in page
    assert "and 99,950 more" in page
    assert "and 315 more" in page, "gaps"


def many(host: Host, messages: int, devices: int, days: int) -> None:
    """So many mismatches, of as many devices and sequences, over so many days."""
    user = host.user()
    given = {"user": user, "number": devices, "messages": messages, "days": days}
    host.rows(
        "insert into user_devices (user_id, device_name, status) select %(user)s, 'd' || n, 'online' from generate_series(1, %(number)s) n",
        given,
    )
    host.rows(
        "insert into sequences (user_id, name) select %(user)s, 's' || n from generate_series(1, %(number)s) n",
        given,
    )
    host.rows(
        "with d as (select array_agg(id) as ids from user_devices), s as (select array_agg(id) as ids from sequences),"
        " n as (select n, '6017' || lpad(n::text, 7, '0') as phone, 1 + n %% %(number)s as place from generate_series(1, %(messages)s) n),"
        " l as (insert into leads (user_id, phone, device_id) select %(user)s, phone, d.ids[place] from n, d),"
        " c as (insert into sequence_contacts (sequence_id, contact_phone, status, completed_at, assigned_device_id)"
        " select s.ids[place], phone, 'stopped', null, d.ids[place] from n, d, s)"
        " insert into broadcast_messages (user_id, device_id, sequence_id, recipient_phone, recipient_name, content, media_url, status, created_at)"
        " select %(user)s, d.ids[1 + place %% %(number)s], s.ids[place], phone, '', '', '', 'sent',"
        " now() at time zone 'UTC' - (n - 0.5) / %(messages)s * %(days)s * interval '1 day' from n, d, s",
        given,
    )
    host.rows("analyze")


@pytest.mark.thorough
def test_a_file_that_is_there_is_kept_unless_it_is_forced(database: str, seqdev: Cli, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    ran = seqdev("report", "--output", file)
    assert (ran.code, ran.out) == (0, "")
    assert re.fullmatch(rf"seqdev: the report is in {file}: [\d,]+ bytes\n", ran.err)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first = file.read_text()

    ran = seqdev("report", "--output", file)
    assert ran.code == 2
    assert f"{file} is there already" in ran.err
    assert "--force" in ran.err
    assert file.read_text() == first

    assert seqdev("report", "--output", file, "--force").code == 0
    assert file.read_text() != first
    assert os.listdir(tmp_path) == ["report.html"]
    assert seqdev("report", "--output", "-").out.startswith("<!doctype html>")


def test_a_file_that_cannot_be_written_is_an_error_and_leaves_nothing(
    database: str, seqdev: Cli, tmp_path: Path
) -> None:
    ran = seqdev("report", "--output", tmp_path / "nowhere" / "report.html")
    assert ran.code == 2
    assert "No such file or directory" in ran.err
    ran = seqdev("report", "--output", "/dev/null", "--force")
    assert (ran.code, "not a plain file" in ran.err) == (2, True)
    assert os.listdir(tmp_path) == []


@pytest.mark.thorough
def test_on_a_terminal_the_page_goes_to_a_new_file(database: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        command("report"), stdout=theirs, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0
    (file,) = tmp_path.iterdir()
    assert re.fullmatch(r"seqdev-report-\d{8}T\d{6}\.html", file.name)
    assert str(file.name) in done.stderr


@pytest.mark.thorough
def test_a_tick_does_not_import_what_a_report_needs(database: str) -> None:
    script = (
        "import sys; from seqdev.cli import main; main({}); print('jinja2' in sys.modules, file=sys.stderr)"
    )
    for arguments, imports in (
        (["tick"], "False"),
        (["report", "--format", "json"], "False"),
        (["report"], "True"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", script.format(arguments)],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        assert done.stderr.splitlines()[-1] == imports, arguments


@pytest.mark.parametrize(
    "window", [("--since", "1ms"), ("--since", "20000d"), ("--since", "3h", "--until", "2099-01-01")]
)
def test_any_window_makes_a_page(host: Host, seqdev: Cli, window: tuple[str, ...]) -> None:
    incident(host, seqdev, people=2)
    page = html(seqdev, *window)
    assert 0 < page.count('class="lane"') <= 5
    places = evidence(seqdev, *window)["timeline"]
    assert 1 <= len(places) <= 97
