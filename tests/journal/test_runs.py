"""The journal of runs: who ran what, how it ended, what it tells nobody; partial runs and missed ticks."""

import csv
import io
import json
import os
import pwd
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqdev import __version__
from tests.world.command import ROOT, Cli, Start, command
from tests.world.host import Connect, Host
from tests.world.obstacles import halt
from tests.world.sessions import stopped
from tests.world.waiting import until
from tests.world.writing import WRITING

ME = (pwd.getpwuid(os.geteuid()).pw_name, socket.gethostname(), "postgres")
PHONE = "60123456789"
SECRET = "s3cr3t"


def journal(seqdev: Cli, *options: str, code: int = 0) -> Any:
    ran = seqdev("runs", "--format", "json", *options)
    assert ran.code == code, ran.err
    return json.loads(ran.out)


@pytest.mark.cases(3)
@pytest.mark.parametrize("words", WRITING)
def test_every_command_that_writes_enters_who_ran_it_where_with_what_and_how_it_ended(
    seqdev: Cli, world: Callable[[str], list[str]], words: str
) -> None:
    ran = seqdev(*world(words))
    run = journal(seqdev, "--limit", "1")[0]
    assert words.startswith(" ".join(run["command"].split()[:2]))
    assert (run["os_user"], run["host"], run["database_user"]) == ME
    assert (run["exit_code"], run["state"], run["reason"]) == (ran.code, "done", None)
    assert (run["version"], run["pid"]) == (__version__, os.getpid())
    assert run["counts"]
    assert run["lasted"] > 0
    options = [word for word in words.split() if word.startswith("--")]
    assert [word for word in run["arguments"].split() if word.startswith("--")] == options


def test_harmless_values_are_kept(host: Host, seqdev: Cli, database: str) -> None:
    user = host.user()
    tick = ["tick", "--policy", "strict", "--budget", "1m", "--batch-size", "70"]
    assert seqdev("--database-url", database, "--mask", *tick).code == 0
    assert (
        journal(seqdev)[0]["arguments"]
        == "--database-url … --mask --policy strict --batch-size 70 --budget 60s"
    )
    assert seqdev("enroll", "--user", user, "--yes").code == 0
    assert journal(seqdev)[0]["arguments"] == f"--user {user} --yes"


def test_no_phone_name_file_url_or_password_is_kept(
    host: Host, seqdev: Cli, database: str, tmp_path: Path, connect: Connect
) -> None:
    user = host.user()
    device = host.device(user, PHONE)
    host.device(user, SECRET)
    host.simple_sequence(user)
    host.rows("update sequences set name = %s", PHONE)
    host.lead(user, device, PHONE, "WARM")
    file = tmp_path / f"{PHONE}.csv"
    file.write_text(f"phone,name\n{PHONE},{SECRET}\n6012,{SECRET}\n")
    phones = tmp_path / f"phones-{SECRET}"
    phones.write_text(PHONE)
    plan = tmp_path / f"plan-{PHONE}"
    rejects = tmp_path / f"rejects-{SECRET}"
    url = f"{database} fallback_application_name={SECRET}"
    options = ["--device", PHONE, "--sequence", PHONE, "--phones", str(phones), "--yes"]
    assert seqdev("--database-url", url, "enroll", *options).code == 0
    options = ["--user", str(user), "--device", PHONE, "--rejects", str(rejects)]
    assert seqdev("--database-url", url, "leads", "import", str(file), *options).code == 3
    options = [PHONE, "--to", SECRET, "--plan", str(plan), "--max", "60123456"]
    assert seqdev("--database-url", url, "repair", "device", *options, "--dry-run").code == 0
    assert seqdev("--database-url", url, "repair", "device", *options, "--yes").code == 0
    host.rows(
        f"create function refuse() returns trigger language plpgsql as $$ begin raise exception '{PHONE} {SECRET}'; end $$"
    )
    host.rows(
        "create trigger refuse before insert on broadcast_messages for each row execute function refuse()"
    )
    seqdev("--database-url", url, "tick", "--max-messages", "60123456")
    kept = [row[0] for row in host.rows("select r::text from seqdev.run r")]
    assert len(kept) == 4
    for text in kept:
        assert PHONE not in text
        assert "60123456" not in text
        assert SECRET not in text
        assert "password" not in text
        assert str(tmp_path) not in text


