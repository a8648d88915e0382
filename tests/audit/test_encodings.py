"""A database that checks no encoding holds what is no text: it is shown as escapes."""

import json

import psycopg
import pytest

from tests.world.command import Cli, url
from tests.world.host import Connect, Host


@pytest.fixture
def bytes_host(database: str, server: str, connect: Connect) -> Host:
    """The host application on a database of the encoding SQL_ASCII, where bytes are stored as they come."""
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    connect(url(server, "postgres")).execute(
        "update pg_database set encoding = pg_char_to_encoding('SQL_ASCII') where datname = %s", [name]
    )
    return Host(connect(database))


@pytest.mark.thorough
def test_bytes_that_are_no_text_are_shown_by_every_audit(bytes_host: Host, seqdev: Cli) -> None:
    host = bytes_host
    user = host.user()
    device = host.device(user, status="offline")
    sequence, (step,) = host.simple_sequence(user)
    host.lead(user, None, "60123456789")
    host.contact(sequence, step, "60123456789", device)
    for change in (
        "update user_devices set device_name = 'caf' || convert_from('\\xe9', 'SQL_ASCII')",
        "update leads set name = convert_from('\\xe9', 'SQL_ASCII'), trigger = convert_from('\\xff', 'SQL_ASCII')",
        "update sequences set name = convert_from('\\xe9', 'SQL_ASCII')",
        "update sequence_contacts set last_error = convert_from('\\xe9', 'SQL_ASCII')",
    ):
        host.rows(change)
    for audit in (
        "mismatches",
        "devices",
        "contacts",
        "sequences",
        "leads",
        "collisions",
        "writers",
        "failed",
        "all",
    ):
        for output in ("json", "csv", "table"):
            ran = seqdev("audit", audit, "--format", output)
            assert ran.code in (0, 3), (audit, ran)
    shown = json.loads(seqdev("audit", "devices", "--format", "json").out)
    assert "caf\\xe9" in json.dumps(shown, ensure_ascii=False).replace("\\\\", "\\")
    assert seqdev("explain", "60123456789").code == 0
    checked = seqdev("db", "check")
    assert checked.code == 10
    assert "server encoding" in checked.out
    assert seqdev("runs").code == 0
