"""A host with one row a person: after the upgrade, seqdev queues what the host's processor would have queued.

On copies of one database; but for what the table below lists.
"""

import random
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import namedtuple_row

from tests.world.command import Cli
from tests.world.differential import HOST, OTHERWISE, SEQDEV, Differential, Key, Reasons
from tests.world.host import Host
from tests.world.many import Worlds, write
from tests.world.mover import ONE_ROW, Mover

REASONS: Reasons = {
    "device of another user": ({HOST}, "device_of_other_user: a stranger's number would write"),
    "no lead": ({HOST}, "no_lead: the person may have asked to be forgotten; the host takes any device"),
    "lead without a device": ({HOST}, "no_device: the host takes any device, of whatever user"),
    "status not active": ({HOST}, "a sequence is active by its status, too"),
    "sequence of another user": ({HOST, OTHERWISE}, "the host enrols leads in anybody's sequence"),
    "trigger is a part of another": ({HOST}, "the host takes WARM for called in WARMEXAMA"),
    "phone in two spellings": ({HOST}, "same_person: one person gets one message"),
    "message type is NULL": ({SEQDEV}, "it is text then"),
    "contact_name is NULL": ({SEQDEV}, "a name is not needed"),
    "current_trigger is NULL": ({SEQDEV}, "the upgrade places the row by its step number"),
    "lead's name is NULL": ({SEQDEV}, "a name is not needed"),
    "delay is NULL": ({SEQDEV}, "it is a day then"),
    "message type is blank": ({OTHERWISE}, "it is text then"),
    "led on": ({HOST}, "the host's row goes on in the next sequence, whether that is active or not"),
    "phone of two users": (
        {SEQDEV, HOST, OTHERWISE},
        "the host takes any lead with the phone for the person",
    ),
}


class Moves(Differential):
    """The messages name neither sequence nor step: they are known by their text."""

    def processor(self, theirs: Host) -> Mover:
        return Mover(theirs.connection, ahead=False, strict=False)

    def queued(self, host: Host) -> dict[Key, tuple[Any, ...]]:
        steps = {step["content"]: step for step in self.worlds.tables["sequence_steps"]}
        return {
            (row.recipient_phone, steps[row.content]["sequence_id"], steps[row.content]["id"]): (
                row.device_id,
                row.message_type,
                row.media_url,
            )
            for row in host.rows("select * from broadcast_messages")
        }


def worlds_of(seed: int, number: int) -> Worlds:
    """Without what says nothing here: devices are all alike, and every step has a text of its own."""
    worlds = Worlds(random.Random(seed), ahead=False)
    for one in range(number):
        worlds.world(one)
    tables = worlds.tables
    tables["device_load_balance"], tables["broadcast_messages"] = [], []
    tables["sequence_contacts"] = [row for row in tables["sequence_contacts"] if row["status"] == "active"]
    for device in tables["user_devices"]:
        device["status"] = "online"
    for step in tables["sequence_steps"]:
        step["content"] = str(step["id"])
    for (phone, sequence), odd in list(worlds.odd.items()):
        if sequence in worlds.onward:
            worlds.odd[phone, worlds.onward[sequence]].add("led on")
        if phone.endswith("0000"):
            odd.add("phone of two users")
            worlds.odd[f"+{phone}", sequence].add("phone of two users")
    return worlds


@pytest.fixture
def moves(make_database: Callable[[str], str], template: str, seqdev: Cli) -> Callable[..., Moves]:
    def run(worlds: Worlds) -> Moves:
        first = make_database(template)
        with psycopg.connect(first, autocommit=True, row_factory=namedtuple_row) as connection:
            for statement in ONE_ROW:
                connection.execute(statement.encode())
            write(Host(connection).rows, worlds)
        second = make_database(str(conninfo_to_dict(first)["dbname"]))
        upgraded = seqdev("--database-url", second, "db", "upgrade", "--yes")
        assert upgraded.code == 0, upgraded.err
        made = Moves(worlds, REASONS, "queue", seqdev)
        made.run(first, second)
        return made

    return run


@pytest.mark.thorough
def test_after_the_upgrade_people_get_what_they_would_have_got(moves: Callable[..., Moves]) -> None:
    made = moves(worlds_of(1, 12))
    assert made.unexplained == []
    assert made.equal > 60


@pytest.mark.load
def test_after_the_upgrade_people_of_hundreds_of_worlds_get_what_they_would_have_got(
    moves: Callable[..., Moves], seed: int
) -> None:
    made = moves(worlds_of(seed, 300))
    assert made.unexplained == []
    assert made.seen == REASONS.keys(), "a reason that makes no difference"
