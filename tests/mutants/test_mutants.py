"""The tests are tested: each patch below tests/mutants breaks a promise on purpose, and a test must notice.

A patch begins with what it breaks and which promise that is, the test that must fail, and a pattern that the
failure must match, so that it fails for the right reason:

    Breaks: The claim locks no row …
    Invariant: I1
    Test: tests/concurrency/test_moments.py::test_two_claims_…
    Fails: contacts with two messages

`make mutants` applies each to a copy of the project and runs its tests there. A patch that no longer applies is
refreshed by making its change anew and replacing the part below the header with `git diff -U1`.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.world.command import ROOT

FOLDER = Path(__file__).parent
FEWEST = 15

# The copy's own code, wherever an installed seqdev points.
_RUN = """
import sys, pytest, seqdev.postgres.queries
for place in (seqdev.__file__, seqdev.postgres.queries.ROOT):
    if not str(place).startswith(sys.argv[1]):
        sys.exit(f"not the copy's: {place}")
sys.exit(pytest.main(["-p", "no:cacheprovider", "-m", "", "--tb=short", *sys.argv[2:]]))
"""


@dataclass(frozen=True)
class Mutant:
    """A patch and its header."""

    path: Path
    breaks: str
    invariant: str
    tests: list[str]
    fails: str


def read(path: Path) -> Mutant:
    """The header of a patch. Raises ValueError where a line of it is missing or unknown."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if not line:
            break
        name, _, value = line.partition(": ")
        found.setdefault(name, []).append(value)
    if found.keys() != {"Breaks", "Invariant", "Test", "Fails"} or not all(map(all, found.values())):
        raise ValueError(
            f"{path.name}: the header must have Breaks, Invariant, Test and Fails: {list(found)}"
        )
    (breaks,), (invariant,), (fails,) = found["Breaks"], found["Invariant"], found["Fails"]
    return Mutant(path, breaks, invariant, found["Test"], fails)


def apply(mutant: Path, root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    git = shutil.which("git")
    assert git, "git is needed to apply the mutants"
    # No repository around it: paths are the copy's.
    return subprocess.run(
        [git, "apply", "-C1", *options, str(mutant)],
        cwd=root,
        env=os.environ | {"GIT_CEILING_DIRECTORIES": str(root.parent)},
        capture_output=True,
        text=True,
        check=False,
    )


def copy(root: Path) -> Path:
    """A copy of the project in ``root``, without what is not code."""
    for name in ("seqdev", "sql", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def run(root: Path, *tests: str) -> tuple[int, str]:
    """Run tests of a copy, in a process of its own: its exit code and output."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "SEQDEV_")) or name == "SEQDEV_TEST_BINARIES"
    }
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(root), *tests],
        cwd=root,
        env=environment | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr


MUTANTS = sorted(FOLDER.glob("*.patch"))


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder, gone afterwards."""
    made = tmp_path_factory.mktemp("mutant")
    yield made
    shutil.rmtree(made)


def test_every_mutant_says_what_it_breaks_and_still_applies(folder: Path) -> None:
    assert len(MUTANTS) >= FEWEST
    root = copy(folder)
    stale = {}
    for path in MUTANTS:
        mutant = read(path)
        re.compile(mutant.fails)
        for test in mutant.tests:
            file, _, name = test.partition("::")
            assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(), (
                f"{path.name}: no test {test}"
            )
        ran = apply(path, root, "--check")
        if ran.returncode or not path.read_text().count("\n@@ "):
            stale[path.name] = ran.stderr or "nothing in it"
    assert not stale, f"these mutants no longer apply; make their changes anew: {stale}"


@pytest.mark.mutants
def test_the_tests_pass_on_a_copy_without_mutant(folder: Path) -> None:
    tests = sorted({test for path in MUTANTS for test in read(path).tests})
    code, output = run(copy(folder), *tests)
    assert code == 0, output[-5000:]


@pytest.mark.mutants
@pytest.mark.parametrize("path", MUTANTS, ids=lambda path: path.stem)
def test_a_mutant_is_caught(folder: Path, path: Path) -> None:
    mutant = read(path)
    root = copy(folder)
    applied = apply(path, root)
    assert applied.returncode == 0, applied.stderr
    code, output = run(root, *mutant.tests)
    assert code == pytest.ExitCode.TESTS_FAILED, f"exit code {code}: {mutant.breaks}\n{output[-5000:]}"
    errors = re.findall(
        # At the end of a test that has failed, the fixtures may see the same.
        r"^(?:_+ ERROR (?!at teardown).*|.*ImportError.*|.*StatementError.*|.*SyntaxError.*)$",
        output,
        re.MULTILINE,
    )
    assert not errors, f"broken, not caught: {errors}"
    said = "\n".join(re.findall(r"^(?:E  .*|FAILED .*|  \| .*)$", output, re.MULTILINE))
    assert re.search(mutant.fails, said), f"not for the reason expected, {mutant.fails!r}:\n{said[-5000:]}"
