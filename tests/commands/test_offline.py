"""Help and manual: there without network, database or a configuration that is right."""

import pytest

from seqdev.commands.help import TOPICS
from tests.world.command import Cli

BROKEN = {"SEQDEV_CONFIG": "/nonexistent", "SEQDEV_POLICY": "none of them", "PGHOST": "/nowhere"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["help"], "seqdev help time-zones"),
        (["help", "reasons"], "| `device_gone` |"),
        (["help", "incident"], "seqdev repair undo RUN"),
        (["help", "tick"], "Usage: seqdev tick"),
        (["man"], ".TH"),
        (["man", "audit", "mismatches"], "seqdev\\-audit\\-mismatches"),
        (["completion", "zsh"], "#compdef seqdev"),
    ],
    ids=str,
)
def test_they_work_with_nothing_else_in_order(process: Cli, arguments: list[str], words: str) -> None:
    ran = process(*arguments, **BROKEN)
    assert (ran.code, ran.err, words in ran.out) == (0, "", True)


def test_links_are_shown_as_their_words(process: Cli) -> None:
    for topic in TOPICS:
        assert "](" not in process("help", topic).out


@pytest.mark.parametrize(
    "arguments", [["help", "nothing"], ["man", "nothing"], ["man", "audit", "nothing"]], ids=str
)
def test_what_there_is_not_is_refused(process: Cli, arguments: list[str]) -> None:
    ran = process(*arguments)
    assert (ran.code, ran.out, "'nothing'" in ran.err) == (2, "", True)
