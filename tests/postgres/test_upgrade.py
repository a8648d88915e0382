"""``seqdev db upgrade`` does what it has shown and was allowed to do, and nothing else."""

import re

import psycopg
import pytest

from tests.world.command import Cli
from tests.world.host import Connect, Host
from tests.world.terminal import at_terminal

BROKEN = "create unique index concurrently seqdev_contacts_due on sequence_contacts (contact_phone)"


@pytest.fixture
def broken(host: Host, database: str) -> str:
    """A database with an index that was never finished: it is dropped first, and only then to be made."""
    sequence, (one, two) = host.simple_sequence(host.user(), steps=2)
    host.rows("drop index seqdev_contacts_due")
    for step in (one, two):
        host.contact(sequence, step, "6012000001", None)
    with pytest.raises(psycopg.errors.UniqueViolation):
        host.rows(BROKEN)
    return database


@pytest.mark.thorough
def test_what_shows_only_after_the_first_things_is_shown_and_asked_for_too(broken: str) -> None:
    ran = at_terminal(["db", "upgrade"], ["y", "y"])
    assert ran.code == 0
    first, second, _ = ran.err.split("[y/N]:")
    assert "index seqdev_contacts_due: advised" in ran.out
    assert first == "Do this step? "
    assert "index seqdev_contacts_due: advised" in " ".join(second.split())
    assert second.endswith("Do this step too, which only shows now? ")
    assert len(re.findall("upgrade: ", ran.err)) == 2


@pytest.mark.thorough
def test_what_follows_can_be_declined(broken: str, seqdev: Cli, connect: Connect) -> None:
    ran = at_terminal(["db", "upgrade"], ["y", "n"])
    assert len(re.findall("upgrade: ", ran.err)) == 1
    assert "seqdev_contacts_due" in seqdev("db", "check").out
    found = connect(broken).execute("select counts from seqdev.run where command = 'db upgrade'").fetchone()
    assert found == ({"planned": 2, "done": 1},)
    upgraded = seqdev("db", "upgrade", "--yes")
    assert (upgraded.code, len(re.findall("upgrade: ", upgraded.err))) == (0, 1)
