"""A help or a version that stdout does not take ends as every other output does."""

import os
import subprocess

import pytest

from tests.world.command import ROOT, command

pytestmark = pytest.mark.thorough

PRINTS = (["--help"], ["repair", "--help"], ["repair", "stuck", "--help"], ["--version"])


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_full_disk_behind_the_help_is_one_line_and_exit_1(buffered: str) -> None:
    for words in PRINTS:
        with open("/dev/full", "w") as full:
            ran = subprocess.run(
                command(*words),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                cwd=ROOT,
                env=os.environ | {"PYTHONUNBUFFERED": buffered},
            )
        said = "seqdev: stdout cannot be written: No space left on device\n"
        assert (ran.returncode, ran.stderr) == (1, said), words


def test_a_reader_of_the_help_who_is_gone_is_exit_141() -> None:
    for words in PRINTS:
        reading, writing = os.pipe()
        os.close(reading)
        ran = subprocess.run(command(*words), stdout=writing, stderr=subprocess.PIPE, check=False, cwd=ROOT)
        os.close(writing)
        assert (ran.returncode, ran.stderr) == (141, b""), words
