"""Tick processes, and a pooler before the database."""

import getpass
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.concurrency.storm import Stage
from tests.world.host import Connect, Host
from tests.world.ticks import Ticks
from tests.world.waiting import until

PGBOUNCER = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


@pytest.fixture(autouse=True)
def _without_delay(without_delay: None) -> None:
    """The crowd's second steps are due at once."""


@pytest.fixture
def ticks(database: str) -> Iterator[Ticks]:
    made = Ticks(database)
    yield made
    made.kill_all()


@pytest.fixture
def stage(host: Host, connect: Connect, ticks: Ticks, seed: int) -> Stage:
    return Stage(host, connect, ticks, seed)


@pytest.fixture
def pgbouncer(database: str) -> Iterator[str]:
    """A PgBouncer in transaction pooling before the database, with fewer connections than clients: its URL."""
    if PGBOUNCER is None:
        pytest.skip("PGBOUNCER IS MISSING: nothing was shown about poolers (apt-get install pgbouncer)")
    user = "nobody" if os.geteuid() == 0 else getpass.getuser()
    folder = Path(tempfile.mkdtemp(prefix="seqdev-pgbouncer-"))
    info = psycopg.conninfo.conninfo_to_dict(database)
    (folder / "users.txt").write_text(f'"{info["user"]}" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"""
        [databases]
        {info["dbname"]} = host={info["host"]} port={info.get("port", 5432)} user={info["user"]}
        [pgbouncer]
        listen_addr =
        listen_port = 6432
        unix_socket_dir = {folder}
        auth_type = trust
        auth_file = {folder}/users.txt
        pool_mode = transaction
        default_pool_size = 4
        max_client_conn = 100
        logfile = {folder}/log
        """.replace("\n        ", "\n")
    )
    if os.geteuid() == 0:
        account = pwd.getpwnam(user)
        for path in (folder, *folder.iterdir()):
            os.chown(path, account.pw_uid, account.pw_gid)
    as_user = ["-u", user] if os.geteuid() == 0 else []
    server = subprocess.Popen([PGBOUNCER, "-q", *as_user, str(folder / "pgbouncer.ini")])
    try:
        until(lambda: (folder / ".s.PGSQL.6432").exists(), "PgBouncer to start")
        yield psycopg.conninfo.make_conninfo(
            host=str(folder), port=6432, user=info["user"], dbname=info["dbname"]
        )
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder)
