"""``python -m seqdev``."""

from seqdev.cli import entry

entry()
