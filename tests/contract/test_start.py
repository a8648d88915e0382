"""What a command imports before it does anything: each costs every minute's tick."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import typer

from seqdev.cli import COMMANDS, app
from tests.world.command import ROOT

_SCRIPT = """
import sys
from seqdev.cli import main
assert main({arguments!r}) == 0
print(*sorted(name for name in {modules!r} if name in sys.modules), file=sys.stderr)
"""


def imported(*arguments: str, modules: Sequence[str] = ("psycopg", "sqlalchemy")) -> str:
    """Which of the modules a command line imports: by default of the two that take longest."""
    script = _SCRIPT.format(arguments=list(arguments), modules=list(modules))
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return ran.stderr.splitlines()[-1]


@pytest.mark.cases(1)
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_and_version_import_neither_driver_nor_sqlalchemy(arguments: "list[str]") -> None:
    assert imported(*arguments) == ""


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["completion", "bash"]])
def test_what_shows_no_command_imports_none(arguments: "list[str]") -> None:
    nouns = ["tick", "enroll", "leads", "audit", "explain", "repair", "journal", "postgres.engine"]
    assert imported(*arguments, modules=[f"seqdev.{noun}" for noun in nouns]) == ""


@pytest.mark.thorough
@pytest.mark.usefixtures("database")
def test_a_tick_imports_nothing_that_only_other_commands_need() -> None:
    """Each costs every minute's tick."""
    others = ["jinja2", "markdown_it", "pygal", "rich.live", "rich.markdown", "textual"]
    own = [name for name in COMMANDS if name != "tick"]
    modules = [
        *others,
        *(f"seqdev.commands.{name}" for name in own),
        "seqdev.output.manual",
        "seqdev.postgres.names",
    ]
    assert imported("tick", modules=modules) == ""


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    root: Any = typer.main.get_command(app)
    context = root.context_class(root)
    for name, text in COMMANDS.items():
        assert root.get_command(context, name).get_short_help_str(limit=200) == text


@pytest.mark.thorough
@pytest.mark.usefixtures("database")
def test_a_command_that_connects_imports_both() -> None:
    assert imported("tick") == "psycopg sqlalchemy"


START = 0.3
"""Seconds of the processor that --help and the script of a completion may take."""


def processor(*arguments: str) -> float:
    """Seconds of the processor that a command line takes, whatever else the machine does meanwhile."""
    child = subprocess.Popen(
        [sys.executable, "-m", "seqdev", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return used.ru_utime + used.ru_stime


@pytest.mark.thorough
@pytest.mark.parametrize("arguments", [["--help"], ["completion", "bash"]], ids=str)
def test_help_and_completion_start_at_once(arguments: "list[str]") -> None:
    # The quickest counts: a busy machine makes a processor slower, and never quicker.
    assert min(processor(*arguments) for _ in range(12)) < START
