"""An option means the same, and is called the same, with every command."""

from collections import defaultdict
from typing import Any

from tests.contract.reference import all_commands
from tests.world.command import Cli

OPTIONS: dict[str, dict[str, Any]] = {
    path: {name: one for one in command.params if one.param_type_name == "option" for name in one.opts}
    for path, command, _ in all_commands()
}


def test_what_lists_rows_takes_limit_and_all() -> None:
    # Its limit was another thing once: see below.
    listing = {path for path, options in OPTIONS.items() if "--all" in options} - {"seqdev enroll"}
    assert len(listing) > 30
    assert listing == {path for path, options in OPTIONS.items() if "--limit" in options} - {"seqdev enroll"}


def test_options_of_one_name_say_the_same() -> None:
    said: dict[str, set[str]] = defaultdict(set)
    for options in OPTIONS.values():
        for name in ("--limit", "--all", "--format"):
            if name in options and not options[name].hidden:
                said[name].add(options[name].help)
    assert {name: len(texts) for name, texts in said.items()} == {"--limit": 1, "--all": 1, "--format": 1}


def test_an_old_limit_of_enroll_enrols_nobody(seqdev: Cli) -> None:
    ran = seqdev("enroll", "--limit", "100", "--yes")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.endswith("seqdev: --max 100\n")
