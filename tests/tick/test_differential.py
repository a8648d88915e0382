"""Enrolments and ticks against the host's own processor, on two copies of one database.

Both must queue the same messages, but for what the tables of reasons list.
"""

import random
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import namedtuple_row

from tests.world.command import Cli
from tests.world.host import Host
from tests.world.many import Worlds, write
from tests.world.processor import Processor

Key = tuple[str, UUID, UUID]
"""Phone, sequence and step."""

HOST, SEQDEV, OTHERWISE = "the host alone", "seqdev alone", "both, with another value"

REASONS = {
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

AHEAD = {
    "steps not in the order of their days": (
        {SEQDEV, HOST},
        "next_trigger names the next step, whatever its day",
    ),
}
"""What is odd where the host makes the rows of all steps at once, and goes by their days."""

STRICT = {
    "device of a platform": ({SEQDEV}, "it is online whatever its status; the old strict host forgot it"),
    "counter at its limit": (
        {SEQDEV},
        "messages are counted from the queue itself: the host's counters drift",
    ),
    "queue at its limit": ({HOST}, "device_full: the host does not count what waits in the queue"),
}
"""What is odd about a device, where its state matters."""


class Differential:
    """The host's processor on one copy of the worlds' database, seqdev on the other."""

    def __init__(self, worlds: Worlds, policy: str, seqdev: Cli) -> None:
        self.worlds, self.policy, self.seqdev = worlds, policy, seqdev
        self.reasons = REASONS | (AHEAD if worlds.ahead else {}) | (STRICT if policy == "strict" else {})
        self.seen: set[str] = set()
        """Oddities that have made a difference by themselves."""
        self.equal = 0

    def run(self, theirs: Host, ours: Host) -> list[Any]:
        """Four turns, days apart; what differs and no reason explains."""
        processor = Processor(theirs.connection, self.worlds.ahead, self.policy == "strict")
        found: list[Any] = []
        parted: set[tuple[str, UUID]] = set()
        for _ in range(4):
            processor.run()
            database = ("--database-url", ours.url)
            enrolled = self.seqdev(*database, "enroll", "--yes")
            assert enrolled.code in (0, 3), enrolled.err
            ticked = self.seqdev(*database, "tick", "--policy", self.policy)
            assert ticked.code == 0, ticked.err
            found += self.compare(queued(theirs), queued(ours), parted)
            for host in (theirs, ours):
                pass_time(host)
        return found

    def compare(self, theirs: Any, ours: Any, parted: set[tuple[str, UUID]]) -> list[Any]:
        """The first differences of people in sequences; ``parted``: those who have differed, and go on apart."""
        found = []
        apart = set(parted)
        for key in theirs.keys() | ours.keys():
            their, our = theirs.get(key), ours.get(key)
            phone, sequence, step = key
            if (phone, sequence) in apart:
                continue
            if their == our:
                self.equal += 1
                continue
            side = SEQDEV if their is None else HOST if our is None else OTHERWISE
            onward = self.worlds.onward.get(sequence)
            parted |= {(phone, sequence), (phone, onward or sequence)}
            device = (our or their)[0]
            odd = (
                self.worlds.odd[phone, sequence]
                | self.worlds.odd_steps[step]
                | self.worlds.odd_devices[device]
            )
            odd &= self.reasons.keys()
            if not any(side in self.reasons[name][0] for name in odd):
                found.append((side, odd, key, their, our))
            elif len(odd) == 1:
                self.seen |= odd
        return found


Run = Callable[[Worlds, str], tuple[Differential, list[Any]]]
"""Makes the worlds, goes through them under a policy; what is not explained."""


def queued(host: Host) -> dict[Key, tuple[Any, ...]]:
    """What each message of a sequence is, but for its instants and ids."""
    messages = host.rows(
        "select recipient_phone, sequence_id, sequence_stepid, device_id, content, message_type, media_url,"
        " recipient_name, user_id from broadcast_messages where sequence_id is not null and status = 'pending'"
    )
    found = {tuple(message[:3]): tuple(message[3:]) for message in messages}
    assert len(found) == len(messages), "two messages for a step"
    return found


def pass_time(host: Host) -> None:
    host.rows(
        "update sequence_contacts set next_trigger_time = next_trigger_time - interval '10 days',"
        " completed_at = completed_at - interval '10 days',"
        " processing_started_at = processing_started_at - interval '10 days'"
    )


@pytest.fixture
def differential(make_database: Callable[[str], str], template: str, seqdev: Cli) -> Run:
    def run(worlds: Worlds, policy: str) -> tuple[Differential, list[Any]]:
        first = make_database(template)
        with psycopg.connect(first, autocommit=True, row_factory=namedtuple_row) as connection:
            write(Host(connection).rows, worlds)
        second = make_database(str(conninfo_to_dict(first)["dbname"]))
        made = Differential(worlds, policy, seqdev)
        with (
            psycopg.connect(first, autocommit=True, row_factory=namedtuple_row) as theirs,
            psycopg.connect(second, autocommit=True, row_factory=namedtuple_row) as ours,
        ):
            return made, made.run(Host(theirs), Host(ours))

    return run


def worlds_of(seed: int, number: int, ahead: bool) -> Worlds:
    worlds = Worlds(random.Random(seed), ahead)
    for one in range(number):
        worlds.world(one)
    return worlds


@pytest.mark.parametrize(("ahead", "policy"), [(True, "queue"), (False, "strict")])
def test_the_hosts_processor_and_the_tick_queue_the_same(differential: Run, ahead: bool, policy: str) -> None:
    made, found = differential(worlds_of(1, 15, ahead), policy)
    assert found == []
    assert made.equal > 100


@pytest.mark.load
@pytest.mark.parametrize("policy", ["queue", "strict"])
@pytest.mark.parametrize("ahead", [True, False])
def test_the_hosts_processor_and_the_tick_queue_the_same_in_hundreds_of_worlds(
    differential: Run, seed: int, ahead: bool, policy: str
) -> None:
    made, found = differential(worlds_of(seed, 300, ahead), policy)
    assert found == []
    assert made.seen == made.reasons.keys(), "a reason that makes no difference"
