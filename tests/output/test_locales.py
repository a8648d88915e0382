"""Output where the locale has no character for it, and a home that nobody can look into."""

import csv
import io
import json
import os
import subprocess
from itertools import product

import pytest

from tests.world.command import ROOT, Cli, Ran, command
from tests.world.host import Host

pytestmark = pytest.mark.thorough

NAME = "Zoë 李 🎉"

LOCALES = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
WRITTEN = {
    "ascii": r"Zo\xeb \u674e \U0001f389",
    "latin-1": r"Zoë \u674e \U0001f389",
    "C": r"Zo\xeb \u674e \U0001f389",
}
"""The name, with escapes for what the locale does not have."""


def run(locale: str, *argv: str) -> Ran:
    """A command in ``locale``, whose output is read as Latin-1."""
    done = subprocess.run(
        command(*argv),
        capture_output=True,
        check=False,
        cwd=ROOT,
        env=os.environ | LOCALES[locale],
        timeout=120,
    )
    return Ran(done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1"))


@pytest.mark.cases(3)
@pytest.mark.parametrize(
    ("locale", "output"),
    [
        *product(["ascii"], ["table", "json", "jsonl", "csv", "tsv", "markdown"]),
        ("latin-1", "table"),
        ("C", "table"),
        ("C", "csv"),
    ],
)
def test_what_the_locale_has_no_character_for_is_escaped(host: Host, locale: str, output: str) -> None:
    for _ in range(2):
        host.device(host.user(), NAME)
    ran = run(locale, "audit", "devices", "--format", output)
    assert ran.code in (0, 3), ran
    if output == "json":
        assert [row["device"] for row in json.loads(ran.out)["devices"]] == [NAME, NAME]
    elif output == "jsonl":
        assert [json.loads(line)["device"] for line in ran.out.splitlines()] == [NAME, NAME]
    elif output == "csv":
        assert [row["device"] for row in csv.DictReader(io.StringIO(ran.out))] == [WRITTEN[locale]] * 2
    else:
        assert ran.out.count(WRITTEN[locale]) == 2


@pytest.mark.thorough
@pytest.mark.cases(1)
@pytest.mark.parametrize("locale", ["ascii", "C"])
def test_help_and_errors_are_shown_in_every_locale(host: Host, locale: str) -> None:
    for options in ([], ["db", "grants"]):
        ran = run(locale, *options, "--help")
        assert (ran.code, ran.err) == (0, ""), ran
        assert "Usage: seqdev" in ran.out
    ran = run(locale, "explain", NAME)
    assert ran.code in (2, 3), ran


@pytest.mark.cases(1)
@pytest.mark.parametrize("home", ["/" + "x" * 300, ""])
def test_a_home_that_cannot_be_looked_into_is_named_and_passed_over(
    host: Host, process: Cli, home: str
) -> None:
    ran = process("tick", "--format", "json", HOME=home, XDG_CONFIG_HOME="")
    assert (ran.code, json.loads(ran.out)["queued"]) == (0, 0), ran
    if home:
        file = f"{home}/.config/seqdev/config.toml"
        assert ran.err == (
            f"seqdev: passed over: the configuration file {file} cannot be looked for: File name too long\n"
        )


def test_a_configuration_file_that_is_named_has_to_be_read(host: Host, process: Cli) -> None:
    ran = process("--config", "/" + "x" * 300, "tick")
    assert (ran.code, ran.out) == (2, "")
    assert "cannot read the configuration file" in ran.err
