"""A monitor gets to know how ticks end. It costs a tick no second, whatever it does, and nobody reads its URL."""

import json
import socket
import time
from pathlib import Path

import pytest

from seqdev.ping import Ping
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.monitor import monitor, seconds

PHONE, NAME = "601277777777", "Canaria Confidential"


def someone(host: Host, status: str = "online") -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, PHONE, host.device(user, NAME, status), contact_name=NAME)


def test_a_monitor_is_told_the_beginning_and_the_end_with_the_summary(host: Host, seqdev: Cli) -> None:
    someone(host)
    with monitor() as there:
        ran = seqdev("tick", "--ping", there.url, "--format", "json")
    assert (ran.code, ran.err) == (0, "")
    assert there.paths == ["/start", "/0"]
    body = there.told[1][1].splitlines()
    assert body[0] == "exit code 0"
    assert json.loads(body[1])["queued"] == 1
    assert PHONE not in str(there.told)
    assert NAME not in str(there.told)
    assert "secret-5f1c" not in ran.out + str(host.rows("select * from seqdev.run"))


def test_the_end_says_why_a_tick_has_failed_by_its_exit_code(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    someone(host)
    with monitor() as there:
        monkeypatch.setenv("SEQDEV_PING", f"{there.url}?create=1")
        seqdev("pause", "--why", f"call {PHONE}")
        assert seqdev("tick").code == 4
        seqdev("resume")
        host.rows("alter table broadcast_messages add check (recipient_phone !~ '7777')")
        assert seqdev("tick").code == 3
        host.rows("alter table broadcast_messages rename to elsewhere")
        assert seqdev("tick").code == 10
        host.rows("alter table elsewhere rename to broadcast_messages")
    ends = [path for path in there.paths if "start" not in path]
    assert ends == ["/4?create=1", "/3?create=1", "/10?create=1"]
    bodies = [body for path, body in there.told if "start" not in path]
    assert bodies[0].splitlines()[::2] == ["exit code 4", "paused"]
    assert "1 contact quarantined" in bodies[1]
    assert "broadcast_messages" in bodies[2]
    assert PHONE not in str(there.told)


@pytest.mark.thorough
def test_a_database_out_of_reach_is_told_too(seqdev: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQDEV_DATABASE_URL", "host=/nonexistent dbname=x")
    with monitor() as there:
        assert seqdev("tick", "--ping", there.url).code == 13
    assert there.paths == ["/start", "/13"]


def test_what_may_be_a_phone_is_left_out_and_a_long_text_is_cut() -> None:
    with monitor() as there:
        assert Ping(there.url).end(3, f"a trigger says +{PHONE}: {'x' * 20_000}") is None
    assert there.told[1][1].startswith("a trigger says …: xxx")
    assert len(there.told[1][1]) == 10_000


def test_what_only_reads_tells_nobody(host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with monitor() as there:
        monkeypatch.setenv("SEQDEV_PING", there.url)
        assert seqdev("tick", "--dry-run").code == 0
        assert seqdev("tick", "--compare").code == 0
        assert seqdev("audit", "devices").code == 0
    assert there.told == []


def refused() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/secret-5f1c"


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("hangs", "it did not answer in time"),
        ("500", "it answered 500"),
        ("refuses", "it cannot be reached: Connection refused"),
        ("no such host", "it cannot be reached: "),
        ("no TLS", "it does not speak TLS"),
    ],
)
def test_a_monitor_that_is_out_of_order_changes_nothing(
    case: str, words: str, host: Host, seqdev: Cli
) -> None:
    someone(host)
    with monitor(None if case == "hangs" else 500) as there:
        url = {
            "refuses": refused(),
            "no such host": "http://nowhere.invalid/secret-5f1c",
            "no TLS": there.url.replace("http:", "https:"),
        }.get(case, there.url)
        begun = time.monotonic()
        seqdev("tick")
        without = seconds(begun)
        begun = time.monotonic()
        ran = seqdev("tick", "--ping", url, "--format", "json")
        # Less than a second more; the rest is for a machine that has other things to do.
        assert seconds(begun) < without + 1 + 3
    assert ran.code == 0
    (line,) = ran.err.splitlines()
    assert line.startswith("seqdev: the monitor was not told how this run ended: ")
    assert words in line or case == "no such host"
    told = ran.err + ran.out.replace(json.loads(ran.out)["database"], "")
    assert not any(secret in told for secret in ("secret", "127.0.0.1", "nowhere"))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/hush",
        "hush",
        "http:///hush",
        "http://u:hush@x/",
        "http://x:hush/",
        "http://x/a hush",
        "http://[hush",
    ],
)
def test_a_url_that_cannot_be_pinged_is_wrong_usage_and_is_not_shown(
    url: str, host: Host, seqdev: Cli
) -> None:
    someone(host)
    ran = seqdev("tick", "--ping", url)
    assert (ran.code, ran.out) == (2, "")
    assert "the ping URL cannot be used" in ran.err
    assert "hush" not in ran.err
    assert host.value("select count(*) from seqdev.run") == 0


@pytest.mark.thorough
def test_the_url_is_in_no_traceback_and_in_no_error_of_the_file(
    host: Host, process: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "seqdev.toml"
    file.write_text('ping = "http://127.0.0.1:1/secret-5f1c"\n')
    file.chmod(0o600)
    ran = process("--debug", "--config", str(file), "tick", SEQDEV_DATABASE_URL="host=/nonexistent dbname=x")
    assert ran.code == 13
    assert "the monitor was not told" in ran.err
    assert "secret-5f1c" not in ran.err
