"""The metrics are those that the audits find, read by Prometheus' own parsers, and written whole or not at all."""

import json
import os
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from seqdev.postgres.queries import ROOT as SQL
from tests.world.command import ROOT, Cli
from tests.world.host import Host
from tests.world.metrics import Samples, read

HOSTILE = 'a "quoted"\\ name\nof two lines {x="y"} 7'


def measured(seqdev: Cli, *options: str) -> Samples:
    ran = seqdev("metrics", *options)
    assert (ran.code, ran.err) == (0, "")
    return read(ran.out)


def busy(host: Host) -> None:
    """A service with something of everything."""
    user = host.user()
    online, away, gone = (
        host.device(user, f"{status} {HOSTILE}", status) for status in ("online", "offline", "banned")
    )
    sequence, (step,) = host.simple_sequence(user)
    for number in range(4):
        host.contact(sequence, step, f"60120000{number:03}", online, timedelta(minutes=-number - 1))
    host.contact(sequence, step, "60130000000", away, timedelta(hours=-3))
    host.contact(sequence, step, "60140000000", gone)
    host.contact(sequence, step, "60150000000", None)
    for number, status in enumerate(("failed", "failed", "pending")):
        host.rows(
            "insert into broadcast_messages (user_id, device_id, sequence_id, sequence_stepid, recipient_phone,"
            " recipient_name, content, media_url, status, error_message)"
            " values (%s, %s, %s, %s, %s, '', '', '', %s, 'boom')",
            *(user, online, sequence, step, f"6016000000{number}", status),
        )


def test_an_empty_database_has_metrics(host: Host, seqdev: Cli) -> None:
    found = measured(seqdev)
    assert found["seqdev_backlog_contacts",] == 0
    assert found["seqdev_paused",] == 0
    assert ("seqdev_last_tick_timestamp_seconds",) not in found, "what has no value has no line"


def test_the_metrics_are_what_the_audits_and_the_tick_find(host: Host, seqdev: Cli) -> None:
    busy(host)
    host.rule("policy", "strict")
    assert seqdev("tick", "--max-messages", "1").code == 0
    host.rows(
        "update broadcast_messages set device_id = (select id from user_devices where status = 'banned') where error_message is null"
    )
    seqdev("pause", "--why", "x")
    assert seqdev("tick").code == 4
    found = measured(seqdev)

    health = json.loads(seqdev("audit", "all", "--format", "json").out)["health"]
    assert found["seqdev_backlog_contacts",] == health["backlog"] > 3
    assert found["seqdev_paused_contacts",] == health["on_pause"]
    assert found["seqdev_paused",] == 1
    assert found["seqdev_oldest_due_timestamp_seconds",] == pytest.approx(
        host.value("select extract(epoch from %s::timestamptz)::float8", health["oldest_due"])
    )
    assert found["seqdev_last_tick_timestamp_seconds",] > found["seqdev_oldest_due_timestamp_seconds",]

    def labelled(name: str) -> dict[str, float]:
        return {key[1]: value for key, value in found.items() if key[0] == name}

    planned = json.loads(seqdev("tick", "--dry-run", "--format", "json").out)
    assert labelled("seqdev_waiting_contacts") == {**planned["waiting"], "next_tick": planned["queued"]} != {}
    kinds = {
        audit: {
            one["finding"]: one["found"]
            for one in json.loads(seqdev("audit", audit, "--since", "1h", "--format", "json").out)["found"]
        }
        for audit in ("mismatches",)
    }
    assert labelled("seqdev_mismatch_messages") == kinds["mismatches"] != {}
    assert labelled("seqdev_failed_messages") == {"other": 2}
    assert labelled("seqdev_devices") == {"available": 1, "away": 1, "gone": 1}
    runs = {(key[1], key[2]): value for key, value in found.items() if key[0] == "seqdev_runs"}
    assert runs == {("tick", "done"): 1, ("tick", "paused"): 1}
    rooms = json.loads(seqdev("audit", "devices", "--format", "json").out)["devices"]
    room = sum(row["room"] for row in rooms if row["availability"] == "Available")
    assert found["seqdev_device_room_messages",] == room > 0


def test_the_room_of_devices_is_told_by_device_only_if_asked_whatever_their_names(
    host: Host, seqdev: Cli
) -> None:
    busy(host)
    found = measured(seqdev, "--by", "device")
    rooms = {key[1:]: value for key, value in found.items() if key[0] == "seqdev_device_room_messages"}
    names = {(row.device_name, str(row.id)) for row in host.rows("select id, device_name from user_devices")}
    assert rooms.keys() == names
    assert sum(rooms.values()) == measured(seqdev)["seqdev_device_room_messages",]


