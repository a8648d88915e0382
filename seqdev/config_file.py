"""The configuration file: where it is, what it holds, and that nobody else could have written it."""

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISVTX

from seqdev.errors import UsageError
from seqdev.files import opened
from seqdev.url import has_secret


def default_file(environ: Mapping[str, str], say: Callable[[str], None]) -> Path | None:
    """The configuration file at the default place; None where there is none, or nobody can say."""
    folder = environ.get("XDG_CONFIG_HOME")
    try:
        default = Path(folder or Path.home() / ".config") / "seqdev" / "config.toml"
    except RuntimeError:
        # Neither HOME nor an entry for the user.
        return None
    try:
        return default if default.is_file() else None
    except OSError as error:
        say(f"passed over: the configuration file {default} cannot be looked for: {error.strerror}")
        return None


def read(path: Path, say: Callable[[str], None]) -> dict[str, object]:
    """What the file holds, which nobody else can have written. Raises UsageError."""
    try:
        # What is checked is what is read: the open file, which may be a pipe.
        with opened(path, say) as file:
            found = os.fstat(file.fileno())
            _refuse_if_others_write(path, found)
            given = dict(tomllib.loads(file.read().decode("utf-8")))
    except OSError as error:
        raise UsageError(f"cannot read the configuration file {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UsageError(f"the configuration file {path} is not valid TOML: it is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the configuration file {path} is not valid TOML: {error}") from error
    # As libpq does with a key: root may let a group read it, everybody else nobody.
    hidden_from = 0o037 if found.st_uid == 0 and os.geteuid() != 0 else 0o077
    if found.st_mode & hidden_from and "database_url" in given and has_secret(str(given["database_url"])):
        raise UsageError(
            f"the configuration file {path} holds a password, and others can read it "
            f"(mode {S_IMODE(found.st_mode):04o})",
            f"chmod 600 {path}",
        )
    return given


def _refuse_if_others_write(path: Path, file: os.stat_result) -> None:
    """Raise UsageError where another user could write the file, or put another in its place.

    Who writes it chooses the database and the password command, and so runs programs as us.
    """
    folders = {*path.absolute().parents, *path.resolve().parents}
    for place, found in [(path, file), *((folder, folder.stat()) for folder in sorted(folders))]:
        # In a sticky folder, only a file's owner, the folder's and root can rename it.
        writable = found.st_mode & 0o022 and not (S_ISDIR(found.st_mode) and found.st_mode & S_ISVTX)
        if writable:
            raise UsageError(
                f"the configuration file {path} is not safe: others can write {place} "
                f"(mode {S_IMODE(found.st_mode):04o})",
                f"chmod go-w {place}",
            )
        if found.st_uid not in (os.geteuid(), 0):
            raise UsageError(
                f"the configuration file {path} is not safe: {place} belongs to another user "
                f"(uid {found.st_uid}, mode {S_IMODE(found.st_mode):04o})",
                f"chown it to yourself or root: {place}",
            )
