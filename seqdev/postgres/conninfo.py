"""Where connections go: the database that is named, its password, and TLS unless told otherwise."""

import ipaddress
import os
import re
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from seqdev.errors import PermissionRefused, UsageError
from seqdev.postgres import embedded, home
from seqdev.url import read

LIBPQ_VARIABLES = ("PGSERVICE", "PGHOST", "PGHOSTADDR", "PGDATABASE", "PGPORT", "PGUSER")
"""With one of these set, libpq's own rules find the database."""

PASSWORD_PATIENCE = 10.0
"""Seconds that a password command may take."""

_ALIVE = {
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}
"""A server that has vanished without a word is given up after 25 seconds, not the two hours of the kernel."""

_LONGEST_PASSWORD = 65_536


def find(database_url: str, say: Callable[[str], None]) -> str:
    """The libpq conninfo of the database: the one named, libpq's own, else the embedded server's.

    Off the loopback it has sslmode=verify-full, unless the URL, the service or PGSSLMODE says another mode.
    Raises UsageError for a URL that cannot be read, what ``embedded.start`` raises for the embedded server.
    """
    from psycopg.conninfo import make_conninfo

    if is_named(database_url):
        options = read(database_url) if database_url else {}
        return make_conninfo("", **(_ALIVE | options | _tls(options, say)))
    say(f"no database named: working on the embedded server in {home.find()}")
    return embedded.start()


def is_named(database_url: str) -> bool:
    """Whether a database is named, by the URL or by libpq's variables."""
    return bool(database_url) or any(os.environ.get(name) for name in LIBPQ_VARIABLES)


def password(database_url: str, command: str) -> str | None:
    """The password that ``command`` prints, asked anew for each connection: tokens expire.

    None where no command is set, no database is named, or the URL has a password. Raises PermissionRefused
    or UsageError when the command fails.
    """
    if not command or not is_named(database_url) or "password" in read(database_url):
        return None
    return first_line(command)


def first_line(command: str) -> str:
    """The first line that ``command`` prints. It runs without a shell, for PASSWORD_PATIENCE at most.

    Raises PermissionRefused when it fails, prints nothing or takes too long, UsageError when it cannot be
    read; what it printed is in neither.
    """
    try:
        arguments = shlex.split(command)
    except ValueError:
        arguments = []
    if not arguments:
        raise UsageError("password_command cannot be read", "quote its words as for a shell")
    try:
        # A session of its own, so that whatever it started can be ended with it.
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise _no_password(f"cannot be run: {error.strerror}") from None
    deadline = time.monotonic() + PASSWORD_PATIENCE
    try:
        printed = _printed(process, deadline)
        code = process.wait(max(0.0, deadline - time.monotonic()))
    except (subprocess.TimeoutExpired, TimeoutError):
        raise _no_password(f"took longer than {PASSWORD_PATIENCE:.0f} seconds") from None
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stdout
        process.stdout.close()
    if code != 0:
        raise _no_password(f"failed with exit code {code}")
    try:
        found = re.split(r"\r?\n", printed.decode(), maxsplit=1)[0]
    except UnicodeDecodeError:
        raise _no_password("printed something that is no text") from None
    if not found or "\0" in found:
        raise _no_password("printed no password")
    return found


def _printed(process: "subprocess.Popen[bytes]", deadline: float) -> bytes:
    """What the process prints, its beginning at least. Raises TimeoutError at ``deadline``."""
    assert process.stdout
    printed = b""
    while True:
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not ready or time.monotonic() > deadline:
            raise TimeoutError
        part = os.read(process.stdout.fileno(), _LONGEST_PASSWORD)
        if not part:
            return printed
        if len(printed) < _LONGEST_PASSWORD:
            printed += part


def _no_password(why: str) -> PermissionRefused:
    return PermissionRefused(
        f"the password command {why}", "run it by hand: its first line must be the password"
    )


def _tls(given: Mapping[str, str], say: Callable[[str], None]) -> dict[str, str]:
    """The options to add to those ``given``: how the server has to prove who it is."""
    default = {"PGSSLMODE": os.environ.get("PGSSLMODE") or "verify-full"}
    # What libpq would do with the rest: its variables and the service file, which it reads for PGSERVICE.
    with _environment(default | ({"PGSERVICE": given["service"]} if "service" in given else {})):
        options = {**_defaults(), **given}
    targets = (options.get("hostaddr") or options.get("host") or "").split(",")
    if all(map(_is_local, targets)):
        return {}
    found = {"sslmode": options["sslmode"]}
    certificates = options.get("sslrootcert")
    if certificates is None and _has_root_certificates(say):
        return found
    if found["sslmode"] == "verify-full" and certificates in (None, "system"):
        found["sslrootcert"] = _system_certificates()
    return found


def _has_root_certificates(say: Callable[[str], None]) -> bool:
    """Whether the user has a file of authorities, which libpq takes by itself."""
    try:
        file = Path.home() / ".postgresql" / "root.crt"
    except RuntimeError:
        return False
    try:
        return file.exists()
    except OSError as error:
        say(f"passed over: the certificates {file} cannot be looked for: {error.strerror}")
        return False


def _defaults() -> dict[str, str]:
    """libpq's defaults: the service's, else the environment's, else its own."""
    from psycopg import pq

    return {
        option.keyword.decode(): option.val.decode(errors="surrogateescape")
        for option in pq.Conninfo.get_defaults()
        if option.val
    }


def _is_local(host: str) -> bool:
    """Whether ``host`` is this machine: a unix socket, or the loopback."""
    if host in ("", "localhost") or host[0] in "/@":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _system_certificates() -> str:
    """The machine's trusted certificates. The OpenSSL of psycopg's binary package does not find them."""
    import ssl

    return ssl.get_default_verify_paths().cafile or "system"


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
