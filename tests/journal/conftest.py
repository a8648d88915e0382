"""A database in which every command that writes has something to do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.world.command import Cli
from tests.world.host import Host
from tests.world.writing import something_to_do


@pytest.fixture
def world(host: Host, seqdev: Cli, tmp_path: Path) -> Callable[[str], list[str]]:
    """Makes argument lists of the words of ``WRITING``."""
    return something_to_do(host, seqdev, tmp_path)
