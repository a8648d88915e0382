"""Passwords: where they may come from, and that nothing ever shows one."""

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from seqdev.postgres import conninfo
from seqdev.postgres.engine import Database
from seqdev.postgres.schema import check
from seqdev.settings import Settings
from tests.world.command import ROOT, Cli, command
from tests.world.tcp import PASSWORD, Tcp
from tests.world.waiting import until

pytestmark = pytest.mark.thorough

CANARY = "s3cr3t-Canary"


@pytest.fixture
def server_url(tcp: Tcp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A conninfo without its password, of a server that wants one; nobody has put one anywhere."""
    for name in ("PGPASSWORD", "PGPASSFILE", "PGSERVICEFILE", "SEQDEV_PASSWORD_COMMAND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tcp.local()


def private(file: Path, text: str, mode: int = 0o600) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


@pytest.mark.cases(3)
@pytest.mark.parametrize(
    "source",
    ["passfile", "service", "PGPASSWORD", "SEQDEV_DATABASE_URL", "file", "command", "command in file"],
)
def test_a_password_comes_from_many_places(
    source: str, server_url: str, tcp: Tcp, seqdev: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arguments = ["--database-url", server_url]
    echo = f"{sys.executable} -c 'print(\"{PASSWORD}\")'"
    if source == "passfile":
        private(tmp_path / ".pgpass", f"127.0.0.1:{tcp.port}:*:postgres:{PASSWORD}\n")
    elif source == "service":
        text = (
            f"[mine]\nhost=127.0.0.1\nport={tcp.port}\nuser=postgres\ndbname=postgres\npassword={PASSWORD}\n"
        )
        private(tmp_path / ".pg_service.conf", text)
        arguments = ["--database-url", "service=mine"]
    elif source == "PGPASSWORD":
        monkeypatch.setenv(source, PASSWORD)
    elif source == "SEQDEV_DATABASE_URL":
        monkeypatch.setenv(source, f"postgresql://postgres:{PASSWORD}@127.0.0.1:{tcp.port}/postgres")
        arguments = []
    elif source == "file":
        file = private(tmp_path / "c.toml", f"database_url = '{server_url} password={PASSWORD}'\n")
        arguments = ["--config", str(file)]
    elif source == "command":
        monkeypatch.setenv("SEQDEV_PASSWORD_COMMAND", echo)
    else:
        file = private(tmp_path / "c.toml", f"password_command = '''{echo}'''\n", 0o644)
        arguments += ["--config", str(file)]
    ran = seqdev(*arguments, "db", "check")
    assert ran.code == 0, ran.err
    assert PASSWORD not in ran.out + ran.err
    ran = seqdev(*arguments, "db", "psql", "-X", "-A", "-t", "-c", "select current_user")
    assert (ran.code, ran.out, ran.err) == (0, "postgres\n", "")


def test_without_one_the_ways_to_give_it_are_named(server_url: str, seqdev: Cli, tmp_path: Path) -> None:
    private(tmp_path / ".pgpass", f"*:*:*:*:{PASSWORD}\n", 0o644)
    ran = seqdev("--database-url", server_url, "db", "check")
    assert (ran.code, ran.out) == (12, "")
    for way in ("~/.pgpass (mode 0600, or libpq ignores it)", "service", "PGPASSWORD", "password_command"):
        assert way in ran.err
    assert PASSWORD not in ran.err


def test_a_wrong_one_is_exit_12(server_url: str, seqdev: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", CANARY)
    ran = seqdev("--debug", "--database-url", server_url, "db", "check")
    assert (ran.code, ran.out) == (12, "")
    assert CANARY not in ran.err


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{CANARY}@127.0.0.1:1/d",
        f"postgres://u:{CANARY}@127.0.0.1:1/d",
        f"postgresql://u@127.0.0.1:1/d?password={CANARY}",
        f"postgresql://u@127.0.0.1:1/d?sslpassword={CANARY}",
        f"host=127.0.0.1 port=1 password={CANARY}",
        f"host=127.0.0.1 port=1 password = '{CANARY}'",
        f"host=127.0.0.1 port=1 sslpassword={CANARY}",
        f"host=127.0.0.1 port=1 oauth_client_secret={CANARY}",
    ],
)
def test_on_the_command_line_it_is_refused(url: str, seqdev: Cli) -> None:
    for arguments in (["tick"], ["db", "psql"]):
        ran = seqdev("--debug", "--database-url", url, *arguments)
        assert (ran.code, ran.out) == (2, "")
        assert "process list" in ran.err
        assert "~/.pgpass" in ran.err
        assert CANARY not in ran.err


BROKEN = [
    f"postgresql://u:{CANARY}@{CANARY}@127.0.0.1:1/d",
    f"postgresql://u:a/{CANARY}@127.0.0.1:1/d",
    f"postgresql://u:12/{CANARY}@127.0.0.1:1/d",
    f"postgresql://u:a?{CANARY}@127.0.0.1:1/d",
    f"postgresql://u:12?{CANARY}=1@127.0.0.1:1/d",
    f"postgresql://u:a#{CANARY}@@127.0.0.1:1/d",
    f"postgresql://u:%zz{CANARY}@127.0.0.1:1/d",
    f"postgresql://u:{CANARY}@127.0.0.1:{CANARY}/d",
    f"postgresql://u:{CANARY}@[::1/d",
    f"postgresql://u:{CANARY}",
    f"host=127.0.0.1 {CANARY}",
    f"host=127.0.0.1 password=a {CANARY}",
    f"host=127.0.0.1 password=a {CANARY}=b",
    f"host=127.0.0.1 password='{CANARY}",
    CANARY,
]


@pytest.mark.parametrize("url", BROKEN)
@pytest.mark.parametrize("from_", ["argument", "environment"])
def test_a_url_that_libpq_reads_wrongly_never_shows_a_part_of_it(
    url: str, from_: str, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--debug"]
    if from_ == "argument":
        arguments += ["--database-url", url]
    else:
        monkeypatch.setenv("SEQDEV_DATABASE_URL", url)
    for words in (["tick"], ["db", "psql"]):
        ran = seqdev(*arguments, *words)
        assert (ran.code, ran.out) == (2, "")
        assert CANARY not in ran.err
        assert "database URL" in ran.err or "process list" in ran.err


@pytest.mark.parametrize("port", ["1", "70000"])
def test_a_server_out_of_reach_shows_nothing_even_in_a_traceback(
    port: str, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqdev.postgres.engine.FIRST_CONNECTION", timedelta(0))
    monkeypatch.setenv("SEQDEV_DATABASE_URL", f"postgresql://u:{CANARY}@127.0.0.1:{port}/d")
    ran = seqdev("--debug", "tick")
    assert ran.code == 13
    assert "Traceback" in ran.err
    assert CANARY not in ran.err + ran.out


@pytest.mark.parametrize("program", ["tick", "psql"])
def test_no_process_no_session_and_no_journal_shows_it(
    program: str, tcp: Tcp, server_url: str, connect: Callable[[str], Any]
) -> None:
    session = connect(tcp.socket)
    session.execute("begin; lock table sequences in access exclusive mode; select pg_advisory_lock(7)")
    arguments = (
        ["tick"] if program == "tick" else ["db", "psql", "-X", "-q", "-c", "select pg_advisory_lock(7)"]
    )
    url = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{tcp.port}/postgres"
    started = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"SEQDEV_DATABASE_URL": url},
    )
    other = connect(tcp.socket)
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
    deadline = time.monotonic() + 20
    while other.execute(waiting).fetchone() != (1,):
        assert started.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    family = [psutil.Process(started.pid), *psutil.Process(started.pid).children(recursive=True)]
    assert len(family) == (1 if program == "tick" else 2)
    shown = [word for process in psutil.process_iter() for word in cmdline(process)]
    activity = [str(row) for row in other.execute("select * from pg_stat_activity").fetchall()]
    session.execute("rollback; select pg_advisory_unlock(7)")
    out, err = started.communicate(timeout=30)
    assert started.returncode == 0, err
    runs = [str(row) for row in other.execute("select to_jsonb(r) from seqdev.run r").fetchall()]
    for text in [out, err, *shown, *activity, *runs]:
        assert PASSWORD not in text


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_the_command_runs_again_for_every_connection(
    tcp: Tcp, server_url: str, tmp_path: Path, connect: Callable[[str], Any]
) -> None:
    token = private(tmp_path / "token", PASSWORD + "\nnot this line\n")
    database = Database(Settings(database_url=server_url, password_command=f"cat {token}"), "test", print)
    check(database)
    session = connect(tcp.socket)
    try:
        session.execute("alter role postgres password 'the next one'")
        token.write_text("the next one\r\n")
        session.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'seqdev test'"
        )
        check(database)
    finally:
        session.execute(f"alter role postgres password '{PASSWORD}'")
        database.close()


def test_a_url_with_a_password_and_the_embedded_server_need_no_command(
    tcp: Tcp, server_url: str, tmp_path: Path, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQDEV_PASSWORD_COMMAND", f"touch {tmp_path / 'ran'}")
    monkeypatch.setenv("SEQDEV_DATABASE_URL", f"{server_url} password={PASSWORD}")
    assert seqdev("db", "check").code == 0
    assert conninfo.password("", "false") is None
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (f"sh -c 'echo {CANARY}; echo {CANARY} >&2; exit 3'", "failed with exit code 3"),
        ("true", "printed no password"),
        (f"printf '\\n{CANARY}'", "printed no password"),
        (f"printf '\\377{CANARY}'", "printed something that is no text"),
        (f"/nonexistent/{CANARY}", "cannot be run: No such file or directory"),
        (f"sh -c 'echo {CANARY}; sleep 7391 & sleep 7391'", "took longer than 0 seconds"),
        (f"yes {CANARY}", "took longer than 0 seconds"),
    ],
)
def test_a_command_that_fails_is_exit_12_and_its_output_is_never_shown(
    words: str, why: str, server_url: str, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conninfo, "PASSWORD_PATIENCE", 0.3)
    monkeypatch.setenv("SEQDEV_PASSWORD_COMMAND", words)
    ran = seqdev("--debug", "--database-url", server_url, "db", "check")
    assert (ran.code, ran.out) == (12, "")
    assert f"seqdev: the password command {why}" in ran.err.splitlines()
    assert CANARY not in ran.err

    def left() -> list[str]:
        lines = [" ".join(cmdline(process)) for process in psutil.process_iter()]
        return [line for line in lines if CANARY in line or "7391" in line]

    # Killed, a process is seen for a moment more.
    until(lambda: not left(), "what the command has started to be gone", patience=20)


def test_the_command_runs_without_a_shell(
    server_url: str, seqdev: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "SEQDEV_PASSWORD_COMMAND", f"echo $(touch {tmp_path / 'ran'}); touch {tmp_path / 'ran'}"
    )
    assert seqdev("--database-url", server_url, "db", "check").code == 12
    assert not (tmp_path / "ran").exists()
    monkeypatch.setenv("SEQDEV_PASSWORD_COMMAND", "cat 'unterminated")
    assert seqdev("--database-url", server_url, "db", "check").code == 2


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644])
def test_a_configuration_file_with_a_password_that_others_can_read_is_refused(
    mode: int, seqdev: Cli, tmp_path: Path
) -> None:
    file = private(
        tmp_path / "seqdev.toml", f"database_url = 'host=127.0.0.1 port=1 password={CANARY}'\n", mode
    )
    ran = seqdev("--debug", "--config", str(file), "tick")
    assert (ran.code, ran.out) == (2, "")
    assert f"{file} holds a password" in ran.err
    assert f"mode {stat.S_IMODE(mode):04o}" in ran.err
    assert f"chmod 600 {file}" in ran.err
    assert CANARY not in ran.err
