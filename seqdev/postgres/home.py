"""The folder of the embedded server: where it is, whose it is, who may start the server in it."""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seqdev.errors import Unavailable, UsageError
from seqdev.postgres import binaries as server_binaries

SOCKET = ".s.PGSQL.5432"
"""The server's socket, in the folder ``run``."""
ELSEWHERE = "Set SEQDEV_HOME to another folder."

_PATH_LIMIT = 103 if sys.platform == "darwin" else 107  # of a unix socket, in bytes
_SYSTEM_HOME = Path("/var/lib/seqdev")


def find() -> Path:
    """Return the server's folder, absolute, symlinks resolved; creates and changes nothing.

    It is ``SEQDEV_HOME``, else the user's data folder. For root it is ``/var/lib/seqdev`` where ``nobody``
    cannot get to that data folder. Raises UsageError when the folder cannot serve: it is another user's,
    too long for a unix socket, or (as root) below a folder that ``nobody`` cannot pass.
    """
    user = server_binaries.server_user()
    try:
        if chosen := os.environ.get("SEQDEV_HOME"):
            folder = Path(chosen).expanduser().resolve()
        else:
            import platformdirs

            folder = platformdirs.user_data_path("seqdev").resolve()
            # sudo may keep HOME: root's files have no place in another user's home.
            nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
            if user and (server_binaries.closed(folder, user) or nearest.stat().st_uid != 0):
                folder = _SYSTEM_HOME
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"{folder} is not a folder")
        closed = server_binaries.closed(folder, user) if user else None
        owner = folder.stat().st_uid if folder.exists() else os.geteuid()
    except (OSError, RuntimeError) as error:
        raise UsageError(f"seqdev's folder cannot be used: {error}", ELSEWHERE) from error
    if len(os.fsencode(folder / "run" / SOCKET)) > _PATH_LIMIT:
        hint = f"Set SEQDEV_HOME to a path of at most {_PATH_LIMIT - len(f'/run/{SOCKET}')} bytes."
        raise UsageError(f"the path of seqdev's folder is too long for a unix socket: {folder}", hint)
    if "," in str(folder) or not str(folder).isprintable():  # libpq would split it, postmaster.pid break
        raise UsageError(f"Postgres cannot have its socket in a folder of such a name: {folder}", ELSEWHERE)
    if closed:
        raise UsageError(
            f"root's Postgres server runs as the user nobody, who cannot pass the folder {closed}",
            f"Set SEQDEV_HOME to a folder elsewhere, such as {_SYSTEM_HOME}, or run: chmod o+x '{closed}'",
        )
    if owner != os.geteuid() and not (user and owner == user[0]):
        hint = "Run seqdev as that user, or set SEQDEV_HOME to another folder."
        raise UsageError(f"{folder} belongs to another user (uid {owner})", hint)
    return folder


def prepare(folder: Path) -> None:
    """Create the folder; as root, let the server's user pass it. Folders above it stay as they are."""
    user = server_binaries.server_user()
    for path in (*reversed(folder.parents), folder):
        if not path.exists():
            path.mkdir(0o700, exist_ok=True)
            if user:
                path.chmod(0o711)
    # The lock is what we make first. Without it these are somebody's files, where we would chmod a "run".
    if any(folder.iterdir()) and not (folder / "lock").exists():
        hint = "Set SEQDEV_HOME to a folder of its own: a new or an empty one."
        raise UsageError(f"{folder} is in use for something other than seqdev's server", hint)
    if user and folder.stat().st_uid != 0:
        os.chown(folder, 0, 0)  # what is next to the data is root's, not to be replaced by nobody
    if user and not server_binaries.allows(folder, user, 1):
        folder.chmod(folder.stat().st_mode & 0o777 | 0o011)


@contextmanager
def try_lock(folder: Path) -> Iterator[int | None]:
    """Hold the folder's lock, or get None at once: somebody starts the server, or it (still) lives.

    The server inherits the lock and keeps it to the end of its last process, whoever kills what.
    """
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        yield None
        return
    try:
        yield lock
    finally:
        os.close(lock)  # no LOCK_UN: that would take it from the server, too


def left_behind(folder: Path, version: str) -> list[str]:
    """Return the other major versions that have data here, which this server does not read, newest first."""
    found = {file.parents[1].name for file in folder.glob("*/data/PG_VERSION")} - {version}
    return sorted(filter(str.isdigit, found), key=int, reverse=True)


def refuse_to_begin_anew(folder: Path, version: str) -> None:
    """Raise Unavailable where the data is of another major version: an empty server would stand in for it."""
    if not (others := left_behind(folder, version)):
        return
    old = others[0]
    data = folder / old / "data"
    raise Unavailable(
        f"the local server's data is of PostgreSQL {old} ({data}), and its programs are of {version}",
        f"go on with {old}: {server_binaries.to_go_on_with(old)}; "
        "to carry the data over, see docs/embedded-server.md",
    )
