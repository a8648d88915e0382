"""The tables of faults in docs/faults.md, from the records of runs.

``python -m tests.faults.table RECORD [long]`` prints one and puts it in its place.
"""

import json
import sys
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

from tests.faults.record import names
from tests.world.command import ROOT

PAGE = ROOT / "docs" / "faults.md"
BEGIN = {False: "<!-- faults: make faults writes it -->\n", True: "<!-- long run: make load writes it -->\n"}
END = {False: "<!-- end of faults -->\n", True: "<!-- end of long run -->\n"}
"""Around the tables: of ``make faults``, and of the long run."""


def table(records: Iterable[dict[str, Any]], *, long: bool = False) -> str:
    """The record as markdown: every fault, how often it was tried, what held."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        one = found.setdefault(record["fault"], record)
        if one is not record:
            for key in ("tries", "killed", "reconciled"):
                one[key] += record[key]
    listed = [found[name] for name in names(long=long)]
    tries, killed, messages = (sum(one[key] for one in listed) for key in ("tries", "killed", "reconciled"))
    versions = ", ".join(sorted({one["server"] for one in listed if one["server"]}))
    head = (
        f"On {date.today().isoformat()}, PostgreSQL {versions}: {sum(one['tries'] > 0 for one in listed)} faults, {tries:,} tries, {killed:,} of them\n"
        f"SIGKILLs. {messages:,} messages were reconciled: 0 duplicates, 0 lost. 0 leaks.\n\n"
    )
    rows = [
        f"| {one['fault']} | {one['tries']:,} | {one['reconciled']:,} | {'; '.join(one['notes'])} |"
        for one in listed
    ]
    return (
        head
        + "\n".join(["| fault | tries | messages reconciled | besides |", "|---|--:|--:|---|", *rows])
        + "\n"
    )


def placed(page: str, text: str, *, long: bool = False) -> str:
    """``page`` with the table in its place."""
    before, rest = page.split(BEGIN[long])
    _, after = rest.split(END[long])
    return f"{before}{BEGIN[long]}\n{text}\n{END[long]}{after}"


def listed(page: str, *, long: bool = False) -> list[str]:
    """The faults that the table in ``page`` names."""
    part = page.split(BEGIN[long])[1].split(END[long])[0]
    rows = [line for line in part.splitlines() if line.startswith("| ")]
    return [row[2:].split(" | ")[0] for row in rows[1:]]


if __name__ == "__main__":
    lines = Path(sys.argv[1]).read_text().splitlines()
    long = sys.argv[2:] == ["long"]
    made = table(map(json.loads, lines), long=long)
    PAGE.write_text(placed(PAGE.read_text(), made, long=long))
    print(made)
