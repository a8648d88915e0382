"""The report in a browser: it asks for nothing, complains of nothing, fits, and says what the audits say."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world import browser
from tests.world.browser import Browser
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.reported import SCRIPT, incident, plant_canaries

WIDE = 1280
NARROW = 390
PAPER = 718
"""Pixels: a desk, a telephone, and A4 between its margins."""

TOO_WIDE = """
    [...document.querySelectorAll('body, body *')]
        .filter(one => one.getBoundingClientRect().right > innerWidth + 0.5)
        .map(one => one.tagName + ' ' + one.textContent.slice(0, 40))
"""
ROWS = """
    [...document.querySelectorAll('#findings tbody tr[data-finding]')].map(row => [
        row.dataset.audit, row.dataset.finding, Number(row.querySelector('.n').textContent.replaceAll(',', ''))])
"""
FIELDS = """
    Object.fromEntries([...document.querySelectorAll('[data-field]')].map(one => [one.dataset.field, one.textContent]))
"""


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Browser]:
    program = browser.found()
    if program is None:
        warnings.warn("NO BROWSER: the report was not opened in Chromium", stacklevel=1)
        pytest.skip("NO BROWSER: Chromium is not installed, the report was not opened in it")
    with browser.browser(program, tmp_path / "profile") as opened:
        yield opened


@pytest.mark.thorough
def test_the_report_in_a_browser(page: Browser, host: Host, seqdev: Cli, tmp_path: Path) -> None:
    incident(host, seqdev)
    plant_canaries(host)
    # A name without a space to break it at.
    host.rows("update user_devices set device_name = repeat('very-long-', 20) where device_name = 'alpha'")
    file = tmp_path / "report.html"
    assert seqdev("report", "--since", "3h", "--output", file).code == 0

    for width, kind in ((WIDE, "screen"), (NARROW, "screen"), (PAPER, "print")):
        page.media(kind)
        page.open(file, width)
        assert page.value(TOO_WIDE) == [], (width, kind)
        assert page.value("document.documentElement.scrollWidth") <= width, (width, kind)
        assert page.requests == [file.as_uri()]
        assert page.complaints == []

    # What it says is what the audits say.
    audits = json.loads(seqdev("audit", "all", "--since", "3h", "--format", "json").out)["audits"]
    found = {(line["audit"], kind, number) for line in audits for kind, number in line["kinds"].items()}
    assert {tuple(row) for row in page.value(ROWS)} == found
    fields = page.value(FIELDS)
    mismatches = {kind: number for audit, kind, number in found if audit == "mismatches"}
    assert int(fields["repaired"]) == mismatches["repaired"]
    assert int(fields["open"]) == sum(mismatches.values()) - mismatches["repaired"]

    # What names are in it are text.
    assert page.value("document.scripts.length + document.images.length") == 0
    assert SCRIPT in page.value("document.body.textContent")

    page.media("screen", "light")
    light = page.value("getComputedStyle(document.body).backgroundColor")
    page.media("screen", "dark")
    assert page.value("getComputedStyle(document.body).backgroundColor") != light
