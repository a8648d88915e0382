"""Files that commands read: pipes that nobody writes to, folders, endless devices, and Excel's UTF-16."""

import os
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.world.command import Cli, Start
from tests.world.host import Host

PHONE = "60123456789"


@pytest.fixture
def readers(host: Host, tmp_path: Path) -> dict[str, list[str]]:
    """Commands that read the file ``in``."""
    user = host.user()
    device = host.device(user)
    host.lead(user, device, PHONE, "WARM")
    host.simple_sequence(user)
    file = str(tmp_path / "in")
    return {
        "import": ["leads", "import", file, "--user", str(user), "--device", str(device)],
        "phones": ["enroll", "--yes", "--phones", file],
        "plan": ["repair", "stuck", "--yes", "--plan", file],
        "statement": ["audit", "run", file],
        "config": ["--config", file, "runs"],
    }


def said(process: "subprocess.Popen[str]") -> str:
    """The next line of its stderr; nothing where it says nothing."""
    assert process.stderr
    return process.stderr.readline() if select.select([process.stderr], [], [], 20)[0] else ""


@pytest.mark.thorough
def test_a_pipe_without_a_writer_is_waited_for_aloud_and_signals_end_that(
    readers: dict[str, list[str]], start: Start, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "in")
    started = [(start(*words), str(tmp_path / "in")) for words in readers.values()]
    started.append((start(*readers["phones"][:-1], "-"), "stdin"))
    for number, (process, name) in enumerate(started):
        assert said(process) == f"seqdev: waiting for input from {name}\n"
        ending = (signal.SIGINT, signal.SIGTERM)[number % 2]
        process.send_signal(ending)
        assert process.wait(5) == 128 + ending
        assert process.stderr
        assert process.stderr.read() == f"seqdev: ended by {ending.name}\n"


@pytest.mark.thorough
def test_a_pipe_whose_writer_comes_late_is_read_to_its_end(
    host: Host, readers: dict[str, list[str]], start: Start, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "in")
    process = start(*readers["import"])
    assert said(process).startswith("seqdev: waiting for input")
    with (tmp_path / "in").open("w") as pipe:
        pipe.write("phone\n60123456780\n")
        pipe.flush()
        time.sleep(0.3)
        pipe.write("60123456781\n")
    assert process.wait(20) == 0
    assert host.value("select count(*) from leads") == 3


def test_what_is_no_file_is_wrong_usage(readers: dict[str, list[str]], seqdev: Cli, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for words in readers.values():
        ran = seqdev(*words)
        assert (ran.code, ran.out) == (2, ""), words
        assert f"{tmp_path / 'in'}: Is a directory" in ran.err
    for name in ("import", "plan"):
        ran = seqdev(*("/dev/zero" if word == str(tmp_path / "in") else word for word in readers[name]))
        assert (ran.code, ran.out) == (2, ""), name


def test_no_file_is_written_to_stdout(
    host: Host, readers: dict[str, list[str]], seqdev: Cli, tmp_path: Path
) -> None:
    (tmp_path / "in").write_text("phone\n1\n")
    for words in ([*readers["import"], "--rejects", "-"], ["repair", "stuck", "--dry-run", "--plan", "-"]):
        ran = seqdev(*words)
        assert (ran.code, ran.out) == (2, ""), words
        assert "no file can be written to stdout" in ran.err
    assert not Path("-").exists()


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_as_excel_writes_it_is_read(
    host: Host, readers: dict[str, list[str]], seqdev: Cli, process: Cli, tmp_path: Path, encoding: str
) -> None:
    user = host.value("select id from users")
    mark = "\ufeff".encode(encoding)
    broken = "\ud800".encode(encoding, "surrogatepass")
    (tmp_path / "in").write_bytes(
        mark + "phone\tname\r\n60123456780\tZoë 😀\r\n60123456781\tx".encode(encoding) + broken + b"\0"
    )
    ran = seqdev(*readers["import"], "--rejects", str(tmp_path / "rejects.csv"))
    assert ran.code == 3
    assert "bad_text" in ran.out
    assert host.rows("select name from leads where phone = '60123456780' and user_id = %s", user) == [
        ("Zoë 😀",)
    ]
    (tmp_path / "in").write_bytes(mark + f"{PHONE}\r\n".encode(encoding))
    assert seqdev(*readers["phones"]).code == 0
