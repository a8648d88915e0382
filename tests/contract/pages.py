"""The generated pages of docs/: held against the code, or with SEQDEV_TEST_WRITE_DOCS (``make docs``) written anew."""

import os
from pathlib import Path

from tests.world.command import ROOT

DOCS = ROOT / "docs"
MAN = DOCS / "man"
RUNBOOKS = DOCS / "runbooks"
REFERENCE = DOCS / "reference.md"
JSON_FIELDS = DOCS / "json-fields.md"


def keep(page: Path, text: str) -> None:
    """Fail unless ``page`` is ``text``; under ``make docs`` it becomes that."""
    if os.environ.get("SEQDEV_TEST_WRITE_DOCS"):
        page.write_text(text)
    assert page.read_text() == text, "run: make docs"
