"""Servers of a scenario's own: restarted, promoted, out of connections, out of disk; and a PgBouncer before one."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

from seqdev.postgres import embedded, home
from tests.faults.world import wait

PGBOUNCER = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")

QUICK = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off", "shared_buffers": "32MB"}
"""A server that need not survive a power cut."""


def account() -> tuple[int, int] | None:
    """Whom servers have to run as, where we are root; else None."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def binaries() -> Path:
    """The folder of the binaries that the session's server runs from."""
    found = embedded._postmaster(home.find())
    assert found, "the session's server does not run"
    return Path(found[0].cmdline()[0]).parent


class Server:
    """A Postgres server on a unix socket in a folder of its own. ``folder`` is where libpq finds it."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.settings = QUICK | settings
        self._process: subprocess.Popen[bytes] | None = None
        if not folder.exists():
            folder.mkdir(mode=0o700)
            owned(folder)

    @property
    def socket(self) -> str:
        """The path of its socket."""
        return str(self.folder / ".s.PGSQL.5432")

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """For a client."""
        return f"host={self.folder} user={user} dbname={database}"

    def make(self) -> None:
        """A new data folder."""
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        assert self._spawn([binaries() / "initdb", "-D", self.data, *options]).wait() == 0, self.log()

    def copy(self, name: str) -> "Server":
        """A stopped server's copy, as a server of its own."""
        other = Server(self.folder.parent / name, **self.settings)
        shutil.copytree(self.data, other.data)
        owned(other.folder)
        return other

    def start(self, **settings: str) -> None:
        """Start it and wait until it takes connections."""
        self.settings |= settings
        self.launch()
        wait(self.answers)
        assert self.answers(), self.log()

    def launch(self) -> None:
        """Start it."""
        options = [f"--{name}={value}" for name, value in self.settings.items()]
        self._process = self._spawn(
            [binaries() / "postgres", "-D", self.data, "-k", self.folder, "--listen_addresses=", *options]
        )

    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError as error:
            return error.sqlstate == "53300"
        return True

    def stop(self, mode: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: a fast shutdown; SIGQUIT: an immediate one, which is a crash."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(mode)
            self._process.wait(timeout=60)

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run one statement as its superuser."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def log(self) -> str:
        """The end of what it said."""
        return (self.folder / "log").read_text()[-2000:]

    def _spawn(self, argv: list[str | Path]) -> "subprocess.Popen[bytes]":
        user = account()
        with open(self.folder / "log", "ab") as log:
            return subprocess.Popen(
                argv,
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                umask=0o077,
                start_new_session=True,
                user=user[0] if user else None,
                group=user[1] if user else None,
                extra_groups=[] if user else None,
            )


def owned(folder: Path) -> None:
    """Give the folder to whom servers run as."""
    if user := account():
        for path in (folder, *folder.rglob("*")):
            os.chown(path, *user, follow_symlinks=False)


class PgBouncer:
    """A PgBouncer in transaction pooling before a server, with fewer connections than clients."""

    def __init__(self, server: str, **settings: object) -> None:
        """``server``: the conninfo of a database behind a unix socket. Skips the test where there is no PgBouncer."""
        if PGBOUNCER is None:
            pytest.skip("PGBOUNCER IS MISSING: nothing was shown about poolers (apt-get install pgbouncer)")
        self._binary = PGBOUNCER
        self.folder = Path(tempfile.mkdtemp(prefix="seqdev-pgbouncer-"))
        info = psycopg.conninfo.conninfo_to_dict(server)
        self._user, self._name = info["user"], info["dbname"]
        (self.folder / "users.txt").write_text(f'"{self._user}" ""\n')
        lines = {
            "listen_addr": "",
            "listen_port": 6432,
            "unix_socket_dir": self.folder,
            "auth_type": "trust",
            "auth_file": self.folder / "users.txt",
            "pool_mode": "transaction",
            "default_pool_size": 4,
            "max_client_conn": 100,
            "logfile": self.folder / "log",
            **settings,
        }
        (self.folder / "pgbouncer.ini").write_text(
            f"[databases]\n{self._name} = host={info['host']} user={self._user}\n[pgbouncer]\n"
            + "".join(f"{name} = {value}\n" for name, value in lines.items())
        )
        owned(self.folder)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def socket(self) -> str:
        """The path of its socket."""
        return str(self.folder / ".s.PGSQL.6432")

    @property
    def url(self) -> str:
        """For a client."""
        return psycopg.conninfo.make_conninfo(
            host=str(self.folder), port=6432, user=self._user, dbname=self._name
        )

    def start(self) -> None:
        """Start it, and wait until it listens."""
        as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen([self._binary, "-q", *as_user, str(self.folder / "pgbouncer.ini")])
        wait(self._answers)
        assert self._answers(), "PgBouncer does not start"

    def restart(self, pause: float = 0.0) -> None:
        """Kill it, as a restarted machine would, and start it again."""
        self.kill()
        time.sleep(pause)
        self.start()

    def kill(self) -> None:
        """Kill it."""
        assert self._process
        self._process.kill()
        self._process.wait()
        for left in (self.socket, self.socket + ".lock"):
            Path(left).unlink(missing_ok=True)

    def end(self) -> None:
        """Kill it, and remove its files."""
        self.kill()
        shutil.rmtree(self.folder)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True
