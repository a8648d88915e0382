"""All audits in one line each, the line for monitoring, and an operator's own file."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from seqdev.postgres.engine import Database
from tests.world.command import Cli
from tests.world.host import Host

OWN = """-- People by the first digits of their phone
--
-- Parameters:
--   first  text  the first digits
-- Row:
--   recipient_phone  text  whom it went to
-- Locks: none
\\if :{?first} \\else \\set first '6' \\endif
select sc.contact_phone as recipient_phone, sc.status, '50%' as "how much?"
from sequence_contacts as sc
where sc.contact_phone like :'first'::text || '%';
"""


def test_all_puts_the_worst_first_and_counts_what_each_audit_finds(host: Host, seqdev: Cli) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    for number in range(3):
        host.lead(user, None, f"601234567{number}")
    device = host.device(user, status="offline")
    host.lead(user, device, "6012345678")
    host.contact(sequence, step, "6012345678", device)
    ran = seqdev("audit", "all", "--format", "json")
    found = json.loads(ran.out)
    assert ran.code == 3
    assert [(line["audit"], line["severity"], line["found"]) for line in found["audits"][:3]] == [
        ("devices", "critical", 1),
        ("leads", "warning", 3),
        ("mismatches", "ok", 0),
    ]
    assert found["audits"][0]["kinds"] == {"offline_with_work": 1}
    assert (found["health"]["backlog"], found["health"]["last_tick"]) == (1, None)
    assert len(found["audits"]) == 8
    assert "4 found" in ran.err


def nagios(seqdev: Cli, *options: str) -> tuple[int, str]:
    ran = seqdev("audit", "all", "--nagios", *options)
    assert ran.err == ""
    assert ran.out.count("\n") == 1
    return ran.code, ran.out.strip()


def test_nagios_has_one_line_with_perfdata(host: Host, seqdev: Cli) -> None:
    seqdev("tick")
    code, line = nagios(seqdev)
    words, data = line.split(" | ")
    assert (code, words) == (0, "SEQDEV OK - 0 due, the oldest for 0 s; 0 mismatches; last tick 0 s ago")
    assert data == (
        "oldest_due=0s;900;3600;0 backlog=0;1000;10000;0 mismatches=0;0;100;0 tick_age=0s;300;900;0"
    )


def test_nagios_warns_and_alarms_by_its_thresholds(host: Host, seqdev: Cli) -> None:
    seqdev("tick")
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    for number in range(3):
        host.contact(sequence, step, f"601234567{number}", host.device(user), timedelta(minutes=-20))
    host.contact(sequence, step, "6012345679", host.device(user), timedelta(days=1))
    assert nagios(seqdev)[0] == 1, "the oldest is due for more than 15 minutes"
    assert nagios(seqdev, "--overdue", "1h,2h")[0] == 0
    assert nagios(seqdev, "--overdue", "5m,10m")[0] == 2
    assert nagios(seqdev, "--overdue", "1h,2h", "--backlog", "2,5")[0] == 1
    assert nagios(seqdev, "--overdue", "1h,2h", "--backlog", "1,2")[0] == 2
    assert nagios(seqdev, "--overdue", "1h,2h", "--backlog", "3,3")[0] == 0
    host.rows("update seqdev.run set finished_at = finished_at - interval '6 minutes'")
    assert nagios(seqdev, "--overdue", "1h,2h")[0] == 1
    host.rows("update seqdev.run set finished_at = null")
    code, line = nagios(seqdev, "--overdue", "1h,2h")
    assert (code, "last tick never" in line, "tick_age=U" in line) == (2, True, True)


def test_nagios_counts_mismatches(host: Host, seqdev: Cli) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "6012345678", host.device(user))
    seqdev("tick")
    host.rows("update broadcast_messages set device_id = %s", host.device(user))
    assert nagios(seqdev)[0] == 1
    assert "mismatches=1;0;100;0" in nagios(seqdev)[1]
    assert nagios(seqdev, "--mismatches", "5,10")[0] == 0


def test_nagios_knows_nothing_of_a_database_out_of_reach(
    seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQDEV_DATABASE_URL", "host=/nonexistent dbname=x")
    monkeypatch.setattr("seqdev.postgres.engine.RETRY_PATIENCE", timedelta(0))
    defaults = (Database.retry.__kwdefaults__ or {}) | {"patience": timedelta(0)}
    monkeypatch.setattr("seqdev.postgres.engine.Database.retry.__kwdefaults__", defaults)
    code, line = nagios(seqdev)
    assert (code, line) == (3, "SEQDEV UNKNOWN - the database cannot be reached")


@pytest.mark.parametrize("value", ["5", "5,1", "a,b", "-1,2", "5m,10m"])
def test_thresholds_that_are_none_are_wrong_usage(value: str, seqdev: Cli) -> None:
    ran = seqdev("audit", "all", "--nagios", "--backlog", value)
    assert (ran.code, ran.out) == (2, "")
    assert "WARN,CRIT" in ran.err


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "own 50%.sql"
    file.write_text(OWN)
    return file


def test_an_operators_file_runs_with_its_parameters(host: Host, seqdev: Cli, own: Path) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    for phone in ("6012345671", "6012345672", "7012345673"):
        host.contact(sequence, step, phone, host.device(user))
    ran = seqdev("audit", "run", own, "--format", "json")
    assert (ran.code, len(json.loads(ran.out))) == (3, 2)
    ran = seqdev("audit", "run", own, "--set", "first=7", "--format", "csv")
    assert (ran.code, ran.out) == (3, "recipient_phone,status,how_much_\n7012345673,active,50%\n")
    ran = seqdev("--mask", "audit", "run", own, "--limit", "1")
    assert "601234567" not in ran.out
    assert "2 found, 1 shown" in ran.err
    ran = seqdev("audit", "run", own, "--set", "first=9", "--format", "json")
    assert (ran.code, json.loads(ran.out), ran.err) == (0, [], "seqdev: 0 found\n")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("select 1;", "the first line must be the title"),
        ("-- T\nselect :x;", "bare :x"),
        ("-- T\nselect 1", "ended by a semicolon"),
        ("-- T\n\nselect 1\nfrm nothing;", 'syntax error at or near "nothing", in: frm nothing'),
        ("-- T\nselect *\nfrom nowhere;", 'relation "nowhere" does not exist, in: from nowhere'),
        ("-- T\nselect 1/0;", "DivisionByZero"),
        ("-- T\nselect 'a phone'::integer;", "InvalidTextRepresentation"),
        ("-- T\ndelete from leads;", "syntax error"),
        ("-- T\nwith x as (delete from leads returning 1) select * from x;", "writes"),
        ("-- T\nselect nextval('seqdev.change_id_seq');", "nextval is volatile"),
    ],
)
def test_a_broken_file_is_refused_with_the_place(
    host: Host, seqdev: Cli, tmp_path: Path, text: str, complaint: str
) -> None:
    user = host.user()
    host.lead(user, host.device(user), "6012345678")
    file = tmp_path / "own.sql"
    file.write_text(text)
    ran = seqdev("audit", "run", file)
    assert (ran.code, ran.out) == (2, "")
    assert complaint in ran.err
    assert "own.sql" in ran.err
    assert "a phone'" not in ran.err or "in:" in ran.err
    assert host.value("select count(*) from leads") == 1


def test_a_file_or_a_parameter_that_is_not_there_is_wrong_usage(seqdev: Cli, own: Path, host: Host) -> None:
    ran = seqdev("audit", "run", own, "--set", "last=7")
    assert (ran.code, "has no parameter last" in ran.err, "first" in ran.err) == (2, True, True)
    assert seqdev("audit", "run", own, "--set", "last").code == 2
    assert seqdev("audit", "run", own.with_name("none.sql")).code == 2


def health_of(seqdev: Cli) -> tuple[int, str, str]:
    ran = seqdev("audit", "all", "--format", "json")
    health = json.loads(ran.out)["health"]
    return ran.code, health["tick_state"], health["due_state"]


def test_where_nobody_is_enrolled_nothing_is_critical(host: Host, seqdev: Cli) -> None:
    assert health_of(seqdev) == (0, "ok", "ok")
    ran = seqdev("audit", "all")
    assert (ran.code, "critical" in ran.out, "next: " in ran.err) == (0, False, False)
    assert "no tick has ever come to a good end here: nobody is enrolled" in ran.err
    assert nagios(seqdev)[0] == 0
    assert json.loads(seqdev("top", "--once", "--format", "json").out)["service"]["tick_level"] == "ok"


@pytest.mark.thorough
def test_words_and_exit_code_agree_on_the_tick_and_what_is_due(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    host.lead(user, device, "60123456781", "WARM")
    contact = host.contact(sequence, step, "60123456781", device, timedelta(hours=5), lead=False)
    assert health_of(seqdev) == (3, "critical", "ok"), "somebody is enrolled, and there never was a tick"
    assert seqdev("audit", "all").err.splitlines()[-1] == "seqdev: next: seqdev tick --dry-run"
    assert nagios(seqdev)[0] == 2
    seqdev("tick")
    assert health_of(seqdev) == (0, "ok", "ok")
    host.rows("update seqdev.run set finished_at = finished_at - interval '6 minutes'")
    assert health_of(seqdev) == (3, "warning", "ok")
    host.rows("update seqdev.run set finished_at = finished_at - interval '1 hour'")
    assert health_of(seqdev) == (3, "critical", "ok")
    assert seqdev("audit", "all").err.splitlines()[-1] == "seqdev: next: seqdev runs --command tick"
    assert seqdev("audit", "all", "--tick", "2h,3h").code == 0
    host.rows("update sequence_contacts set completed_at = now(), status = 'stopped' where id = %s", contact)
    assert health_of(seqdev) == (3, "critical", "ok"), "it ticked once, and does no more"
