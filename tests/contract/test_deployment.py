"""The examples of docs/ for Docker and systemd are what they say."""

import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # what sqlfluff brings

from seqdev.cli import COMMANDS
from seqdev.settings import KEYS
from tests.contract.pages import DOCS
from tests.world.command import ROOT

COMPOSE: Any = yaml.safe_load((DOCS / "docker" / "compose.yaml").read_text())
DOCKERFILE = (DOCS / "docker" / "Dockerfile").read_text()
UNITS = sorted((DOCS / "systemd").iterdir())


def test_the_compose_file_names_what_there_is() -> None:
    tick = COMPOSE["services"]["tick"]
    folder = DOCS / "docker"
    context = (folder / tick["build"]["context"]).resolve()
    assert (context, (context / tick["build"]["dockerfile"]).exists()) == (ROOT, True)
    assert {name.removeprefix("SEQDEV_").lower() for name in tick["environment"]} <= set(KEYS)
    for service in COMPOSE["services"].values():
        assert set(service["secrets"]) <= set(COMPOSE["secrets"])
    shell, option, script = tick["entrypoint"]
    assert subprocess.run([shell, "-n", option, script], check=False).returncode == 0
    named = re.findall(r"seqdev (\w+)", script)
    assert named
    assert set(named) <= set(COMMANDS)


def test_every_line_that_the_dockerfile_runs_can_be_read() -> None:
    lines = re.findall(r"^RUN (.*)$", DOCKERFILE, re.M)
    assert len(lines) > 2
    for line in lines:
        assert subprocess.run(["sh", "-n", "-c", line], check=False).returncode == 0, line


def test_the_versions_of_the_image_are_those_of_the_lock(tmp_path: Path) -> None:
    (line,) = re.findall(r"^RUN (sed .*)$", DOCKERFILE, re.M)
    file = tmp_path / "constraints.txt"
    subprocess.run(
        line.replace("/tmp/constraints.txt", shlex.quote(str(file))), shell=True, check=True, cwd=ROOT
    )
    locked = re.findall(r"^([a-z0-9][\w.-]*==[^ ]+)", (ROOT / "requirements.lock").read_text(), re.M)
    assert len(locked) > 30
    assert file.read_text().split() == locked


@pytest.mark.thorough
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        warnings.warn("NOT TESTED: the units of systemd, which is not on this machine", stacklevel=1)
        pytest.skip("no systemd on this machine")
    for unit in UNITS:
        # Where nothing is installed: any program that there is.
        (tmp_path / unit.name).write_text(unit.read_text().replace("/usr/local/bin/seqdev", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(tmp_path.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