def test_a_command_that_fails_enters_its_end_and_why(host: Host, seqdev: Cli, tmp_path: Path) -> None:
    user = host.user()
    host.device(user, "A")
    host.rows(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'x'; end $$"
    )
    host.rows("create trigger refuse before insert on leads for each row execute function refuse()")
    file = tmp_path / "leads.csv"
    file.write_text(f"phone\n{PHONE}\n")
    ran = seqdev("leads", "import", file, "--user", user, "--device", "A")
    assert ran.code == 1
    run = journal(seqdev)[0]
    assert (run["state"], run["exit_code"]) == ("failed", 1)
    assert f"seqdev: {run['reason']}" in ran.err.splitlines()


def test_an_error_that_nobody_expected_is_entered_by_its_kind(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr("seqdev.tick.backlog.claim_batch", fail)
    assert seqdev("tick").code == 1
    run = journal(seqdev)[0]
    assert (run["state"], run["exit_code"], run["reason"]) == (
        "failed",
        1,
        "unexpected error: RuntimeError",
    )


def test_the_error_itself_is_told_when_its_end_cannot_be_entered(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        host.rows("alter table seqdev.run drop column counts")
        raise RuntimeError

    monkeypatch.setattr("seqdev.tick.backlog.claim_batch", fail)
    ran = seqdev("tick")
    assert (ran.code, ran.err.splitlines()[0]) == (1, "seqdev: unexpected error: RuntimeError")


@pytest.mark.thorough
@pytest.mark.parametrize(("closed", "code", "state"), [("/dev/full", 1, "failed"), ("", 141, "done")])
def test_a_stdout_that_takes_nothing_is_in_the_journal(
    host: Host, seqdev: Cli, closed: str, code: int, state: str
) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, PHONE, host.device(user))
    if closed:
        with open(closed, "w") as out:
            ran = subprocess.run(command("tick"), stdout=out, stderr=subprocess.PIPE, check=False, cwd=ROOT)
    else:
        reading, writing = os.pipe()
        os.close(reading)
        ran = subprocess.run(command("tick"), stdout=writing, stderr=subprocess.PIPE, check=False, cwd=ROOT)
        os.close(writing)
    assert (ran.returncode, b"Traceback" in ran.stderr) == (code, False)
    assert host.value("select count(*) from broadcast_messages") == 1
    run = journal(seqdev)[0]
    assert (run["exit_code"], run["state"], run["counts"]["queued"]) == (code, state, 1)


def test_a_killed_run_is_cut_off_and_one_at_work_is_running(
    host: Host, start: Start, seqdev: Cli, connect: Connect, database: str
) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, PHONE, host.device(user))
    go_on = halt(host, connect, database)
    process = start("tick", "--why", "cron is being moved")
    until(lambda: stopped(host) == 1, "the tick to be stopped", process=process)
    # However long it takes.
    host.rows("update seqdev.run set started_at = started_at - interval '2 days'")
    (run,) = journal(seqdev)
    assert (run["state"], run["exit_code"]) == ("running", None)
    assert run["lasted"] > 100_000
    session = host.value(
        "select application_name from pg_stat_activity"
        " where datname = current_database() and application_name ~ '^seqdev tick'"
    )
    assert session == f"seqdev tick {run['run_id'][:8]}"
    process.kill()
    go_on()
    until(
        lambda: (
            not host.rows(
                "select 1 from pg_stat_activity where datname = current_database() and application_name ~ '^seqdev tick'"
            )
        ),
        "the session to end",
    )
    (run,) = journal(seqdev)
    assert (run["state"], run["lasted"], run["exit_code"]) == ("cut off", None, None)
    assert run["why"] == "cron is being moved"
    ran = seqdev("runs")
    assert (ran.code, "cut off" in ran.out) == (0, True)


