"""``seqdev db check`` says beforehand what a tick will refuse, or leave waiting for another reason than capacity, time
or status: on small worlds that are dirty at random."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
import pytest
from psycopg.rows import namedtuple_row

from tests.world.command import Cli
from tests.world.dirt import clean_world, soil
from tests.world.host import Host

TURNS = 3

FORESEEN = {
    "no_device": ["contacts that wait: no_device"],
    "device_missing": ["contacts that wait: device_missing"],
    "device_of_other_user": ["contacts that wait: device_of_other_user"],
    "step_missing": ["contacts that wait: step_missing"],
    "no_content": ["contacts that wait: no_content", "steps that are not sent: no_content"],
    "bad_phone": ["contacts that wait: bad_phone"],
    "no_lead": ["contacts that wait: no_lead"],
    "claimed": ["contacts that wait: claimed"],
    "refused": [
        "probe: ",
        "sequence_contacts.contact_name too long",
        "sequence_contacts.contact_phone too long",
    ],
    "never due": ["sequence_contacts.next_trigger_time missing"],
    "of no sequence": ["sequence_contacts.sequence_id of no sequence"],
    "contact's status": ["sequence_contacts.status "],
    "sequence's status": ["sequences.status "],
    "schema": ["broadcast_messages.campaign_name"],
}
"""What happens to contacts, and how the items of the findings begin that say so beforehand."""

NOT_ASKED = {"device_gone", "device_offline", "device_full", "next_tick"}
"""Status, capacity and time."""


@dataclass
class Course:
    """What became of the contacts of a world in some turns."""

    host: Host
    seqdev: Cli
    policy: str
    happened: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)

    def run(self) -> None:
        for _ in range(TURNS):
            self.tick()
            self.host.rows(
                "update sequence_contacts set next_trigger_time = now() at time zone 'UTC' - interval '1 hour'"
                " where status = 'active' and next_trigger_time is not null"
            )
        # Of a schema that it cannot work on, db check says no more than that.
        self.happened = self.happened & {"schema"} or self.happened | set(self.left())

    def tick(self) -> None:
        ran = self.seqdev(
            *("--database-url", self.host.url, "tick", "--policy", self.policy, "--format", "json")
        )
        self.told.append(ran.err)
        if ran.code == 10:
            self.happened.add("schema")
            return
        assert ran.code in (0, 1, 3), ran.err
        summary = json.loads(ran.out)
        self.happened |= (summary["waiting"] or {}).keys() - NOT_ASKED
        if ran.code or summary["quarantined"]:
            self.happened.add("refused")

    def left(self) -> Iterator[str]:
        """Of those who are still on their way, and that no summary names: why."""
        for row in self.host.rows(
            "select sc.status, sc.next_trigger_time, s.id, s.status as sequence_status, s.is_active"
            " from sequence_contacts as sc left join sequences as s on s.id = sc.sequence_id"
        ):
            if row.status not in ("active", "pending", "completed", "failed", "set_aside", "paused"):
                yield "contact's status"
            elif row.status == "active" and row.id is None:
                yield "of no sequence"
            elif row.status == "active" and row.next_trigger_time is None:
                yield "never due"
            elif row.status == "active" and row.sequence_status not in ("active", "paused"):
                yield "sequence's status"


@dataclass(frozen=True)
class Gone:
    """A world that was gone through."""

    dirt: list[str]
    happened: set[str]
    silent: set[str]
    """Of what happened, what no finding had said."""
    items: list[str]
    told: list[str]


Go = Callable[[int], Gone]


@pytest.fixture
def go(make_database: Callable[[str], str], template: str, seqdev: Cli) -> Go:
    def run(seed: int) -> Gone:
        rng, database = random.Random(seed), make_database(template)
        with psycopg.connect(database, autocommit=True, row_factory=namedtuple_row) as connection:
            host = Host(connection)
            clean_world(host, rng)
            dirt = soil(host, rng)
            checked = seqdev("--database-url", host.url, "db", "check", "--probe", "--format", "json")
            items = [one["item"] for one in json.loads(checked.out)]
            course = Course(host, seqdev, rng.choice(["queue", "strict", "fallback", "reassign"]))
            course.run()
        silent = {
            what
            for what in course.happened
            if not any(item.startswith(said) for said in FORESEEN[what] for item in items)
        }
        return Gone(dirt, course.happened, silent, items, course.told)

    return run


@pytest.mark.thorough
def test_what_a_tick_refuses_or_leaves_waiting_is_said_beforehand(go: Go) -> None:
    gone = [go(seed) for seed in range(4)]
    assert [one for one in gone if one.silent] == []
    assert sum(len(one.happened) for one in gone) > 3


@pytest.mark.load
def test_what_a_tick_refuses_or_leaves_waiting_is_said_beforehand_in_hundreds_of_worlds(
    go: Go, seed: int
) -> None:
    gone = [go(one) for one in range(seed, seed + 300)]
    assert [one for one in gone if one.silent] == []
    assert {what for one in gone for what in one.happened} == FORESEEN.keys()
