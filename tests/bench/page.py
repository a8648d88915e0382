"""The parts of docs/host-costs.md that benchmarks write, each between its own markers."""

import os
import platform
from datetime import UTC, datetime

from tests.bench.bench import ROOT

PAGE = ROOT / "docs" / "host-costs.md"


def put(name: str, text: str) -> None:
    """Put ``text`` in the place of what ``make bench-NAME`` wrote before."""
    begin, end = f"<!-- {name}: make bench-{name} writes it -->\n", f"<!-- end of {name} -->\n"
    before, rest = PAGE.read_text().split(begin)
    _, after = rest.split(end)
    PAGE.write_text(f"{before}{begin}\n{text.strip()}\n\n{end}{after}")


def where(name: str, version: str) -> str:
    """By what, when and on what a part was measured."""
    return (
        f"Written by `make bench-{name}` on {datetime.now(UTC):%Y-%m-%d}: PostgreSQL {version}, {platform.machine()},"
        f" {os.cpu_count()} processors"
    )
