"""Commands that only read, on a database that was never upgraded, or by an older seqdev: they work, and say what is missing."""

import json
import re
import shlex
from collections.abc import Iterator

import pytest

from seqdev.postgres.queries import ROOT
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.reading import READS

pytestmark = pytest.mark.thorough

NEVER = "drop schema seqdev cascade"
HOSTS = (
    "alter table user_devices drop column platform; drop table device_load_balance;"
    " alter table broadcast_messages drop column recipient_name;"
    " alter table sequence_contacts drop column processing_device_id cascade, drop column user_id"
)
OLDER = (
    "drop table seqdev.rule, seqdev.blocked; alter table seqdev.run drop column why, drop column reason,"
    " drop column session"
)
STATES = {"never": NEVER, "never, and the host lacks columns": f"{NEVER}; {HOSTS}", "an older one": OLDER}


@pytest.fixture
def database(host: Host) -> Iterator[Host]:
    """Two devices, one offline; a person due on each."""
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    for number, name in enumerate("AB"):
        device = host.device(user, name, status="online" if name == "A" else "offline")
        host.contact(sequence, step, f"6012000000{number}", device)
    yield host
    # What looks at every database at the end of a test reads it.
    host.rows("alter table broadcast_messages add column if not exists recipient_name text default ''")


@pytest.mark.thorough
@pytest.mark.cases(1)
@pytest.mark.parametrize("state", STATES)
def test_every_command_that_only_reads_works_and_says_once_what_is_missing(
    database: Host, seqdev: Cli, state: str
) -> None:
    before = {command: seqdev(*shlex.split(command)).code for command in READS}
    assert set(before.values()) <= {0, 3}, before
    database.each(STATES[state])
    for command in READS:
        ran = seqdev(*shlex.split(command))
        said = [line for line in ran.err.splitlines() if "was not upgraded" in line]
        assert (ran.code, len(said)) == (before[command], 1), (command, ran.code, ran.err)
        assert "rules are the defaults; to bring it up to date: seqdev db upgrade" in said[0]
        assert "seqdev.rule" in said[0]
    # Who writes refuses.
    refused = seqdev("tick")
    assert (refused.code, "seqdev db upgrade" in refused.err) == (10, True)


def test_the_answers_are_those_of_an_upgraded_database_without_rules(database: Host, seqdev: Cli) -> None:
    def answers() -> list[object]:
        dry = json.loads(seqdev("tick", "--dry-run", "--format", "json").out)
        told = json.loads(seqdev("explain", "60120000001", "--format", "json").out)
        waiting = told["stories"][0]["waiting"][0]
        found = json.loads(seqdev("audit", "devices", "--format", "json").out)
        return [dry["queued"], dry["waiting"], waiting["reason"], found]

    before = answers()
    database.each(f"{NEVER}; {HOSTS}")
    assert answers() == before


def test_a_host_without_the_step_of_a_message_is_refused_with_what_to_do(database: Host, seqdev: Cli) -> None:
    # Audits would find nothing, and that would be no answer.
    database.each(f"{NEVER}; alter table broadcast_messages drop column sequence_stepid")
    ran = seqdev("audit", "mismatches")
    assert (ran.code, ran.out, "seqdev db check" in ran.err) == (10, "", True)


def test_what_may_be_missing_is_what_the_upgrade_makes() -> None:
    wanted = re.findall(r"'(seqdev)', '(\w+)', '(\w+)', '\w+'", (ROOT / "postgres/check.sql").read_text())
    lacking = re.findall(
        r"\(\d+, '(seqdev)\.(\w+)', '(\w+)', '\w+'\)", (ROOT / "postgres/stand_ins.sql").read_text()
    )
    assert sorted(lacking) == sorted(wanted)
    assert len(wanted) > 40
