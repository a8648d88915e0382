"""What an audit says before its rows is what its rows say, whatever is asked for; and what a repair changes of it."""

import json
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from seqdev.audit.summary import Summary
from seqdev.audit.view import said
from seqdev.output.words import Clock
from tests.world.command import Cli
from tests.world.host import MESSAGE_ID, Host

SUMMED = ("mismatches", "contacts", "writers", "collisions", "failed")
PEOPLE = 120


@pytest.fixture
def crowd(host: Host) -> Host:
    """People with messages of the last three hours from any of four devices, by seqdev or not, sent or failed.

    Some of them wait for their next step, some for one that is long due, some have nothing to come.
    """
    user = host.user()
    devices = [host.device(user, name) for name in "ABC"] + [host.device(user, "D", "banned")]
    sequence, steps = host.simple_sequence(user, steps=2)
    host.rows(
        "insert into sequence_contacts (id, sequence_id, sequence_stepid, contact_phone, assigned_device_id, status,"
        " completed_at, next_trigger_time)"
        " select gen_random_uuid(), %s, step.id, '6012' || lpad(g::text, 7, '0'), (%s::uuid[])[1 + g %% 4],"
        " case when step.place = 1 then 'completed' else 'active' end, now() at time zone 'UTC' - g * interval '1 minute',"
        " now() at time zone 'UTC' - (g - 60) * interval '1 minute'"
        " from generate_series(1, %s) as g cross join unnest(%s::uuid[]) with ordinality as step (id, place)"
        " where step.place = 1 or g %% 3 > 0",
        *(sequence, devices, PEOPLE, steps),
    )
    host.make_leads()
    host.rows(
        "insert into broadcast_messages (id, user_id, device_id, sequence_id, sequence_stepid, recipient_phone, status,"
        " error_message, created_at, content, media_url, recipient_name)"
        f" select case when n.number %% 5 > 0 then {MESSAGE_ID} else gen_random_uuid() end, %s,"
        " (%s::uuid[])[1 + n.number / 2 %% 4], sc.sequence_id, sc.sequence_stepid, sc.contact_phone,"
        " case when n.number %% 7 = 0 then 'failed' else 'sent' end,"
        " case when n.number %% 14 = 0 then 'not on whatsapp' when n.number %% 7 = 0 then 'device offline' end,"
        " now() at time zone 'UTC' - n.number * interval '90 seconds', 'hello', '', 'Ann'"
        " from sequence_contacts as sc"
        " cross join lateral (select substr(sc.contact_phone, 5)::integer as number) as n where sc.sequence_stepid = %s",
        *(user, devices, steps[0]),
    )
    return host


def document(seqdev: Cli, name: str, *options: str) -> Any:
    ran = seqdev("audit", name, "--format", "json", *options)
    assert ran.code in (0, 3), ran.err
    return json.loads(ran.out)


def stated(name: str, rows: list[dict[str, Any]]) -> Counter[str]:
    """Findings by their state; of failed messages each one counts."""
    found: Counter[str] = Counter()
    for row in rows:
        found[row["state"]] += row["messages"] if name == "failed" else 1
    return found


@pytest.mark.cases(6)
@pytest.mark.parametrize("name", SUMMED)
@pytest.mark.parametrize(
    "options", [(), ("--since", "30m"), ("--since", "7d"), ("--device", "A"), ("--device", "D")]
)
def test_the_totals_are_those_of_the_rows_whatever_is_asked_for(
    crowd: Host, seqdev: Cli, name: str, options: tuple[str, ...]
) -> None:
    whole = document(seqdev, name, *options, "--limit", "100000")
    summary, rows = whole["summary"], whole[name]
    states = stated(name, rows)
    assert {state: summary[state] for state in ("open", "settled", "irreparable")} == {
        state: states[state] for state in ("open", "settled", "irreparable")
    }
    assert states["repaired"] == summary["repaired"] == 0
    if name in ("mismatches", "writers"):
        instants = sorted(datetime.fromisoformat(row["at"]) for row in rows)
        ends = [datetime.fromisoformat(summary[end]) for end in ("first_at", "last_at")] if rows else []
        assert ends == ([instants[0], instants[-1]] if rows else [])
        assert sum(summary["buckets"]) == len(rows)
        named = Counter(row.get("used_device", row.get("device")) for row in rows)
        assert {one["device"]: one["number"] for one in summary["worst"]} == named
    assert len(summary["buckets"]) == 30
    # However few are listed, the summary is of all.
    assert document(seqdev, name, *options, "--limit", "1")["summary"] | {"last_at": 0} == summary | {
        "last_at": 0
    }


