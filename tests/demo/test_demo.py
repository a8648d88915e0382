"""The demo: run as people run it, on an embedded server of its own."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from seqdev.demo.demo import tell
from seqdev.demo.stage import DATABASE
from seqdev.errors import Exit
from seqdev.output.render import Format, Table, Writer
from seqdev.postgres import embedded
from seqdev.postgres.engine import Database
from seqdev.settings import Settings
from tests.world import citus
from tests.world.command import ROOT, Cli, Ran, command, hear
from tests.world.folders import folder_in_memory

ELSEWHERE = {
    "SEQDEV_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/production",
    "SEQDEV_ONLINE_STATUSES": "connected",
    "PGHOSTADDR": "127.0.0.1",
    "PGDATABASE": "production",
    "PGSERVICE": "production",
}
"""Settings that must not lead the demo to another database, nor to another story."""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """SEQDEV_HOME of these tests, with no server at first."""
    base = folder_in_memory("seqdev-demo-test-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEQDEV_HOME", str(base / "home"))
        yield base / "home"
        embedded.stop()
    shutil.rmtree(base)


CHANCE = {
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f-]{16}": "<id>",
    r"(repair undo) [0-9a-f]{8}\b": r"\1 <id>",
    r"(seconds|duration) +\d.*": r"\1",
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(, .* ago|, now)?": "<instant>",
    r"[A-Z][a-z]{2} \d{1,2} \d\d:\d\d( \([^)]*\))?": "<instant>",
    r"still happening: .*": "still happening",
    r"-{3,}": "---",
    r"(?m)^601(155200|\*{6})\d{3} .*": "<who went where>",
    r"on alice-\d \[[0-9a-f]{8}\]": "on <device>",
}
"""What differs from run to run: random ids, seconds, instants, their widths, and which device stood in for whom."""


def figures(ran: Ran) -> str:
    """What was printed, without what differs from run to run: chance, and the lines' order."""
    text = ran.out
    for pattern, instead in CHANCE.items():
        text = re.sub(pattern, instead, text)
    return "\n".join(sorted(text.splitlines()))


def field(ran: Ran, name: str) -> list[str]:
    """The values of a field in all the summaries, in order."""
    return re.findall(rf"^{name} {{2,}}(\S.*)$", ran.out, re.MULTILINE)


