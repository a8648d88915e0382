"""A server that listens on TCP, wants passwords, and speaks TLS where its binaries can."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from seqdev.cli import main
from seqdev.postgres import binaries as server_binaries

PASSWORD = "Canary-7f3a9c"
"""Of the role ``postgres``. Nothing may ever show it."""


@dataclass(frozen=True)
class Tcp:
    """The server. ``address`` is one of this machine's that is not the loopback, None where it has none."""

    folder: Path
    port: int
    address: str | None
    tls: bool

    @property
    def socket(self) -> str:
        """The conninfo of the test's own sessions."""
        return f"host={self.folder} port={self.port} user=postgres dbname=postgres"

    def local(self, more: str = "") -> str:
        """A conninfo over the loopback, without the password."""
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres {more}"

    @property
    def authority(self) -> Path:
        """The certificate of the authority that vouches for the server."""
        return self.folder / "ca.crt"


def speaks_tls(binaries: Path) -> bool:
    program = binaries / "pg_config"
    if not program.exists():
        return False
    said = subprocess.run([program, "--configure"], capture_output=True, text=True, check=False).stdout
    return "--with-openssl" in said or "--with-ssl=openssl" in said


def certificates(folder: Path, address: str) -> None:
    """An authority, and the server's certificate, for ``address`` and the name db.example.test."""
    new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    (folder / "names").write_text(f"subjectAltName=IP:{address},DNS:db.example.test\n")
    for command in (
        [*new, *["-x509", "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=authority"]],
        [*new, *["-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server"]],
        [
            "openssl",
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            "server.crt",
            "-days",
            "2",
            "-extfile",
            "names",
        ],
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)


def own_address() -> str | None:
    """An IPv4 address of this machine off the loopback."""
    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    for name, addresses in sorted(psutil.net_if_addrs().items()):
        for one in addresses:
            if name in up and one.family is socket.AF_INET and not one.address.startswith("127."):
                return one.address
    return None


@pytest.fixture(scope="session")
def tcp(_clean_environment: None) -> Iterator[Tcp]:
    asked = os.environ.get("SEQDEV_TEST_BINARIES")
    folders = [Path(asked)] if asked else []
    folders += [server_binaries.find(), *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    binaries = next(filter(speaks_tls, folders), folders[0])
    address = own_address()
    tls = speaks_tls(binaries) and shutil.which("openssl") is not None and address is not None
    uid, gid = server_binaries.server_user() or (os.getuid(), os.getgid())
    folder = Path(tempfile.mkdtemp(prefix="seqdev-tcp-"))
    if uid != os.getuid() and not server_binaries.reachable(binaries, (uid, gid)):
        (folder / "home").mkdir()
        folder.chmod(0o711)
        binaries = server_binaries.copy(binaries, folder / "home")
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    (folder / "hba").write_text("local all all trust\nhost all all all scram-sha-256\n")
    (folder / "password").write_text(PASSWORD + "\n")
    if tls and address:
        certificates(folder, address)
    for path in (folder, *folder.rglob("*")):
        if path != folder / "home" and folder / "home" not in path.parents:
            os.chown(path, uid, gid)
    for name in ("server.key", "password"):
        if (folder / name).exists():
            (folder / name).chmod(0o600)
    folder.chmod(0o711)
    as_user: dict[str, Any] = {"user": uid, "group": gid, "extra_groups": []} if uid != os.getuid() else {}
    with (folder / "log").open("wb") as log:
        options = ["-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run(
            [binaries / "initdb", "-D", folder / "data", *options, f"--pwfile={folder / 'password'}"],
            check=True,
            stdout=log,
            stderr=log,
            cwd="/",
            **as_user,
        )
        settings = {
            "listen_addresses": ",".join(filter(None, ["127.0.0.1", address])),
            "port": str(port),
            "unix_socket_directories": str(folder),
            "hba_file": str(folder / "hba"),
            "fsync": "off",
            "dynamic_shared_memory_type": "mmap",
        }
        if tls:
            settings |= {
                "ssl_cert_file": str(folder / "server.crt"),
                "ssl_key_file": str(folder / "server.key"),
            }
        with (folder / "settings").open("w") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        with (folder / "data" / "postgresql.conf").open("a") as file:
            file.write(f"include '{folder / 'settings'}'\nssl = {'on' if tls else 'off'}\n")
        (folder / "settings").chmod(0o644)
        server = subprocess.Popen(
            [binaries / "postgres", "-D", folder / "data"], stdout=log, stderr=log, cwd="/", **as_user
        )
    try:
        made = Tcp(folder, port, address, tls)
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(made.socket).close()
                break
            except psycopg.OperationalError:
                assert server.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert main(["--database-url", made.socket, "db", "init"]) == 0
        yield made
    finally:
        server.send_signal(2)
        server.wait(60)
        shutil.rmtree(folder)
