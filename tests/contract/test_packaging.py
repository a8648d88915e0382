"""What is installed is what was built: the wheel carries the SQL and runs from anywhere."""

import os
import re
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

from seqdev.postgres.queries import ROOT as SQL
from tests.contract.pages import MAN
from tests.world.command import ROOT

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_installed_elsewhere_runs_its_own_sql(
    wheel: Path, tmp_path: Path, empty_database: str
) -> None:
    venv.create(tmp_path / "venv", symlinks=True, with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)],
        check=True,
    )
    # The dependencies are those of this environment; seqdev itself must come from the wheel.
    here = Path(sys.executable).parent.parent.joinpath(*site.parts[-3:])
    for item in here.iterdir():
        if not item.name.startswith(("seqdev", "_seqdev", "__editable")) and not (site / item.name).exists():
            (site / item.name).symlink_to(item)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments, capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ
        )

    where = run(str(python), "-c", "import seqdev.postgres.queries as q; print(q.ROOT)").stdout.strip()
    assert Path(where) == site / "seqdev" / "sql"
    assert {file.relative_to(where) for file in Path(where).rglob("*.sql")} == {
        file.relative_to(SQL) for file in SQL.rglob("*.sql")
    }
    for arguments, code in (
        (["db", "init"], 0),
        (["db", "check"], 0),
        (["tick"], 0),
        (["report"], 0),
        (["help", "reasons"], 0),
    ):
        ran = run(str(python), "-m", "seqdev", *arguments)
        assert ran.returncode == code, ran.stderr
    for shell in ("bash", "zsh", "fish"):
        assert "seqdev" in run(str(python), "-m", "seqdev", "completion", shell).stdout
    pages = {page.name for page in (site / "share" / "man" / "man1").iterdir()}
    assert pages == {page.name for page in MAN.iterdir()}


def test_the_source_distribution_has_what_the_readme_leads_to(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    names |= {f"{folder}/" for name in names for folder in map(str, Path(name).parents)}
    linked = set(re.findall(r"\]\(([^):#]+)\)", (ROOT / "README.md").read_text()))
    assert len(linked) > 10
    assert linked | {"README.md", "Makefile"} <= names
