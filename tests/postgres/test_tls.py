"""TLS: off the loopback a server has to prove who it is, unless somebody says that it need not."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from seqdev.postgres import conninfo
from tests.world.command import Cli
from tests.world.tcp import PASSWORD, Tcp

pytestmark = pytest.mark.thorough

LIBPQ = ("PGSSLMODE", "PGSSLROOTCERT", "PGSERVICEFILE", "PGPASSWORD", "SSL_CERT_FILE")


@pytest.fixture
def tls(tcp: Tcp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tcp:
    """A server with TLS, and a person who trusts nobody yet."""
    if not tcp.tls:
        pytest.skip(
            "NO TLS HERE: needs server binaries built with OpenSSL, openssl, and an address off the loopback"
        )
    for name in LIBPQ:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return tcp


def far(server: Tcp, more: str = "") -> str:
    return f"host={server.address} port={server.port} user=postgres dbname=postgres {more}"


def refused(ran: Any) -> bool:
    """Whether it was refused because the server did not prove who it is, and the ways out were named."""
    assert (ran.code, ran.out) == (12, ""), ran.err
    assert len(ran.err.splitlines()) == 2
    assert "did not prove by TLS" in ran.err
    assert "sslrootcert=FILE" in ran.err
    assert "sslmode=require" in ran.err
    return True


def test_off_the_loopback_an_unknown_server_is_refused(tls: Tcp, seqdev: Cli) -> None:
    assert refused(seqdev("--database-url", far(tls), "db", "check"))
    url = f"postgresql://postgres@{tls.address}:{tls.port}/postgres"
    assert refused(seqdev("--database-url", url, "tick"))


@pytest.mark.parametrize("where", ["url", "PGSSLROOTCERT", "home", "machine"])
def test_a_server_that_is_vouched_for_is_trusted_and_spoken_to_over_tls(
    tls: Tcp, seqdev: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    url = far(tls)
    if where == "url":
        url = far(tls, f"sslrootcert={tls.authority}")
    elif where == "home":
        (tmp_path / ".postgresql").mkdir()
        (tmp_path / ".postgresql" / "root.crt").write_text(tls.authority.read_text())
    else:
        monkeypatch.setenv({"machine": "SSL_CERT_FILE"}.get(where, where), str(tls.authority))
    monkeypatch.setenv("SEQDEV_DATABASE_URL", url)
    assert seqdev("db", "check").code == 0
    ran = seqdev(
        "db", "psql", "-X", "-A", "-t", "-c", "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
    )
    assert (ran.code, ran.out) == (0, "t\n"), ran.err


def test_a_certificate_of_another_host_is_refused(tls: Tcp, seqdev: Cli) -> None:
    trusting = f"hostaddr={tls.address} sslrootcert={tls.authority}"
    assert seqdev("--database-url", far(tls, trusting + " host=db.example.test"), "db", "check").code == 0
    assert refused(seqdev("--database-url", far(tls, trusting + " host=other.example.test"), "db", "check"))
    # What is connected to counts, not what it is called.
    assert refused(seqdev("--database-url", far(tls, trusting + " host=localhost"), "db", "check"))


def test_a_server_without_tls_is_refused(tls: Tcp, seqdev: Cli, connect: Callable[[str], Any]) -> None:
    session = connect(tls.socket)
    session.execute("alter system set ssl = off")
    session.execute("select pg_reload_conf()")
    try:
        while connect(tls.socket).execute("show ssl").fetchone() != ("off",):
            pass
        assert refused(seqdev("--database-url", far(tls), "db", "check"))
        assert seqdev("--database-url", far(tls, "sslmode=disable"), "db", "check").code == 0
    finally:
        session.execute("alter system reset ssl")
        session.execute("select pg_reload_conf()")
        while connect(tls.socket).execute("show ssl").fetchone() != ("on",):
            pass


@pytest.mark.parametrize("where", ["url", "conninfo", "PGSSLMODE", "service"])
def test_whoever_asks_for_less_gets_it_and_nothing_is_said(
    tls: Tcp, seqdev: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    url = far(tls)
    if where == "url":
        url = f"postgresql://postgres@{tls.address}:{tls.port}/postgres?sslmode=require"
    elif where == "conninfo":
        url = far(tls, "sslmode=require")
    elif where == "PGSSLMODE":
        monkeypatch.setenv("PGSSLMODE", "prefer")
    else:
        service(tls, monkeypatch, tmp_path, "sslmode=require\n")
        url = "service=far"
    ran = seqdev("--database-url", url, "db", "check")
    assert ran.code == 0
    assert "sslmode" not in ran.err


def service(tls: Tcp, monkeypatch: pytest.MonkeyPatch, folder: Path, more: str = "") -> None:
    file = folder / "services"
    file.write_text(f"[far]\nhost={tls.address}\nport={tls.port}\nuser=postgres\ndbname=postgres\n{more}")
    monkeypatch.setenv("PGSERVICEFILE", str(file))


@pytest.mark.parametrize("named", ["service=far", ""])
def test_the_host_of_a_service_or_a_variable_is_off_the_loopback_too(
    tls: Tcp, seqdev: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str
) -> None:
    service(tls, monkeypatch, tmp_path)
    if named:
        monkeypatch.setenv("SEQDEV_DATABASE_URL", named)
    else:
        monkeypatch.setenv("PGSERVICE", "far")
    assert refused(seqdev("db", "check"))
    monkeypatch.setenv("PGSSLROOTCERT", str(tls.authority))
    assert seqdev("db", "check").code == 0
    monkeypatch.delenv("PGSERVICE", raising=False)
    monkeypatch.delenv("SEQDEV_DATABASE_URL", raising=False)
    for name, value in psycopg.conninfo.conninfo_to_dict(far(tls)).items():
        monkeypatch.setenv({"dbname": "PGDATABASE"}.get(name, f"PG{name.upper()}"), str(value))
    assert seqdev("db", "check").code == 0
    monkeypatch.delenv("PGSSLROOTCERT")
    assert refused(seqdev("db", "check"))


def test_the_loopback_needs_no_certificate(tls: Tcp, seqdev: Cli) -> None:
    assert seqdev("--database-url", tls.local(), "db", "check").code == 0


def test_a_service_that_is_not_there_is_exit_2(seqdev: Cli) -> None:
    ran = seqdev("--database-url", "service=nowhere", "db", "check")
    assert (ran.code, ran.out) == (2, "")
    assert "pg_service.conf" in ran.err


@pytest.mark.parametrize(
    ("named", "verified"),
    [
        ("dbname=d", False),
        ("host=/run/postgresql", False),
        ("host=@abstract", False),
        ("host=localhost", False),
        ("host=127.3.2.1", False),
        ("host=::1", False),
        ("postgresql://[::1]:5432/d", False),
        ("host=localhost,127.0.0.1", False),
        ("hostaddr=127.0.0.1 host=db.example.test", False),
        ("host=db.example.test", True),
        ("host=127.example.test", True),
        ("host=localhost.example.test", True),
        ("host=10.0.0.1", True),
        ("host=fd00::2", True),
        ("host=localhost,db.example.test", True),
        ("host=/run/postgresql,10.0.0.1", True),
        ("hostaddr=10.0.0.1", True),
        ("hostaddr=10.0.0.1 host=localhost", True),
        ("postgresql://db.example.test,localhost/d", True),
        ("postgresql:///d?host=db.example.test", True),
    ],
)
def test_which_hosts_have_to_prove_themselves(named: str, verified: bool) -> None:
    before = dict(os.environ)
    found = psycopg.conninfo.conninfo_to_dict(conninfo.find(named, print))
    assert dict(os.environ) == before
    assert found.get("sslmode") == ("verify-full" if verified else None)
    assert ("sslrootcert" in found) is verified


def test_a_server_that_has_vanished_is_given_up_within_half_a_minute() -> None:
    own = conninfo.find("host=db.example.com sslmode=require", print)
    assert "tcp_user_timeout=25000" in own
    assert "keepalives_idle=10" in own
    asked = conninfo.find("host=db.example.com sslmode=require tcp_user_timeout=90000", print)
    assert "tcp_user_timeout=90000" in asked
    assert "25000" not in asked
