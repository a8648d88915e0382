"""README.md says what is: its reference is generated, its examples run, its tables are the code's."""

import re
import subprocess
import tomllib
from dataclasses import fields

import pytest

from seqdev.errors import Exit
from seqdev.postgres import binaries as server_binaries
from seqdev.settings import Settings, load
from tests.contract.reference import README, placed
from tests.world.command import ROOT

TEXT = README.read_text()


def test_the_reference_is_what_the_commands_say() -> None:
    assert placed(TEXT) == TEXT, "run: make docs"


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"make (\w+)", TEXT)) <= targets


def test_the_exit_codes_are_the_codes() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.M)}
    assert listed == {int(code) for code in Exit}


def test_the_configuration_example_has_every_key_with_its_default(tmp_path: object) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, re.S)
    given = tomllib.loads(example)
    assert set(given) == {field.name for field in fields(Settings)} - {"mask"}
    file = ROOT / "nonexistent"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seqdev.settings._read", lambda _: given)
        settings = load(file, {}, {"database_url": ""})
    assert settings == Settings()


@pytest.mark.parametrize("example", re.findall(r"^\$ psql -d service (.*?)(?:  +#.*)?$", TEXT, re.M))
def test_the_psql_examples_run(example: str, database: str) -> None:
    done = subprocess.run(
        [server_binaries.psql_path(), "-X", "-v", "ON_ERROR_STOP=1", "-d", database, *example.split()],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_test_command_of_ci_is_the_readmes() -> None:
    assert "make test\n" in (ROOT / ".ci" / "run").read_text()
