"""Rules: set, asked for, taken back, and obeyed by every host."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.world.command import Cli
from tests.world.host import Host


def rule(seqdev: Cli, name: str, *options: object) -> Any:
    ran = seqdev("rules", "get", name, *options, "--format", "json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def set_rule(seqdev: Cli, name: str, value: object, *options: object) -> str:
    """Sets a rule; the run."""
    ran = seqdev("rules", "set", name, value, *options, "--yes", "--format", "json")
    assert ran.code == 0, ran.err
    return ran.err.split("seqdev repair undo ")[1].strip()


def everything(host: Host) -> list[Any]:
    return host.rows("select name, scope, scope_id, value from seqdev.rule order by id")


def test_a_rule_is_set_asked_for_and_taken_away(host: Host, seqdev: Cli) -> None:
    assert rule(seqdev, "policy")["source"] == "default"
    ran = seqdev("rules", "set", "policy", "strict", "--yes", "--why", "devices die", "--format", "csv")
    assert (ran.code, ran.out.splitlines()[1]) == (0, "policy,all,,,,strict")
    found = rule(seqdev, "policy")
    assert (found["value"], found["source"], found["scope"], found["default"]) == (
        "strict",
        "rule",
        "all",
        "queue",
    )
    (past,) = json.loads(seqdev("rules", "history", "--format", "json").out)
    assert (past["name"], past["old_value"], past["new_value"], past["why"]) == (
        "policy",
        None,
        "strict",
        "devices die",
    )
    assert past["os_user"]
    ran = seqdev("rules", "unset", "policy", "--yes")
    assert ran.code == 0, ran.err
    assert rule(seqdev, "policy")["value"] == "queue"
    assert "nothing to do" in seqdev("rules", "unset", "policy", "--yes").err
    assert len(json.loads(seqdev("rules", "history", "policy", "--format", "json").out)) == 2


def test_the_most_specific_rule_decides(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device, other = host.device(user, "A"), host.device(host.user(), "B")
    set_rule(seqdev, "max_per_hour", 70)
    set_rule(seqdev, "max_per_hour", 60, "--user", user)
    set_rule(seqdev, "max_per_hour", 50, "--device", "A")
    for options, value, scope in (
        ([], "70", "all"),
        (["--user", user], "60", "user"),
        (["--device", "A"], "50", "device"),
        (["--device", other], "70", "all"),
    ):
        found = rule(seqdev, "max_per_hour", *options)
        assert (found["value"], found["scope"]) == (value, scope)
    assert rule(seqdev, "max_per_hour", "--device", device)["scope_name"] == "A"
    listed = json.loads(seqdev("rules", "list", "--format", "json").out)
    assert [one["value"] for one in listed if one["name"] == "max_per_hour"] == ["70", "60", "50"]
    of_device = json.loads(seqdev("rules", "list", "--device", "A", "--format", "json").out)
    assert [one["value"] for one in of_device if one["name"] == "max_per_hour"] == ["50"]
    assert len({one["name"] for one in of_device}) == len(of_device)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["policy", "hope"], "policy"),
        (["polcy", "strict"], "did you mean policy"),
        (["max_per_hour", "lots"], "max_per_hour"),
        (["max_lateness", "soon"], "max_lateness"),
        (["region", "XX"], "no such region"),
        (["policy", "strict", "--device", "A"], "cannot be set for a device: it is for a user or all"),
        (["max_per_day", "9", "--sequence", "warm"], "it is for a device, a user or all"),
        (["max_per_day", "9", "--device", "A", "--user", "1234"], "one of them"),
    ],
)
def test_what_cannot_be_set_is_refused_and_nothing_is_set(
    host: Host, seqdev: Cli, arguments: list[str], said: str
) -> None:
    user = host.user()
    host.device(user, "A")
    host.simple_sequence(user)
    ran = seqdev("rules", "set", *arguments[:2], "--yes", *arguments[2:])
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert everything(host) == []


def test_without_a_terminal_it_needs_yes_and_a_dry_run_changes_nothing(host: Host, seqdev: Cli) -> None:
    ran = seqdev("rules", "set", "policy", "strict")
    assert ran.code == 2
    assert "--yes" in ran.err
    ran = seqdev("rules", "set", "policy", "strict", "--dry-run", "--format", "csv")
    assert (ran.code, ran.out.splitlines()[1]) == (0, "policy,all,,,,strict")
    assert everything(host) == []
    assert host.value("select count(*) from seqdev.change") == 0


def test_undo_brings_back_what_was_byte_for_byte_and_is_undone_itself(host: Host, seqdev: Cli) -> None:
    device = host.device(host.user(), "A")
    set_rule(seqdev, "max_per_day", 100, "--device", "A")
    before = everything(host)
    run = set_rule(seqdev, "max_per_day", 200, "--device", "A")
    after = everything(host)
    assert [row.value for row in after] == ["200"]
    shown = seqdev("repair", "show", run)
    assert "rule max_per_day" in shown.out
    ran = seqdev("repair", "undo", run, "--yes")
    assert ran.code == 0, ran.err
    assert everything(host) == before
    undo = host.value("select id from seqdev.run where command like 'repair undo%%'")
    assert seqdev("repair", "undo", str(undo), "--yes").code == 0
    assert everything(host) == after
    assert rule(seqdev, "max_per_day", "--device", device)["value"] == "200"


def test_the_first_setting_is_undone_to_nothing_and_a_later_change_is_kept(host: Host, seqdev: Cli) -> None:
    first = set_rule(seqdev, "policy", "strict")
    assert seqdev("repair", "undo", first, "--yes").code == 0
    assert rule(seqdev, "policy")["source"] == "default"
    first = set_rule(seqdev, "policy", "strict")
    set_rule(seqdev, "policy", "fallback")
    ran = seqdev("repair", "undo", first, "--yes")
    assert ran.code == 3
    assert "changed_since" in ran.out
    assert rule(seqdev, "policy")["value"] == "fallback"


def test_somebody_who_sets_the_same_rule_in_between_wins(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(question: str, yes: bool) -> bool:
        host.rows(
            "insert into seqdev.rule values (md5('seqdev rule policy all')::uuid, 'policy', 'all', null, 'fallback')"
        )
        return True

    monkeypatch.setattr("seqdev.commands.rules.confirm", asked)
    ran = seqdev("rules", "set", "policy", "strict")
    assert ran.code == 14, ran.err
    assert [row.value for row in everything(host)] == ["fallback"]
    assert host.value("select count(*) from seqdev.change") == 0


def someone_offline(host: Host) -> UUID:
    """Somebody due on a device that is offline, as this host calls it."""
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    device = host.device(user, "A", status="asleep")
    host.contact(sequence, step, "6012345678", device)
    return device


def queued(seqdev: Cli, *options: str) -> int:
    ran = seqdev("tick", "--dry-run", "--format", "json", *options)
    assert ran.code == 0, ran.err
    return int(json.loads(ran.out)["queued"])


def test_every_command_obeys_the_rules_and_a_flag_is_for_one_run_and_said(host: Host, seqdev: Cli) -> None:
    someone_offline(host)
    assert queued(seqdev) == 1
    set_rule(seqdev, "policy", "strict")
    assert queued(seqdev) == 0
    ran = seqdev("tick", "--dry-run", "--policy", "queue", "--format", "json")
    assert json.loads(ran.out)["queued"] == 1
    assert "for this run only: policy queue; the rule is strict" in ran.err
    set_rule(seqdev, "online_statuses", "online,asleep")
    assert queued(seqdev) == 1
    assert "device_offline" not in seqdev("explain", "6012345678").out
    set_rule(seqdev, "max_lateness", "30s")
    assert queued(seqdev) == 0
    assert queued(seqdev, "--max-lateness", "0s") == 1
    assert json.loads(seqdev("tick", "--format", "json").out)["policy"] == "strict"


HELD = [("environment", "SEQDEV_POLICY"), ("file", "seqdev.toml")]


@pytest.fixture
def holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets the environment or the file hold a policy."""

    def hold(where: str, policy: str) -> None:
        if where == "environment":
            monkeypatch.setenv("SEQDEV_POLICY", policy)
        else:
            file = tmp_path / "seqdev.toml"
            file.write_text(f'policy = "{policy}"\n')
            monkeypatch.setenv("SEQDEV_CONFIG", str(file))

    return hold


