"""What is foretold comes: forecasts of random worlds, and then their days lived through."""

import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from seqdev.cli import main
from seqdev.demo.demo import _prepare
from seqdev.demo.stage import TROUBLE, Stage
from seqdev.output.render import Format, Writer
from seqdev.postgres.engine import Database
from seqdev.settings import Settings, parse_duration
from tests.world import hours
from tests.world.command import Cli
from tests.world.future import Days, live
from tests.world.host import Host

STATUSES = ("online", "online", "online", "offline", "banned")


HOUR = timedelta(hours=1)
ZONES = ("UTC", "Asia/Kuala_Lumpur", "Pacific/Honolulu", "recipient")
"""Without summer time, and whole hours from UTC."""
PREFIXES = ("6012", "6012", "1808", "8190", "0019")
"""Of phones; the last one is nobody's."""


def foretold(seqdev: Cli, days: int, every: str = "1h") -> tuple[Days, Any]:
    """The messages by device and day, and the whole forecast."""
    ran = seqdev("forecast", "--format", "json", "--days", str(days), "--every", every, "--quick")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    return +Counter(
        {(UUID(day["device_id"]), day["day"]): day["sends"] for day in found["days"] if day["device_id"]}
    ), found


class World:
    """Two users, of whom one may have a policy of its own, with devices, limits, sequences, people everywhere in them.

    All that happens does between two ticks, which come ``every`` so often.
    """

    def __init__(
        self, host: Host, seed: int, policies: tuple[str, ...], every: timedelta = HOUR, ruled: bool = False
    ) -> None:
        self.host = host
        self.rng = random.Random(seed)
        self.people = 0
        self.every = every
        self.ruled = ruled
        host.rule("policy", self.rng.choice(policies))
        for name, most in (("max_in_flight", 9), ("max_per_hour", 12), ("max_per_day", 40)):
            host.rule(name, self.rng.randint(1, most))
        if ruled:
            self.limits()
            self.hours()
        for _ in range(2):
            self.user(policies)

    def at(self, least: int, most: int) -> timedelta:
        """Between two ticks, so many hours from now."""
        ticks = HOUR // self.every
        return (self.rng.randint(least * ticks, most * ticks) + 0.5) * self.every

    def limits(self, **whose: UUID) -> None:
        """Those that not everybody has, for all or for somebody."""
        rng = self.rng
        if rng.random() < 0.5:
            self.host.rule("warm_up", rng.choice(["1 +1", "2 +3", "3 +0", "0 +2", "none"]), **whose)
        if rng.random() < 0.5:
            self.host.rule("new_chats_per_day", rng.choice([0, 1, 2, 4, "none"]), **whose)

    def hours(self, **whose: UUID) -> None:
        """A window, whose ranges begin and end between two ticks, and its zone, for all or for somebody."""
        rng = self.rng
        if rng.random() < 0.6:
            now = datetime.now(UTC)
            ranges = []
            for day in rng.sample(hours.DAYS, rng.randint(3, 7)):
                opens = now + self.at(0, 23)
                ranges.append(f"{day} {opens:%H:%M}-{opens + rng.randint(1, 20) * self.every:%H:%M}")
            self.host.rule("window", ", ".join(ranges), **whose)
        if rng.random() < 0.6:
            self.host.rule("zone", rng.choice(ZONES), **whose)

    def pause(self, **whose: UUID) -> None:
        """For a while, or until somebody resumes it."""
        ends = datetime.now(UTC) + self.at(0, 60)
        value = self.rng.choice([f"until {ends:%Y-%m-%dT%H:%M:%SZ}: a look"] * 3 + ["a look"])
        self.host.rule("paused", value, **whose)

    def user(self, policies: tuple[str, ...]) -> None:
        rng, host = self.rng, self.host
        user = host.user()
        if rng.random() < 0.4:
            host.rule("policy", rng.choice(policies), user=user)
        devices = [host.device(user, status=rng.choice(STATUSES)) for _ in range(rng.randint(1, 3))]
        for device in devices:
            if rng.random() < 0.3:
                host.rule("max_per_day", rng.randint(1, 30), device=device)
            self.messages(user, device, 30)
            if self.ruled:
                if rng.random() < 0.3:
                    self.limits(device=device)
                self.messages(user, device, rng.choice([30, 8 * 24, 20 * 24]))
                if rng.random() < 0.2:
                    self.pause(device=device)
                if rng.random() < 0.5:
                    host.rows(
                        "update user_devices set last_seen = (now() - %s) at time zone 'UTC' where id = %s",
                        *(self.at(0, 30), device),
                    )
        if self.ruled:
            if rng.random() < 0.3:
                self.limits(user=user)
            if rng.random() < 0.5:
                self.hours(user=user)
            if rng.random() < 0.4:
                host.rule("grace", rng.choice(["12h", "1d", "2d"]), user=user)
            if rng.random() < 0.1:
                self.pause(user=user)
        for number in range(rng.randint(1, 2)):
            self.sequence(user, devices, f"S{number}")

    def messages(self, user: UUID, device: UUID, oldest: int) -> None:
        """Sent, no more than so many hours ago; where there are rules, also queued for later, or refused."""
        rng = self.rng
        for _ in range(rng.randint(0, 8)):
            kind = rng.choice(["sent"] * 8 + ["later", "refused"]) if self.ruled else "sent"
            at = self.at(0, 40) if kind == "later" else -self.at(0, 30 if kind == "refused" else oldest)
            self.host.rows(
                "insert into broadcast_messages (user_id, device_id, recipient_phone, recipient_name, message_type,"
                " content, media_url, status, sent_at, scheduled_at, created_at, error_message, sequence_stepid)"
                " select %s, %s, %s, '', 'text', '', '', %s, case when %s then at end, at,"
                " least(at, now() at time zone 'UTC' - interval '1 hour'), %s, %s"
                " from (values ((now() + %s) at time zone 'UTC')) as x (at)",
                *(user, device, self.phone(rng.randint(1, 60)) if self.ruled else "6019"),
                {"sent": "sent", "later": "pending", "refused": "failed"}[kind],
                *(kind == "sent", "error 463" if kind == "refused" else None),
                *(uuid4() if kind == "refused" else None, at),
            )

    def phone(self, number: int) -> str:
        return f"{PREFIXES[number % len(PREFIXES)] if self.ruled else '6012'}{number:07}"

    def sequence(self, user: UUID, devices: list[UUID], name: str) -> None:
        rng, host = self.rng, self.host
        status = rng.choice(["active"] * 5 + ["paused"])
        sequence = host.sequence(user, status=status, trigger=name)
        if self.ruled:
            if rng.random() < 0.4:
                self.hours(sequence=sequence)
            if rng.random() < 0.15:
                self.pause(sequence=sequence)
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
            # Some people are in several sequences.
            again = self.ruled and name != "S0" and rng.random() < 0.4
            phone = self.phone(rng.randint(1, self.people) if again else self.people)
            where = rng.choice(["assigned"] * 8 + ["lead", "nowhere"])
            if again and host.rows(
                "select 1 from sequence_contacts where (sequence_id, contact_phone) = (%s, %s)",
                sequence,
                phone,
            ):
                continue
            host.contact(
                sequence,
                # Who goes round in a circle has begun where people enter.
                steps[0] if ends == name else rng.choice([steps[0], rng.choice(steps)]),
                phone,
                rng.choice(devices) if where == "assigned" else None,
                self.at(-30, 80),
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
                due_in = self.at(-9, 40) + number * 24 * HOUR
                self.host.contact(sequence, step, phone, None, due_in, lead=False, status="pending")

    def delay(self) -> int | None:
        return self.rng.choice([24, 24, 24, 36, 48, 1, 5, 0, None])


@pytest.mark.thorough
@pytest.mark.parametrize("policies", [("queue", "strict"), ("queue",), ("strict",)], ids="/".join)
def test_each_device_sends_on_each_day_what_was_foretold(
    host: Host, seqdev: Cli, seed: int, policies: tuple[str, ...]
) -> None:
    World(host, seed, policies)
    days = 2
    expected, _ = foretold(seqdev, days)
    assert live(host, seqdev, days) == expected


@pytest.mark.thorough
@pytest.mark.parametrize("policy", ["strict", "queue"])
@pytest.mark.parametrize("every", ["1h", "30m"])
def test_under_every_rule_each_device_sends_what_was_foretold(
    host: Host, seqdev: Cli, seed: int, policy: str, every: str
) -> None:
    World(host, seed, (policy, "strict"), parse_duration(every), ruled=True)
    days = 3
    expected, _ = foretold(seqdev, days, every)
    assert live(host, seqdev, days, parse_duration(every)) == expected


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


@pytest.mark.thorough
@pytest.mark.parametrize("grace", ["0s", "3h", "1d"])
def test_where_people_come_home_each_user_sends_what_was_foretold(
    host: Host, seqdev: Cli, seed: int, grace: str
) -> None:
    World(host, seed, ("reassign",))
    host.rule("return_home", "true")
    host.rule("grace", grace)
    days = 3
    expected, _ = foretold(seqdev, days)
    assert by_user(host, live(host, seqdev, days)) == by_user(host, expected)


@pytest.mark.thorough
def test_what_is_laid_out_is_foretold_to_a_few_messages(host: Host, seqdev: Cli, seed: int) -> None:
    World(host, seed, ("strict",))
    host.rule("spread", "true")
    days = 2
    expected, found = foretold(seqdev, days)
    made = live(host, seqdev, days)
    until = Counter({key: sum(made[key[0], day] for day in range(1, key[1] + 1)) for key in made})
    for (device, day), messages in until.items():
        told = sum(expected[device, earlier] for earlier in range(1, day + 1))
        assert abs(told - messages) <= 2, (device, day, told, messages)
    assert all(not one["is_exact"] for one in found["devices"] if one["sends"])
