"""What is foretold comes: forecasts of random worlds, and then their days lived through."""

import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from seqdev.cli import main
from seqdev.demo.demo import _prepare
from seqdev.demo.stage import TROUBLE, Stage
from seqdev.output.render import Format, Writer
from seqdev.postgres.engine import Database
from seqdev.settings import Settings
from tests.world.command import Cli
from tests.world.future import Days, live
from tests.world.host import Host

STATUSES = ("online", "online", "online", "offline", "banned")


def foretold(seqdev: Cli, days: int, *options: str) -> tuple[Days, Any]:
    """The messages by device and day, and the whole forecast."""
    ran = seqdev("forecast", "--format", "json", "--days", str(days), "--every", "1h", *options)
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    return +Counter(
        {(UUID(day["device_id"]), day["day"]): day["sends"] for day in found["days"] if day["device_id"]}
    ), found


class World:
    """Two users, of whom one may have a policy of its own, with devices, limits, sequences, people everywhere in them."""

    def __init__(self, host: Host, seed: int, policies: tuple[str, ...]) -> None:
        self.host = host
        self.rng = random.Random(seed)
        self.people = 0
        host.rule("policy", self.rng.choice(policies))
        for name, most in (("max_in_flight", 9), ("max_per_hour", 12), ("max_per_day", 40)):
            host.rule(name, self.rng.randint(1, most))
        for _ in range(2):
            self.user(policies)

    def user(self, policies: tuple[str, ...]) -> None:
        rng, host = self.rng, self.host
        user = host.user()
        if rng.random() < 0.4:
            host.rule("policy", rng.choice(policies), user=user)
        devices = [host.device(user, status=rng.choice(STATUSES)) for _ in range(rng.randint(1, 3))]
        for device in devices:
            if rng.random() < 0.3:
                host.rule("max_per_day", rng.randint(1, 30), device=device)
            self.messages(user, device)
        for number in range(rng.randint(1, 2)):
            self.sequence(user, devices, f"S{number}")

    def messages(self, user: UUID, device: UUID) -> None:
        for _ in range(self.rng.randint(0, 8)):
            age = timedelta(hours=self.rng.randint(0, 30), minutes=30)
            self.host.rows(
                "insert into broadcast_messages (user_id, device_id, recipient_phone, recipient_name, message_type,"
                " content, media_url, status, sent_at, scheduled_at, created_at) select %s, %s, '6019', '', 'text',"
                " '', '', 'sent', at, at, at from (values ((now() - %s) at time zone 'UTC')) as past (at)",
                *(user, device, age),
            )

    def sequence(self, user: UUID, devices: list[UUID], name: str) -> None:
        rng, host = self.rng, self.host
        status = rng.choice(["active"] * 5 + ["paused"])
        sequence = host.sequence(user, status=status, trigger=name)
        count = rng.randint(1, 4)
        names = [name, *(f"{name} {number}" for number in range(2, count + 1))]
        ends = rng.choice(["", name, "nowhere"])
        steps = [
            host.step(
                sequence,
                number + 1,
                trigger,
                names[number + 1] if number + 1 < count else ends,
                trigger_delay_hours=self.delay(),
                content=rng.choice(["words"] * 9 + [""]),
            )
            for number, trigger in enumerate(names)
        ]
        for _ in range(rng.randint(0, 40)):
            self.people += 1
            phone = f"6012{self.people:07}"
            where = rng.choice(["assigned"] * 8 + ["lead", "nowhere"])
            host.contact(
                sequence,
                # Who goes round in a circle has begun where people enter.
                steps[0] if ends == name else rng.choice([steps[0], rng.choice(steps)]),
                phone,
                rng.choice(devices) if where == "assigned" else None,
                timedelta(hours=rng.randint(-30, 80), minutes=30),
                lead=rng.random() < 0.9,
            )
            if rng.random() < 0.2:
                self.rows_ahead(sequence, steps, phone)
            if where == "lead":
                host.rows("update leads set device_id = %s where phone = %s", rng.choice(devices), phone)

    def rows_ahead(self, sequence: UUID, steps: list[UUID], phone: str) -> None:
        """As hosts make them beforehand, with times of their own."""
        for number, step in enumerate(steps):
            if not self.host.rows(
                "select 1 from sequence_contacts where (sequence_id, contact_phone, sequence_stepid) = (%s, %s, %s)",
                *(sequence, phone, step),
            ):
                due_in = timedelta(hours=self.rng.randint(-9, 40) + 24 * number, minutes=30)
                self.host.contact(sequence, step, phone, None, due_in, lead=False, status="pending")

    def delay(self) -> int | None:
        return self.rng.choice([24, 24, 24, 36, 48, 1, 5, 0, None])


@pytest.mark.cases(1)
@pytest.mark.parametrize("policies", [("queue", "strict"), ("queue",), ("strict",)], ids="/".join)
def test_each_device_sends_on_each_day_what_was_foretold(
    host: Host, seqdev: Cli, seed: int, policies: tuple[str, ...]
) -> None:
    World(host, seed, policies)
    days = 2
    expected, _ = foretold(seqdev, days)
    assert live(host, seqdev, days) == expected


@pytest.fixture
def demo(
    empty_database: str, connect: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Host:
    """The demo's world when everybody is enrolled, two devices are offline, and one has a campaign to send."""
    monkeypatch.chdir(tmp_path)
    database = Database(Settings(database_url=empty_database), "demo", print)
    stage = Stage(main, database, Writer(Format.TABLE, out=StringIO()), chapters=11)
    _prepare(stage)
    stage.play(TROUBLE, offline=["alice-3", "bob-2"], full="alice-5", most=50)
    database.close()
    return Host(connect(empty_database))


@pytest.mark.thorough
@pytest.mark.parametrize("policy", ["queue", "strict"])
def test_the_demos_world_goes_as_foretold(demo: Host, seqdev: Cli, policy: str) -> None:
    demo.rule("policy", policy)
    days = 3
    expected, found = foretold(seqdev, days)
    assert found["total"]["sends"] > 5000
    assert live(demo, seqdev, days) == expected


def by_user(host: Host, days: Days) -> Days:
    users = {row.id: row.user_id for row in host.rows("select id, user_id from user_devices")}
    found: Days = Counter()
    for (device, day), messages in days.items():
        found[users[device], day] += messages
    return found


@pytest.mark.thorough
@pytest.mark.parametrize("policy", ["fallback", "reassign"])
def test_where_people_are_moved_each_user_sends_what_was_foretold(
    host: Host, seqdev: Cli, seed: int, policy: str
) -> None:
    World(host, seed, (policy, "strict"))
    days = 2
    expected, _ = foretold(seqdev, days)
    assert by_user(host, live(host, seqdev, days)) == by_user(host, expected)