def test_each_undo_is_no_command_of_its_own(host: Host, seqdev: Cli) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "60120000000", None)
    host.rows("update leads set device_id = %s", host.device(user))
    run = json.loads(seqdev("repair", "missing", "--yes", "--format", "json").out)["summary"]["run_id"]
    assert seqdev("repair", "undo", run, "--yes").code == 0
    assert measured(seqdev)["seqdev_runs", "repair undo", "done"] == 1


def test_no_phone_and_nothing_but_measuring(host: Host, seqdev: Cli) -> None:
    busy(host)
    assert "6012" not in seqdev("metrics", "--by", "device").out
    assert host.value("select count(*) from seqdev.run") == 0


def test_the_file_is_replaced_whole_and_everybody_may_read_it(
    host: Host, seqdev: Cli, tmp_path: Path
) -> None:
    file = tmp_path / "seqdev.prom"
    os.umask(0o077)
    try:
        assert seqdev("metrics", "--output", file).code == 0
    finally:
        os.umask(0o022)
    assert read(file.read_text())
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [one.name for one in tmp_path.iterdir()] == ["seqdev.prom"]
    before = file.stat().st_ino
    host.rows("alter table leads rename to elsewhere")
    assert seqdev("metrics", "--output", file).code == 10
    host.rows("alter table elsewhere rename to leads")
    assert file.stat().st_ino == before, "the old one stays, and tells by its time how old it is"


@pytest.mark.parametrize("file", ["-", "/dev/null", "/proc/none/x.prom", "/"])
def test_a_file_that_cannot_be_written_is_wrong_usage(file: str, host: Host, seqdev: Cli) -> None:
    for command in ("metrics", "--output", file), ("tick", "--metrics", file):
        ran = seqdev(*command)
        assert ran.code == 2 or (ran.code == 0 and "of this run were not written: cannot write" in ran.err)
        assert file in ran.err or file == "-"
        assert "Traceback" not in ran.err


def test_a_run_writes_its_own_numbers_however_it_ends(host: Host, seqdev: Cli, tmp_path: Path) -> None:
    busy(host)
    file = tmp_path / "tick.prom"
    ran = seqdev("tick", "--policy", "strict", "--metrics", file, "--format", "json")
    summary: dict[str, Any] = json.loads(ran.out)
    found = read(file.read_text())
    assert found["seqdev_tick_exit_code",] == ran.code == 0
    assert found["seqdev_tick_queued_messages",] == summary["queued"] == 4
    assert found["seqdev_tick_due_contacts",] == summary["due"]
    waiting = {key[1]: value for key, value in found.items() if key[0] == "seqdev_tick_waiting_contacts"}
    assert waiting == summary["waiting"] != {}
    host.rows("alter table broadcast_messages rename to elsewhere")
    assert seqdev("tick", "--metrics", file).code == 10
    host.rows("alter table elsewhere rename to broadcast_messages")
    found = read(file.read_text())
    assert (found["seqdev_tick_exit_code",], ("seqdev_tick_queued_messages",) in found) == (10, False)


def test_every_metric_is_documented(host: Host, seqdev: Cli, tmp_path: Path) -> None:
    busy(host)
    seqdev("tick", "--metrics", tmp_path / "x", "--policy", "strict")
    host.rows(
        "update broadcast_messages set device_id = (select id from user_devices where status = 'banned')"
    )
    names = {key[0] for key in measured(seqdev) | read((tmp_path / "x").read_text())}
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert {name for name in names if f"`{name}`" not in page and f"`{name}{{" not in page} == set()


def test_a_scrape_reads_no_table_of_contacts_for_its_devices() -> None:
    assert "sequence_contacts" not in (SQL / "metrics" / "devices.sql").read_text()


def test_a_dry_run_writes_no_metrics_and_says_what_a_tick_could_not_write(
    host: Host, seqdev: Cli, tmp_path: Path
) -> None:
    ran = seqdev("tick", "--dry-run", "--metrics", str(tmp_path / "x"))
    assert (ran.code, list(tmp_path.iterdir())) == (0, [])
    assert f"a dry run writes no metrics: {tmp_path}/x stays as it is" in ran.err
    ran = seqdev("tick", "--dry-run", "--metrics", str(tmp_path / "none" / "x"))
    assert (ran.code, ran.out) == (2, "")
    assert f"cannot write {tmp_path}/none/x: No such file or directory" in ran.err


def test_a_line_of_a_tick_says_when_and_where(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "hush-7f")
    for options in ([], ["--dry-run"]):
        line = json.loads(seqdev("tick", *options, "--format", "json").out)
        assert line["host"] == os.uname().nodename
        assert line["database"].endswith(f"/{host.connection.info.dbname}")
        assert host.value("select now() - %s::timestamptz < '1 minute'", line["started"])
        assert "hush-7f" not in str(line)
