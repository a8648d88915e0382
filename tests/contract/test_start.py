"""What a command imports before it does anything: each costs every minute's tick."""

import subprocess
import sys

import pytest

from seqdev.cli import COMMANDS
from tests.world.command import ROOT

_SCRIPT = """
import sys
from seqdev.cli import main
assert main({arguments!r}) == 0
print(*sorted(name for name in {modules!r} if name in sys.modules), file=sys.stderr)
"""


def imported(*arguments: str) -> str:
    """Which of the libraries that take longest to import a command line imports."""
    script = _SCRIPT.format(arguments=list(arguments), modules=["psycopg", "sqlalchemy", "textual"])
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return ran.stderr.splitlines()[-1]


@pytest.mark.cases(3)
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_and_version_import_neither_driver_nor_sqlalchemy(arguments: "list[str]") -> None:
    assert imported(*arguments) == ""


@pytest.mark.usefixtures("database")
def test_a_command_that_connects_imports_both() -> None:
    assert imported("tick") == "psycopg sqlalchemy"
