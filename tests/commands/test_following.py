"""Whoever types what the last line of a screen says gets through an incident, and changes nothing unseen."""

import re
import shlex
import sys

import pytest

from seqdev.cli import main
from seqdev.commands.following import first_of
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.runbooks import Service
from tests.world.screen import on_screen

_NEXT = re.compile(r"^seqdev: (?:next|once it is lost):\s+seqdev (.*)$", re.M)


def on_terminal(words: list[str]) -> str:
    """What a person sees of a command, what it says beside its tables too."""

    def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stderr", sys.stdout)
            main(words)

    return re.sub(r"\x1b\[[\d;]*m", "", on_screen(60, run).replace("\r", ""))


def followed(first: str) -> list[str]:
    """The command lines from ``first`` on, each the one that the screen of the one before says comes next."""
    line, lines = first, list[str]()
    while line:
        lines.append(line)
        assert len(lines) < 9, lines
        words = shlex.split(line)
        # Here nobody can be asked.
        changes = words[0] in ("repair", "enroll", "tick") and "--dry-run" not in words
        shown = on_terminal([*words, *(["--yes"] if changes else [])])
        assert "usage" not in shown
        found = _NEXT.findall(shown)
        assert len(found) <= 1, shown
        line = found[0] if found else ""
    return lines


@pytest.fixture
def service(host: Host) -> Service:
    return Service.made(host)


def test_a_first_contact(host: Host, service: Service) -> None:
    service.bare()
    assert followed("db upgrade --yes") == [
        *("db upgrade --yes", "enroll --dry-run", "enroll", "tick --dry-run", "tick", "audit all"),
    ]
    assert host.value("select count(*) from broadcast_messages") == 9


def test_a_wrong_number(host: Host, service: Service, seqdev: Cli) -> None:
    service.enrolled()
    service.away()
    assert seqdev("tick", "--policy", "fallback").code == 0
    service.sent()
    assert followed("audit all --since 3h") == [
        "audit all --since 3h",
        "audit mismatches --since 3h",
        "repair assigned --dry-run --since 3h",
        "repair assigned --since 3h",
        "audit mismatches --since 3h",
    ]
    assert "0 open, 3 repaired" in seqdev("audit", "mismatches").out


@pytest.mark.thorough
@pytest.mark.cases(2)
@pytest.mark.parametrize("since", [["--since", "3h"], ["--since=3h"]])
def test_an_option_of_a_repair_stays_however_it_was_written(
    service: Service, seqdev: Cli, since: list[str]
) -> None:
    service.enrolled()
    service.away()
    assert seqdev("tick", "--policy", "fallback").code == 0
    service.sent()
    shown = on_terminal(["repair", "assigned", *since, "--yes", "--why=--since"])
    assert _NEXT.findall(shown) == [f"audit mismatches {' '.join(since)}"]


@pytest.mark.thorough
@pytest.mark.parametrize("typed", ["ali", "ALICE tan"])
def test_a_repair_is_told_for_whom_by_a_whole_name_or_an_id(
    host: Host, service: Service, seqdev: Cli, typed: str
) -> None:
    host.rows("alter table users add full_name text")
    host.rows("update users set full_name = 'Alice Tan'")
    service.enrolled()
    service.away()
    assert seqdev("tick", "--policy", "fallback").code == 0
    service.sent()
    user = host.value("select id from users") if typed == "ali" else "'ALICE tan'"
    options = f"--user {user} --sequence {service.sequence} --since 3h"
    first = f"audit mismatches --since 3h --user '{typed}' --sequence welc"
    assert followed(first) == [
        *(first, f"repair assigned --dry-run {options}", f"repair assigned {options}"),
        f"audit mismatches {options}",
    ]


def test_what_nothing_can_repair_is_followed_by_nothing(host: Host, service: Service, seqdev: Cli) -> None:
    service.enrolled()
    service.away()
    assert seqdev("tick", "--policy", "fallback").code == 0
    host.rows("update sequence_contacts set status = 'stopped' where status = 'active'")
    assert followed("audit mismatches") == ["audit mismatches"]


def test_nothing_received(host: Host, service: Service, seqdev: Cli) -> None:
    service.strict()
    service.enrolled()
    service.away()
    gone = service.devices["alice-2"]
    assert followed("tick") == [
        "tick",
        "audit devices",
        f"audit devices --if-lost {str(gone)[:8]}",
        f"repair device {str(gone)[:8]} --spread --queue --dry-run",
        f"repair device {str(gone)[:8]} --spread --queue",
        "audit devices",
    ]
    assert followed("tick --dry-run") == ["tick --dry-run", "tick", "audit all"]
    assert host.value("select count(*) from broadcast_messages where device_id = %s", gone) == 0
    assert host.value("select count(*) from broadcast_messages") == 9


def test_a_banned_device(host: Host, service: Service) -> None:
    service.strict()
    service.enrolled()
    service.banned()
    lines = followed("audit devices")
    assert len(lines) == 5
    assert lines[-1] == "audit devices", "it ends with what shows whether it is over"
    assert host.value(
        "select count(*) from sequence_contacts where assigned_device_id = %s", service.devices["alice-2"]
    ) == 0  # fmt: skip


def test_cron_has_stopped(host: Host, service: Service, seqdev: Cli) -> None:
    service.enrolled()
    assert seqdev("tick", "--max-messages", "3").code == 0
    service.silence()
    assert followed("audit all") == [
        "audit all",
        "runs --command tick",
        "tick --dry-run",
        "tick",
        "audit all",
    ]
    assert host.value("select count(*) from broadcast_messages") == 9


def test_who_waits_for_a_lost_device_leads_to_all_who_do(service: Service) -> None:
    service.strict()
    service.enrolled()
    assert "next:" not in on_terminal(["explain", "12025550101"])
    service.away()
    lost = f"seqdev: next: seqdev audit devices --if-lost {str(service.devices['alice-2'])[:8]}"
    assert lost in on_terminal(["explain", "12025550101"])
    assert "next:" not in on_terminal(["explain", "12025550100"]), "their device is there"


def test_a_pipe_and_other_formats_are_told_nothing_of_it(service: Service, seqdev: Cli) -> None:
    service.enrolled()
    assert "next:" not in seqdev("tick", "--dry-run").err
    assert "next:" not in on_terminal(["tick", "--dry-run", "--format", "json"])
    assert "next: seqdev tick\n" in on_terminal(["tick", "--dry-run"]).replace("\r", "")


@pytest.mark.parametrize(
    ("advice", "command"),
    [
        ("seqdev repair assigned; or nothing, if the device comes back", "seqdev repair assigned --dry-run"),
        ("stop it (seqdev audit writers), then seqdev repair stuck", "seqdev audit writers"),
        ("wait: seqdev repair device 0ae23a84-06e5-7c85-a630-9359b809d3c9 --spread --max N", ""),
        ("seqdev audit devices --if-lost 00a40944", "seqdev audit devices --if-lost 00a40944"),
        ("see why: seqdev explain PHONE; then: seqdev repair quarantined", ""),
        ("delete the row", ""),
    ],
)
def test_only_what_can_be_typed_as_it_stands_is_a_command(advice: str, command: str) -> None:
    assert first_of([advice]) == command
    assert first_of(["nothing", advice, "seqdev top"]) == (command or "seqdev top")
