"""What goes out through ``leads import --rejects`` comes back by import as it was, or is rejected again."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from seqdev.leads.file import LeadFile
from seqdev.leads.rejects import RejectsFile
from tests.world.command import Cli
from tests.world.host import Host

pytestmark = pytest.mark.thorough

NASTY = "\0\t\r\x1b\x85\u202e\ufeff\udcff=+-@'\"\\,;\n ntrxu0"
HARMFUL = NASTY[:8]
CELL = st.text(NASTY, max_size=8) | st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
PHONE = st.just("+12025550101") | CELL
LONG = ["\0" * 100_000, "\udcff" * 130_000, '"' * 131_000, "=" + "," * 131_000]


def opened(content: str) -> LeadFile:
    """The file as the command opens it."""
    file = io.BytesIO(content.encode("utf-8", "surrogateescape"))
    return LeadFile(io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline=""), None)


@pytest.mark.thorough
@settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    others=st.lists(st.sampled_from(["x", "=1+1", "a;b;c;d", "\\t", "'", "two\nlines", ""]), max_size=3),
    rows=st.lists(st.tuples(PHONE, CELL, CELL, CELL, CELL), max_size=4),
    delimiter=st.sampled_from(",;\t"),
)
@example(others=["a;b;c;d;e;f;g"], rows=[("+12025550101", *LONG)], delimiter="\t")
def test_what_is_rejected_comes_back_as_it_was(
    tmp_path: Path, others: list[str], rows: list[tuple[str, ...]], delimiter: str
) -> None:
    content = io.StringIO()
    writer = csv.writer(content, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerow(["phone", "name", "trigger", "device", *others])
    writer.writerows(row[: 4 + len(others)] if number % 2 else row for number, row in enumerate(rows))
    file = opened(content.getvalue())
    headers, lines = file.headers, list(file)
    # What is rejected once more goes out once more.
    for _ in range(2):
        with RejectsFile(tmp_path / "rejects.csv") as rejects:
            rejects.write([["line", "reason", *headers]])
            rejects.write([line.line, line.reason, *line.cells] for line in lines)
            rejects.publish()
        written = (tmp_path / "rejects.csv").read_bytes().decode()
        again = opened(written)
        assert again.headers == headers
        # Not by ==, whose explanation of cells as long as these takes minutes.
        found = [replace(line, line=0) for line in again]
        assert bool(found == [replace(line, line=0) for line in lines])
        assert not set(HARMFUL) & set(written)
        for cells in csv.reader(io.StringIO(written)):
            assert not [cell[:9] for cell in cells if cell.startswith(("=", "+", "-", "@"))]


def test_rejected_lines_come_back_through_the_command(host: Host, seqdev: Cli, tmp_path: Path) -> None:
    """Rejected because no line has a device; imported as they were, once there is one."""
    user = host.user()
    names = [
        "=1+1",
        "+1",
        "'=1",
        "'s Hage",
        "back\\slash",
        "\\x00",
        'a "b", c; d',
        "tab\tname",
        "two\nlines",
        "-\\n",
    ]
    file, rejects, last = (tmp_path / name for name in ("leads.csv", "rejects.csv", "last.csv"))
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["phone", "name", "niche", "device", "=note"])
        for number, name in enumerate(names):
            writer.writerow([f"+1 202-555-01{number:02}", name, "@niche", "later", "x"])
    with file.open("ab") as more:
        more.write(b"12025550150,An\0a,,later,x\n12025550151,An\xff,,later,x\n+1 (202),=x,,later,x\n")
        more.write(b"12025550152,Ana,,later,x,one too many\n")
    command = ("leads", "import", "--user", str(user), "--format", "json", "--rejects")
    assert seqdev(*command, str(rejects), str(file)).code == 3
    assert host.value("select count(*) from leads") == 0
    host.device(user, "later")
    ran = seqdev(*command, str(last), str(rejects))
    assert ran.code == 3
    assert json.loads(ran.out)["import"]["reasons"] == {"bad_phone": 1, "bad_text": 2, "wrong_columns": 1}
    found = host.rows("select phone, name, niche from leads order by phone")
    assert found == [(f"120255501{number:02}", name, "@niche") for number, name in enumerate(names)]
    # Nothing was added to what was rejected twice.
    before = [row[2:] for row in csv.reader(rejects.read_text().splitlines())]
    after = [row[2:] for row in csv.reader(last.read_text().splitlines())]
    assert after == [before[0], *before[-4:]]
    assert after[1][1] == "'An\\x00a"
