"""``seqdev db status``: the embedded server, and whether commands work on it."""

import json

import pytest

from tests.world.command import Cli

NAMED = (
    "seqdev: commands work on the database that is named, not on the embedded server: see seqdev db check\n"
)


@pytest.mark.plain("no embedded server runs beside it")
def test_with_another_database_named_it_says_that_the_server_is_not_used(database: str, seqdev: Cli) -> None:
    ran = seqdev("db", "status")
    assert (ran.code, ran.err) == (0, NAMED)
    assert dict(line.split(maxsplit=1) for line in ran.out.splitlines())["used"] == "no"


@pytest.mark.plain("no embedded server runs beside it")
def test_with_none_named_it_is_used(server: str, seqdev: Cli) -> None:
    ran = seqdev("db", "status", "--format", "json")
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)
    assert (found["used"], found["running"]) == (True, True)


def test_libpqs_variables_name_one_too(process: Cli, server: str) -> None:
    ran = process("db", "status", "--format", "json", PGHOST="localhost")
    assert (ran.code, ran.err) == (0, NAMED)
    assert json.loads(ran.out)["used"] is False
