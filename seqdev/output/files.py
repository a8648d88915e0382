"""Files that commands write."""

import os
from pathlib import Path

from seqdev.errors import UsageError


def plain_file(path: Path) -> Path:
    """The plain file, perhaps one to be made, that ``path`` names, itself or by symbolic links.

    Raises UsageError where it is something else: a file that is put in its place would destroy it.
    """
    named = Path(os.path.realpath(path))
    if os.path.lexists(named) and not named.is_file():
        raise UsageError(f"cannot write {path}: it is not a plain file", "name a file that can be replaced")
    return named
