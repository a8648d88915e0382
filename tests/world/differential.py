"""A processor of the host's on one copy of a database, seqdev on another: what the two queue."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import namedtuple_row

from tests.world.command import Cli
from tests.world.host import Host
from tests.world.many import Pair, Worlds
from tests.world.processor import Processor

Key = tuple[str, UUID, UUID]
"""Phone, sequence and step."""

HOST, SEQDEV, OTHERWISE = "the host alone", "seqdev alone", "both, with another value"

Reasons = Mapping[str, tuple[set[str], str]]
"""What is odd: who queues a message then, and why the two differ."""

TURNS = 4
TEN_DAYS = """
    update sequence_contacts set next_trigger_time = next_trigger_time - interval '10 days',
        completed_at = completed_at - interval '10 days',
        processing_started_at = processing_started_at - interval '10 days'
"""


@dataclass
class Differential:
    """Goes through some turns, days apart, and holds each difference against the reasons."""

    worlds: Worlds
    reasons: Reasons
    policy: str
    seqdev: Cli
    unexplained: list[Any] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    """Reasons that have made a difference by themselves."""
    equal: int = 0
    parted: set[Pair] = field(default_factory=set)
    """People in sequences who have differed, and go on apart."""

    def run(self, theirs: str, ours: str) -> None:
        """The databases are copies of each other."""
        with (
            psycopg.connect(theirs, autocommit=True, row_factory=namedtuple_row) as their_connection,
            psycopg.connect(ours, autocommit=True, row_factory=namedtuple_row) as our_connection,
        ):
            their, our = Host(their_connection), Host(our_connection)
            processor = self.processor(their)
            for _ in range(TURNS):
                processor.run()
                enrolled = self.seqdev("--database-url", ours, "enroll", "--yes")
                assert enrolled.code in (0, 3), enrolled.err
                ticked = self.seqdev("--database-url", ours, "tick", "--policy", self.policy)
                assert ticked.code == 0, ticked.err
                self.compare(self.queued(their), self.queued(our))
                for host in (their, our):
                    host.rows(TEN_DAYS)

    def processor(self, theirs: Host) -> Processor:
        return Processor(theirs.connection, self.worlds.ahead, self.policy == "strict")

    def queued(self, host: Host) -> dict[Key, tuple[Any, ...]]:
        """What each message of a sequence is, its device first, but for its instants and ids."""
        messages = host.rows(
            "select recipient_phone, sequence_id, sequence_stepid, device_id, content, message_type, media_url,"
            " recipient_name, user_id from broadcast_messages where sequence_id is not null and status = 'pending'"
        )
        found = {tuple(message[:3]): tuple(message[3:]) for message in messages}
        assert len(found) == len(messages), "two messages for a step"
        return found

    def compare(self, theirs: dict[Key, tuple[Any, ...]], ours: dict[Key, tuple[Any, ...]]) -> None:
        apart = set(self.parted)
        for key in theirs.keys() | ours.keys():
            phone, sequence, step = key
            if (phone, sequence) in apart:
                continue
            their, our = theirs.get(key), ours.get(key)
            if their == our:
                self.equal += 1
                continue
            side = SEQDEV if their is None else HOST if our is None else OTHERWISE
            self.parted |= {(phone, sequence), (phone, self.worlds.onward.get(sequence, sequence))}
            device = (our or their or ())[0]
            odd = self.worlds.odd[phone, sequence] | self.worlds.odd_steps[step]
            odd = (odd | self.worlds.odd_devices[device]) & self.reasons.keys()
            if not any(side in self.reasons[name][0] for name in odd):
                self.unexplained.append((side, odd, key, their, our))
            elif len(odd) == 1:
                self.seen |= odd
