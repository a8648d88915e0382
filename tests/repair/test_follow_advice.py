"""Whoever does what the audits advise, to the letter and again and again, sends nobody a step twice.

Random worlds of what hosts, other processors and accidents leave behind. SEQDEV_TEST_SEED repeats one.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.world.command import Cli
from tests.world.host import Host
from tests.world.repairs import message

pytestmark = pytest.mark.thorough

PEOPLE = 120
STEPS = 4
AUDITS = ("mismatches", "devices", "contacts", "writers", "collisions", "failed", "sequences", "leads")


class World:
    """Devices in every state, a sequence that may have lost a step, and people anywhere in it."""

    def __init__(self, host: Host, seed: int) -> None:
        self.host = host
        self.draw = random.Random(seed)
        self.user, other = host.user(), host.user()
        host.rows(
            "alter table broadcast_messages drop constraint if exists broadcast_messages_device_id_fkey"
        )
        self.own = [host.device(self.user, name, status) for name, status in STATES]
        self.devices = [*self.own, host.device(other, "theirs"), uuid4(), None]
        self.sequence, self.steps = host.simple_sequence(self.user, steps=STEPS)
        theirs, (step,) = host.simple_sequence(other)
        host.contact(theirs, step, "6013000000", self.devices[-3], timedelta(hours=1))
        with host.connection.transaction():
            for number in range(PEOPLE):
                self._person(f"6012{number:06}")
        self.days = dict(host.rows("select id, day_number from sequence_steps"))
        match self.draw.choice(["as it was", "a step deleted", "made anew"]):
            case "a step deleted":
                host.rows("delete from sequence_steps where id = %s", self.draw.choice(self.steps[1:]))
            case "made anew":
                # As the host does when somebody edits the sequence.
                host.rows(
                    "update sequence_steps set id = gen_random_uuid() where sequence_id = %s", self.sequence
                )
        self.days |= dict(host.rows("select id, day_number from sequence_steps"))
        if self.draw.random() < 0.5:
            host.rows("update sequence_steps set trigger_delay_hours = 48 where day_number = 3")
        # seqdev came in the middle of all this.
        host.rows(
            "insert into seqdev.run (id, command, started_at, version)"
            " values (gen_random_uuid(), 'tick', now() - interval '30 minutes', '')"
        )

    def _person(self, phone: str) -> None:
        draw = self.draw
        if draw.random() < 0.9:
            self.host.lead(self.user, draw.choice([*self.own, None]), phone, draw.choice(["WARM", ""]))
        stands, ahead = draw.randrange(STEPS + 1), draw.random() < 0.3
        for place in range(STEPS if ahead else min(STEPS, stands + 1)):
            if place < stands:
                self._done(phone, place)
            else:
                later = "pending" if place > stands else draw.choice(STATUSES)
                self._waits(phone, place, later)

    def _row(self, phone: str, place: int, status: str, **columns: Any) -> UUID:
        device = self.draw.choice(self.devices)
        return self.host.contact(
            self.sequence,
            self.steps[place],
            phone,
            device,
            timedelta(minutes=self.draw.choice([-90, -20, -1, 60])),
            lead=False,
            status=status,
            current_step=place + 1,
            current_trigger="WARM" if place == 0 else f"WARM_{place + 1}",
            **columns,
        )

    def _done(self, phone: str, place: int) -> None:
        row = self._row(phone, place, self.draw.choice(["completed", "completed", "failed", "sent"]))
        self.host.rows(
            "update sequence_contacts set completed_at = now() at time zone 'UTC' - %s::interval where id = %s",
            *(self.draw.choice([None, "2 days", "1 hour", "10 minutes"]), row),
        )
        self._messages(row, self.draw.choice([(True,), (False,), (False,), ()]))

    def _waits(self, phone: str, place: int, status: str) -> None:
        claimed = self.draw.choice([None, None, None, *self.own])
        row = self._row(phone, place, status, processing_device_id=claimed)
        if claimed and self.draw.random() < 0.5:
            self.host.rows(
                "update sequence_contacts set processing_started_at = now() at time zone 'UTC' - interval '1 hour'"
                " where id = %s",
                row,
            )
        self._messages(row, self.draw.choice([(), (), (), (False,), (True,)]))

    def _messages(self, row: UUID, made: tuple[bool, ...]) -> None:
        for own in made:
            message(
                self.host, row, self.draw.choice(self.own), self.draw.choice(["20 minutes", "2 minutes"]), own
            )


STATES = (("A", "online"), ("B", "online"), ("C", "offline"), ("C", "banned"))
STATUSES = ("active", "active", "active", "pending", "set_aside", "paused")


def advised(seqdev: Cli) -> Iterator[list[str]]:
    """Every command that an audit tells to run, and that writes."""
    told = dict[str, None]()
    for name in AUDITS:
        ran = seqdev("audit", name, "--all", "--format", "json")
        assert ran.code in (0, 3), ran.err
        found = json.loads(ran.out)
        for row in (*found[name], *found["found"]):
            told |= dict.fromkeys(
                re.findall(r"seqdev ((?:repair|leads|enroll|tick)\b[^,;:()]*)", row["repair"] or "")
            )
    for command in told:
        words = command.split()
        # Words in capitals are for a person to fill in: the row below the total has them.
        if "--dry-run" not in words and not [word for word in words if word.isupper()]:
            yield words if words[0] == "tick" else [*words, "--yes"]


def twice(host: Host, world: World) -> set[Any]:
    """People who have more than one message of a day, whatever the id of its step was then."""
    sent = Counter(
        (row.recipient_phone, world.days[row.sequence_stepid])
        for row in host.rows("select recipient_phone, sequence_stepid from broadcast_messages")
        if row.sequence_stepid
    )
    return {one for one, number in sent.items() if number > 1}


@pytest.mark.parametrize("number", range(2))
def test_nobody_gets_a_step_twice_by_what_the_audits_advise(
    host: Host, seqdev: Cli, seed: int, number: int
) -> None:
    world = World(host, seed + number)
    before, followed = twice(host, world), set()
    for _ in range(4):
        for words in advised(seqdev):
            ran = seqdev(*words)
            assert ran.code in (0, 3), (words, ran.err)
            followed.add(" ".join(words[:2]))
        assert seqdev("tick").code in (0, 3)
        host.rows("update broadcast_messages set status = 'sent', sent_at = now() where status = 'pending'")
        host.make_all_due()
        # The claims of the dead grow old.
        host.rows(
            "update sequence_contacts set processing_started_at = processing_started_at - interval '1 hour'"
        )
    assert twice(host, world) == before
    assert {"repair stranded", "repair written-by-other", "repair quarantined", "repair stuck"} <= followed