def test_behind_a_pooler_or_for_other_roles_an_unfinished_run_is_judged_by_its_age(
    host: Host, seqdev: Cli, connect: Connect, database: str
) -> None:
    assert seqdev("tick").code == 0
    # A pooler's session stays there when its client has gone.
    pooled = connect(f"{database} application_name='seqdev tick {'0' * 8}'")
    host.rows(
        f"update seqdev.run set finished_at = null, backend_pid = null, session = 'seqdev tick {'0' * 8}'"
    )
    assert journal(seqdev)[0]["state"] == "running"
    host.rows("update seqdev.run set started_at = started_at - interval '11 minutes'")
    assert journal(seqdev)[0]["state"] == "cut off"
    pooled.execute("begin")
    assert journal(seqdev)[0]["state"] == "running"


def test_they_are_listed_newest_first_and_what_is_left_out_is_announced(host: Host, seqdev: Cli) -> None:
    for _ in range(3):
        seqdev("tick")
    seqdev("enroll", "--yes")
    host.rows(
        "update seqdev.run set started_at = started_at - interval '2 days'"
        " where started_at = (select min(started_at) from seqdev.run)"
    )
    found = [run["started"] for run in journal(seqdev)]
    assert (len(found), found) == (4, sorted(found, reverse=True))
    ran = seqdev("runs", "--limit", "2")
    assert ran.err == "seqdev: 4 runs, 2 shown: --limit, or --all\n"
    assert len(ran.out.splitlines()) == 4
    assert len(journal(seqdev, "--command", "tick")) == 3
    assert len(journal(seqdev, "--command", "tick", "--since", "1d")) == 2
    assert journal(seqdev, "--command", "ti") == []
    host.rows(
        "insert into seqdev.run (id, command, started_at, version)"
        " select gen_random_uuid(), 'tick', now() - i * interval '3 days', '0' from generate_series(1, 30) i"
    )
    assert len(journal(seqdev)) == 20
    assert len(journal(seqdev, "--all")) == 34


@pytest.mark.parametrize("output", ["table", "json", "jsonl", "csv", "tsv", "markdown"])
def test_every_format(host: Host, seqdev: Cli, output: str) -> None:
    seqdev("tick")
    run = str(host.value("select id from seqdev.run"))
    for arguments in (["runs"], ["runs", run[:8]]):
        ran = seqdev(*arguments, "--format", output)
        assert (ran.code, run in ran.out, ran.err) == (0, True, "")
    if output in ("csv", "tsv"):
        (row,) = csv.DictReader(
            io.StringIO(seqdev("runs", "--format", output).out), delimiter="\t" if output == "tsv" else ","
        )
        assert (row["command"], row["state"]) == ("tick", "done")


def test_a_run_is_shown_whole_by_the_beginning_of_its_id(host: Host, seqdev: Cli) -> None:
    seqdev("tick")
    run = host.value("select id from seqdev.run")
    assert journal(seqdev, str(run)[:4])["run_id"] == str(run)
    assert journal(seqdev, str(run).upper())["counts"]["policy"] == "queue"
    ran = seqdev("runs", "ffff")
    assert (ran.code, ran.out) == (2, "")
    host.rows(
        "insert into seqdev.run (id, command, started_at, version)"
        " select overlay(id::text placing '0000' from 20 for 4)::uuid, 'other', now(), '0' from seqdev.run"
    )
    ran = seqdev("runs", str(run)[:8])
    assert (ran.code, ran.out, "could be any of" in ran.err, "other" in ran.err) == (2, "", True, True)
    assert seqdev("runs", str(run), "--all").code == 2


def ticks(host: Host, minutes: list[float], exit_code: int | None = 0) -> None:
    """Ticks that began so many minutes ago."""
    for minute in minutes:
        host.rows(
            "insert into seqdev.run (id, command, started_at, finished_at, exit_code, version) values"
            " (gen_random_uuid(), 'tick', now() - %s * interval '1 minute', now() - %s * interval '1 minute', %s, '0')",
            minute,
            minute,
            exit_code,
        )