def test_there_is_something_of_each_state_to_be_counted(crowd: Host, seqdev: Cli) -> None:
    found = {name: document(seqdev, name, "--since", "1d")["summary"] for name in SUMMED}
    assert [name for name in SUMMED if not found[name]["open"]] == ["writers"]
    assert [name for name in ("mismatches", "writers", "failed") if not found[name]["irreparable"]] == []
    assert found["mismatches"]["still_happens"]
    assert found["mismatches"]["per_minute"] > 0


def test_after_a_repair_its_people_are_counted_as_repaired(crowd: Host, seqdev: Cli) -> None:
    before = document(seqdev, "mismatches", "--since", "1d")["summary"]
    causes = [option for cause in ("foreign_writer", "fallback_used") for option in ("--cause", cause)]
    done = seqdev("repair", "assigned", "--since", "1d", *causes, "--yes", "--format", "json")
    changed = json.loads(done.out)["summary"]["changed"]
    after = document(seqdev, "mismatches", "--since", "1d", "--limit", "100000")
    assert changed > 0
    assert after["summary"]["repaired"] == changed
    assert after["summary"]["open"] == before["open"] - changed
    assert stated("mismatches", after["mismatches"])["repaired"] == changed
    seqdev("repair", "undo", "last", "--yes")
    assert document(seqdev, "mismatches", "--since", "1d")["summary"]["repaired"] == 0


def test_people_moved_from_a_lost_device_are_no_open_collisions(crowd: Host, seqdev: Cli) -> None:
    before = document(seqdev, "collisions", "--device", "D")["summary"]
    assert before["open"] > 0
    assert seqdev("repair", "device", "D", "--spread", "--yes").code == 0
    after = document(seqdev, "collisions", "--limit", "100000")
    states = stated("collisions", after["collisions"])
    assert states["repaired"] == after["summary"]["repaired"] > 0
    assert {row["finding"] for row in after["collisions"] if row["state"] == "repaired"} == {"repaired"}
    kinds = {kind["finding"]: kind["severity"] for kind in after["found"]}
    assert kinds["repaired"] == "note"


def test_what_is_repaired_and_no_row_any_more_is_counted_all_the_same(crowd: Host, seqdev: Cli) -> None:
    before = document(seqdev, "failed")["summary"]
    assert seqdev("repair", "failed", "--yes").code in (0, 3)
    after = document(seqdev, "failed")["summary"]
    assert after["repaired"] == before["open"] - after["open"] > 0
    crowd.rows("update sequence_contacts set status = 'set_aside', last_error = 'x' where status = 'active'")
    assert seqdev("repair", "quarantined", "--yes").code == 0
    crowd.rows("update sequence_contacts set next_trigger_time = now() at time zone 'UTC' + interval '1 day'")
    last = document(seqdev, "contacts")
    assert last["summary"]["repaired"] > 0


def test_on_a_screen_the_summary_stands_before_the_rows_and_not_in_csv(crowd: Host, seqdev: Cli) -> None:
    out = seqdev("audit", "mismatches", "--since", "1d").out
    head, rows = out.split("mismatches\n\n")
    assert "mismatches of the last 1 d" in head
    assert re.search(r"\d+ open, 0 repaired, \d+ that nothing can repair", head)
    assert re.search(r"still happening: [\d.]+ a minute; last \d\d:\d\d UTC, (now|\d+ (s|min).* ago)", head)
    assert re.search(r"^\|.{30}\| 48 min each$", head, re.MULTILINE)
    assert "seqdev repair assigned" in rows
    for output in ("csv", "jsonl"):
        ran = seqdev("audit", "mismatches", "--since", "1d", "--format", output)
        assert "summary" not in ran.out + ran.err
        assert "repaired, " not in ran.out