@pytest.mark.thorough
def test_the_demo_comes_out_as_the_readme_says_masked_or_not_wherever_settings_point(
    process: Cli, home: Path, tmp_path: Path
) -> None:
    started = time.monotonic()
    ran = process("demo", **ELSEWHERE, TMPDIR=str(tmp_path))
    assert ran.code == Exit.DONE, ran.err
    assert time.monotonic() - started < 60
    with psycopg.connect(embedded.start(), dbname=DATABASE) as left_open:
        masked = process("--mask", "demo")
        assert masked.code == Exit.DONE, masked.err
        with pytest.raises(psycopg.OperationalError):
            left_open.execute("select 1")
    assert "120*****101" in masked.out
    assert not re.search(r"\b(1202555|6011)\d{4}", masked.out)
    lines = figures(ran).splitlines()
    assert len(figures(masked).splitlines()) == len(lines)
    assert [line for line in figures(masked).splitlines() if "*" not in line and line not in lines] == []
    assert "\x1b" not in ran.out + ran.err
    (quoted,) = re.findall(r"<!-- demo -->\n```text\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    printed = figures(Ran(ran.code, ran.out + ran.err, "")).splitlines()
    shown = [line for line in figures(Ran(0, quoted, "")).splitlines() if line.strip()]
    assert len(shown) > 20
    assert [line for line in shown if line not in printed] == []
    assert f"works only on the embedded server in {home}" in ran.err

    assert "bad_phone 2, duplicate_phone 1, missing_phone 1" in field(ran, "reasons")
    assert field(ran, "imported") == ["2,400", "600", "0", "12"]
    assert re.search(r"WARMEXAMA +400\n", ran.out)
    assert re.search(r"Welcome +1,806 +1,800 +0 +6 ", ran.out)
    assert ran.out.count("no_device") == 12  # in the dry run, and in the real one
    assert field(ran, "waiting")[:2] == ["device_full 1,425, device_offline 325"] * 2
    assert field(ran, "queued") == [
        "450",
        "450",
        "1,750",
        "0",
        "1,800",
        "1,800",
        "1,806",
        "1,806",
        "6",
        "18",
        "18",
        "12",
    ]
    assert field(ran, "chained") == ["0", "0", "0", "0", "1,800", "0", "0", "6", "0", "0", "12"]
    assert field(ran, "failed reflected") == ["0", "0", "0", "6", "5", "5", "5", "5", "0", "0", "0"]
    assert re.search(r"Loyalty +1,800 +1,800 +0 +0 ", ran.out)
    assert re.search(r"^ +9,418 +0 +0 +0$", ran.out, re.MULTILINE)

    # The incident: alice-4 dies, six others stand in for it, and the repair is undone and done again.
    assert field(ran, "moved") == ["0"] * 10 + ["12", "0"]
    assert re.search(r"\nfallback_used +warning +12 +seqdev repair assigned; or nothing", ran.out)
    assert len(re.findall(r"^6011\d+ +fallback_used +open +alice-4", ran.out, re.MULTILINE)) == 3
    assert "exit code 3: the audit has found something" in ran.err
    assert re.search(r"Welcome day 2 +completed .* MISMATCH on alice-\d", ran.out)
    assert field(ran, "changed") == ["12", "12", "12"]
    assert field(ran, "kept") == ["0", "0", "0"]
    waiting = re.findall(r"^Welcome +(\S+) +(online|offline) +(\d+)$", ran.out, re.MULTILINE)
    repaired = [(f"alice-{n}", "online", "2") for n in (2, 3, 5, 6, 7, 8)]
    assert waiting == [*repaired, ("alice-4", "offline", "12")]
    states = re.findall(r"^\S{36}  (undone|in effect) +repair (?:assigned|undo) ", ran.out, re.MULTILINE)
    assert states == ["in effect", "undone", "in effect"]
    assert ran.err.index("12 found, 3 shown") < ran.err.index(" 0 found")
    assert list(tmp_path.glob("seqdev-demo-*")) == []


def asides(ran: Ran) -> list[str]:
    """The remarks on what has happened: exit codes, and what the broadcast worker did."""
    return [line for line in ran.err.splitlines() if line.startswith("[")]


@pytest.mark.thorough
@pytest.mark.skipif(not citus.URL, reason="NOT TESTED: the story on Citus; SEQDEV_TEST_CITUS_URL names none")
def test_the_story_is_the_same_on_citus(
    home: Path,
    empty_database: str,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = subprocess.run(command("demo"), capture_output=True, check=True, text=True, cwd=ROOT)
    plain = Ran(ran.returncode, ran.stdout, ran.stderr)
    citus.extend(empty_database)
    monkeypatch.chdir(tmp_path)
    told = io.StringIO()

    def seqdev(arguments: list[str]) -> int:
        ran = subprocess.run(
            command("--database-url", empty_database, *arguments),
            capture_output=True,
            check=False,
            text=True,
        )
        told.write(ran.stdout)
        sys.stderr.write(ran.stderr)
        return ran.returncode

    database = Database(Settings(database_url=empty_database), "demo", print)
    capfd.readouterr()
    tell(citus.distributing(seqdev), database, Writer(Format.TABLE, out=told))
    database.close()
    distributed = Ran(Exit.DONE, told.getvalue(), capfd.readouterr().err)
    with psycopg.connect(empty_database) as connection:
        (spread,) = connection.execute(
            "select count(*) from citus_tables where citus_table_type = 'distributed'"
        ).fetchall()
    assert spread == (3,)
    assert field(distributed, "queued")[:6] == ["450", "450", "1,750", "0", "1,800", "1,800"]
    assert figures(distributed) == figures(plain)
    assert asides(distributed) == asides(plain)


@pytest.mark.thorough
def test_a_second_demo_at_the_same_time_is_refused(process: Cli, home: Path) -> None:
    with psycopg.connect(embedded.start(), dbname="postgres") as other:
        other.execute((ROOT / "sql/demo/lock.sql").read_bytes())
        ran = process("demo")
    assert ran.code == Exit.UNAVAILABLE
    assert ran.out == ""
    assert "another demo is running" in ran.err


@pytest.mark.thorough
def test_ctrl_c_ends_it_and_leaves_nothing_broken(process: Cli, home: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        command("demo"),
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear,
    ) as running:
        assert running.stderr
        for line in running.stderr:
            if line.startswith("$ seqdev enroll"):
                break
        running.send_signal(signal.SIGINT)
        rest = running.stderr.read()
    assert running.returncode == 128 + signal.SIGINT
    assert "11/11" not in rest
    assert list(tmp_path.iterdir()) == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Row:
    id: UUID
    name: str


ROWS = [Row(UUID(int=1 << 96), "one"), Row(UUID(int=2 << 96), "two")]


@pytest.mark.parametrize(
    ("columns", "shown"), [(80, {str(row.id) for row in ROWS}), (30, {"00000001", "00000002"})]
)
def test_a_narrow_terminal_gets_short_ids(
    columns: int, shown: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    out = Terminal()
    Writer(Format.TABLE, out=out).write(Table("rows", Row, ROWS))
    assert {word for word in out.getvalue().split() if word.startswith("0")} == shown