@pytest.mark.parametrize(("where", "named"), HELD)
def test_a_host_that_holds_another_rule_is_refused_before_anything_is_done(
    host: Host, seqdev: Cli, holds: Any, where: str, named: str
) -> None:
    someone_offline(host)
    holds(where, "queue")
    assert queued(seqdev) == 1, "equal to the default"
    holds(where, "strict")
    for command in ("tick", "tick --dry-run", "explain 6012345678", "audit devices", "enroll --yes"):
        ran = seqdev(*command.split())
        assert (ran.code, ran.out) == (2, ""), command
        for word in ("'strict'", "'queue'", named, "seqdev rules set policy 'strict'", "seqdev rules adopt"):
            assert word in ran.err
    assert host.value("select count(*) from seqdev.run") == 0
    assert host.value("select count(*) from broadcast_messages") == 0
    assert seqdev("runs").code == 0, "what does not decide by rules goes on"
    assert seqdev("pause", "--why", "to look").code == 0
    assert seqdev("resume").code == 0
    assert queued(seqdev, "--policy", "strict") == 0, "a flag is for this run"
    set_rule(seqdev, "policy", "strict")
    assert queued(seqdev) == 0, "equal to the rule"


def test_adopt_makes_what_a_host_holds_the_rules_of_all(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "seqdev.toml"
    file.write_text('online_statuses = ["online", "asleep"]\nmax_per_hour = 80\nmax_lateness = "90s"\n')
    monkeypatch.setenv("SEQDEV_CONFIG", str(file))
    monkeypatch.setenv("SEQDEV_POLICY", "strict")
    someone_offline(host)
    assert seqdev("tick").code == 2
    ran = seqdev("rules", "adopt", "--dry-run")
    assert ran.code == 0
    assert everything(host) == []
    ran = seqdev("rules", "adopt", "--yes", "--why", "one for all")
    assert ran.code == 0, ran.err
    assert "SEQDEV_POLICY" in ran.err
    assert str(file) in ran.err
    assert {(row.name, row.value) for row in everything(host)} == {
        ("policy", "strict"), ("online_statuses", "online,asleep"), ("max_lateness", "90s"),
    }  # fmt: skip
    assert queued(seqdev) == 1
    monkeypatch.delenv("SEQDEV_CONFIG")
    monkeypatch.delenv("SEQDEV_POLICY")
    assert queued(seqdev) == 1
    assert "nothing to do" in seqdev("rules", "adopt", "--yes").err


def test_two_hosts_with_different_files_never_decide_differently(host: Host, process: Cli) -> None:
    someone_offline(host)
    ours = {"SEQDEV_POLICY": "strict", "SEQDEV_MAX_PER_HOUR": "40"}
    assert process("rules", "adopt", "--yes", **ours).code == 0
    one = process("tick", "--dry-run", "--format", "json", **ours)
    assert (one.code, json.loads(one.out)["waiting"]) == (0, {"device_offline": 1})
    same = process("tick", "--dry-run", "--format", "json")
    assert json.loads(same.out)["waiting"] == {"device_offline": 1}
    other = process("tick", SEQDEV_POLICY="queue")
    assert (other.code, other.out) == (2, "")
    assert "'queue'" in other.err
    assert "'strict'" in other.err
    assert host.value("select count(*) from broadcast_messages") == 0


@pytest.mark.thorough
def test_two_hosts_whose_files_hold_different_settings_of_their_own_decide_the_same(
    host: Host, process: Cli, tmp_path: Path
) -> None:
    someone_offline(host)
    assert process("rules", "set", "policy", "strict", "--yes").code == 0
    texts = {
        "one": 'mask = true\nlock_timeout = "2s"\npolicy = "strict"\n',
        "other": 'statement_timeout = "1m"\nmax_per_hour = 80\n',
        "neither": "",
    }
    decided = []
    for name, text in texts.items():
        file = tmp_path / f"{name}.toml"
        file.write_text(text)
        ran = process("--config", str(file), "tick", "--dry-run", "--format", "json")
        assert ran.code == 0, ran.err
        found = json.loads(ran.out)
        decided.append({name: found[name] for name in ("policy", "due", "queued", "waiting", "devices")})
    assert decided[0] == decided[1] == decided[2]
    assert decided[0]["waiting"] == {"device_offline": 1}


@pytest.mark.parametrize("value", ["hope", ""])
def test_a_rule_that_psql_wrote_wrong_is_refused_and_can_be_put_right(
    host: Host, seqdev: Cli, value: str
) -> None:
    host.rows(
        "insert into seqdev.rule values (md5('seqdev rule policy all')::uuid, 'policy', 'all', null, %s)",
        value,
    )
    ran = seqdev("tick")
    assert (ran.code, ran.out) == (2, "")
    assert "seqdev rules set policy" in ran.err
    set_rule(seqdev, "policy", "queue")
    assert seqdev("tick").code == 0


def test_a_rule_of_a_later_version_is_refused_and_can_be_taken_away(host: Host, seqdev: Cli) -> None:
    host.rows("insert into seqdev.rule values (md5('seqdev rule ramp all')::uuid, 'ramp', 'all', null, '3')")
    ran = seqdev("tick")
    assert (ran.code, ran.out) == (2, "")
    assert "'ramp'" in ran.err
    assert "ramp" in seqdev("rules", "list").out
    assert seqdev("rules", "unset", "ramp", "--yes").code == 0
    assert seqdev("tick").code == 0


def test_where_there_is_no_table_of_rules_yet_nothing_is_decided_and_the_upgrade_helps(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.rows("drop table seqdev.rule")
    monkeypatch.setenv("SEQDEV_POLICY", "strict")
    for command in ("tick", "rules set policy strict --yes"):
        ran = seqdev(*command.split())
        assert ran.code == 10, command
        assert "seqdev db upgrade" in ran.err
    ran = seqdev("tick", "--dry-run")
    assert (ran.code, "seqdev db upgrade" in ran.err) == (0, True)
    checked = seqdev("db", "check")
    assert checked.code == 10
    assert "seqdev.rule" in checked.out
    assert seqdev("pause", "--why", "to look").code == 0
    assert seqdev("resume").code == 0
    assert seqdev("db", "upgrade", "--yes").code == 0
    assert seqdev("rules", "adopt", "--yes").code == 0
    assert rule(seqdev, "policy")["value"] == "strict"
    assert seqdev("tick").code == 0