def test_what_went_on_when_the_window_began_says_that_it_may_be_older() -> None:
    clock = Clock(ZoneInfo("UTC"))
    going_on = Summary(timedelta(hours=1), open=9, still_happens=True, buckets=[1, 2, 1, *[0] * 26, 1])

    def told(found: Summary) -> bool:
        return "perhaps before" in said("mismatches", found, clock, True).plain(markdown=False)

    assert not told(going_on), "nothing says when"
    going_on = replace(going_on, first_at=datetime.now(UTC), last_at=datetime.now(UTC))
    assert told(going_on)
    assert not told(replace(going_on, buckets=[1, 0, 1, *[1] * 27])), "now and then is no beginning"
    assert not told(replace(going_on, still_happens=False)), "it is over"


def test_where_nothing_is_found_nothing_is_said(host: Host, seqdev: Cli) -> None:
    for name in SUMMED:
        ran = seqdev("audit", name)
        assert (ran.code, ran.out) == (0, "")
        summary = document(seqdev, name)["summary"]
        assert (summary["open"], summary["first_at"], summary["buckets"]) == (0, None, [0] * 30)


def test_the_sessions_that_could_be_the_second_writer_are_named(crowd: Host, seqdev: Cli) -> None:
    crowd.rows("set application_name = 'old processor'")
    (session,) = [
        one for one in document(seqdev, "writers")["sessions"] if one["application"] == "old processor"
    ]
    assert (session["role"], session["sessions"], session["hidden"]) == ("postgres", 1, False)
    assert session["since"] is not None
    assert "old processor" in seqdev("audit", "writers").out


def test_a_role_that_may_not_see_the_sessions_of_others_is_told_so(
    crowd: Host, database: str, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd.rows("set application_name = 'old processor'")
    crowd.rows(
        "do $$ begin create role seqdev_blind login; exception when duplicate_object then null; end $$"
    )
    crowd.rows("grant usage on schema public, seqdev to seqdev_blind")
    crowd.rows("grant select on all tables in schema public to seqdev_blind")
    crowd.rows("grant select on all tables in schema seqdev to seqdev_blind")
    monkeypatch.setenv("SEQDEV_DATABASE_URL", database.replace("user=postgres", "user=seqdev_blind"))
    (session,) = [
        one for one in document(seqdev, "writers")["sessions"] if one["application"] == "old processor"
    ]
    assert (session["role"], session["hidden"]) == ("postgres", True)
    assert (session["client"], session["since"], session["at_work"]) == (None, None, 0)
    ran = seqdev("audit", "writers")
    assert "old processor" in ran.out
    assert "this role may not see where they come from" in ran.err
    assert "pg_read_all_stats" in ran.err
    crowd.rows("drop owned by seqdev_blind")


def test_all_says_what_time_it_looks_at_grades_the_tick_and_names_the_next_command(
    crowd: Host, seqdev: Cli
) -> None:
    found = document(seqdev, "all")
    windows = {line["audit"]: line["window"] for line in found["audits"]}
    assert (windows["mismatches"], windows["writers"], windows["leads"]) == ("1 hour", "1 day", "now")
    assert (found["health"]["tick_state"], found["health"]["due_state"]) == ("critical", "warning")
    # What a list of ticks would not tell: there was none.
    assert seqdev("audit", "all").err.splitlines()[-1] == "seqdev: next: seqdev tick --dry-run"
    seqdev("tick")
    found = document(seqdev, "all", "--since", "2h")
    assert found["health"]["tick_state"] == "ok"
    assert {line["window"] for line in found["audits"]} == {"2 h", "now"}
    worst = found["audits"][0]["audit"]
    assert seqdev("audit", "all").err.splitlines()[-1] == f"seqdev: next: seqdev audit {worst}"