def test_missed_ticks_are_times_in_which_none_came_to_a_good_end(host: Host, seqdev: Cli) -> None:
    ticks(host, [n + 0.1 * (n % 3) for n in range(1, 60) if not 10 < n < 16 and not 20 < n < 23])
    ticks(host, [11, 12], exit_code=4)
    ticks(host, [13], exit_code=1)
    host.rows(
        "insert into seqdev.run (id, command, started_at, version) values (gen_random_uuid(), 'tick', now() - interval '14 minutes', '0')"
    )
    ticks(host, [21.5], exit_code=143)
    found = journal(seqdev, "--every", "1m", "--since", "1h", code=3)
    assert [(one["missed"], one["began"]) for one in found] == [
        (5, {"paused": 2, "failed": 1, "unfinished": 1}),
        (2, {"stopped": 1}),
    ]
    assert found[0]["lasted"] == pytest.approx(360, abs=15)
    ran = seqdev("runs", "--every", "1m", "--since", "1h", "--limit", "1")
    assert (ran.code, len(ran.out.splitlines())) == (3, 3)
    assert ran.err == "seqdev: 2 times, 1 shown: --limit, or --all\n"
    # Another schedule, other times.
    assert journal(seqdev, "--every", "10m", "--since", "1h") == []
    assert seqdev("runs", "--every", "10m", "--since", "1h").err == "seqdev: no tick was missed\n"


def test_ticks_are_missed_up_to_now_and_since_the_beginning(host: Host, seqdev: Cli) -> None:
    ticks(host, [90], exit_code=1)
    (none,) = journal(seqdev, "--every", "1m", "--since", "1h", code=3)
    assert (none["missed"], none["began"]) == (60, {})
    ticks(host, [29.9])
    first, second = journal(seqdev, "--every", "1m", "--since", "1h", code=3)
    assert (first["missed"], second["missed"]) == (28, 30)
    # The tick of this minute may be under way.
    ticks(host, [n + 0.5 for n in range(1, 60)])
    assert journal(seqdev, "--every", "1m", "--since", "1h") == []


@pytest.mark.parametrize(
    "options", [["--every", "0s"], ["--every", "1m", "--command", "tick"], ["--limit", "0"]]
)
def test_wrong_usage(host: Host, seqdev: Cli, options: list[str]) -> None:
    assert seqdev("runs", *options).code == 2


def test_only_a_tick_that_came_to_a_good_end_is_a_sign_of_life(host: Host, seqdev: Cli) -> None:
    ticks(host, [20])
    for code in (1, 4, 13, 143):
        ticks(host, [1], exit_code=code)
    assert seqdev("audit", "all", "--nagios").code == 2
    for exit_code in (0, 3, 141, None):
        host.rows("delete from seqdev.run")
        ticks(host, [1], exit_code=exit_code)
        assert seqdev("audit", "all", "--nagios").code == 0, exit_code


def test_an_old_journal_gets_the_new_columns_without_being_written_anew(host: Host, seqdev: Cli) -> None:
    seqdev("tick")
    new = [
        "arguments",
        "os_user",
        "database_user",
        "host",
        "pid",
        "session",
        "backend_pid",
        "exit_code",
        "reason",
    ]
    host.rows("alter table seqdev.run " + ", ".join(f"drop column {name}" for name in new))
    host.rows("drop table seqdev.pause")
    before = host.value("select pg_relation_filenode('seqdev.run')")
    ran = seqdev("tick")
    assert (ran.code, "seqdev db upgrade" in ran.err) == (10, True)
    assert seqdev("db", "upgrade", "--yes").code == 0
    assert host.value("select pg_relation_filenode('seqdev.run')") == before
    assert journal(seqdev, "--command", "tick")[0]["state"] == "done"
    assert seqdev("tick").code == 0


def test_an_upgrade_is_in_the_journal_where_there_is_one(host: Host, seqdev: Cli) -> None:
    host.rows("drop index seqdev_contacts_due")
    assert seqdev("db", "upgrade", "--yes").code == 0
    (run,) = journal(seqdev)
    assert (run["command"], run["arguments"], run["state"]) == ("db upgrade", "--yes", "done")
    assert run["counts"] == {"planned": 1, "done": 1}
