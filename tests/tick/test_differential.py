"""Enrolments and ticks against the host's own processor, on two copies of one database.

Both must queue the same messages, but for what the tables of reasons list.
"""

import random
from collections.abc import Callable

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import namedtuple_row

from tests.world.command import Cli
from tests.world.differential import HOST, OTHERWISE, SEQDEV, Differential, Reasons
from tests.world.host import Host
from tests.world.many import Worlds, write

REASONS: Reasons = {
    # seqdev is careful.
    "device of another user": ({HOST}, "device_of_other_user: a stranger's number would write"),
    "no lead": ({HOST}, "no_lead: the person may have asked to be forgotten"),
    "status not active": ({HOST}, "a sequence is active by its status, too"),
    "no content": ({HOST}, "no_content: a message without text and medium"),
    "sequence of another user": ({HOST, OTHERWISE}, "the host enrols leads in anybody's sequence"),
    "trigger is a part of another": ({HOST}, "the host takes WARM for called in WARMEXAMA"),
    "phone in two spellings": ({HOST}, "same_person: one person gets one message"),
    # The host passes over what it cannot read into a plain value, for ever.
    "content is NULL": ({SEQDEV}, "the medium is sent without a text"),
    "message type is NULL": ({SEQDEV}, "it is text then"),
    "contact_name is NULL": ({SEQDEV}, "a name is not needed"),
    "current_trigger is NULL": ({SEQDEV}, "the row names its step"),
    "user_id is NULL": ({SEQDEV}, "the sequence names its user"),
    "lead's name is NULL": ({SEQDEV}, "a name is not needed"),
    "delay is NULL": ({SEQDEV, HOST}, "the host makes no row of the step, and goes on with the one after it"),
    # They mean different things.
    "message type is blank": ({OTHERWISE}, "it is text then"),
    "nobody is assigned": ({SEQDEV}, "the lead's device sends"),
    # The host writes into trigger lists what it should not.
    "chained": (
        {SEQDEV},
        "the host looks for the last step's trigger in the list, where only the first one's is",
    ),
    "phone of two users": ({SEQDEV, HOST, OTHERWISE}, "the host gives one user's list to the other"),
    # The host looks for the step's message by its phone, step and device before it queues one.
    "queued before": (
        {SEQDEV, HOST},
        "the host goes on; seqdev looks only where another processor claimed the row",
    ),
}
"""What is odd about a person, sequence or step: who queues a message then, and why the two differ."""

AHEAD: Reasons = {
    "steps not in the order of their days": (
        {SEQDEV, HOST},
        "next_trigger names the next step, whatever its day",
    ),
}
"""What is odd where the host makes the rows of all steps at once, and goes by their days."""

STRICT: Reasons = {
    "device of a platform": ({SEQDEV}, "it is online whatever its status; the old strict host forgot it"),
    "counter at its limit": (
        {SEQDEV},
        "messages are counted from the queue itself: the host's counters drift",
    ),
    "queue at its limit": ({HOST}, "device_full: the host does not count what waits in the queue"),
}
"""What is odd about a device, where its state matters."""


Run = Callable[[Worlds, str], Differential]
"""Makes the worlds, and goes through them under a policy."""


@pytest.fixture
def differential(make_database: Callable[[str], str], template: str, seqdev: Cli) -> Run:
    def run(worlds: Worlds, policy: str) -> Differential:
        theirs = make_database(template)
        with psycopg.connect(theirs, autocommit=True, row_factory=namedtuple_row) as connection:
            write(Host(connection).rows, worlds)
        ours = make_database(str(conninfo_to_dict(theirs)["dbname"]))
        reasons = {**REASONS, **(AHEAD if worlds.ahead else {}), **(STRICT if policy == "strict" else {})}
        made = Differential(worlds, reasons, policy, seqdev)
        made.run(theirs, ours)
        return made

    return run


def worlds_of(seed: int, number: int, ahead: bool) -> Worlds:
    worlds = Worlds(random.Random(seed), ahead)
    for one in range(number):
        worlds.world(one)
    return worlds


@pytest.mark.parametrize(("ahead", "policy"), [(True, "queue"), (False, "strict")])
def test_the_hosts_processor_and_the_tick_queue_the_same(differential: Run, ahead: bool, policy: str) -> None:
    made = differential(worlds_of(1, 15, ahead), policy)
    assert made.unexplained == []
    assert made.equal > 100


@pytest.mark.load
@pytest.mark.parametrize("policy", ["queue", "strict"])
@pytest.mark.parametrize("ahead", [True, False])
def test_the_hosts_processor_and_the_tick_queue_the_same_in_hundreds_of_worlds(
    differential: Run, seed: int, ahead: bool, policy: str
) -> None:
    made = differential(worlds_of(seed, 300, ahead), policy)
    assert made.unexplained == []
    assert made.seen == made.reasons.keys(), "a reason that makes no difference"
