"""The others who write to the same rows, and who watches them."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.world import citus
from tests.world.crowd import Crowd
from tests.world.host import Host

LOCKED = "" if citus.URL else "for update skip locked"
"""Citus locks no rows of several shards: there it is the update that finds out whether they are still to be had."""


class Application:
    """The host application, at work on the same rows: it sees how long it is made to wait."""

    def __init__(
        self, connection: "psycopg.Connection[Any]", crowd: Crowd, seed: int, flips: bool = True
    ) -> None:
        self._host = Host(connection)
        self._crowd = crowd
        self._rng = random.Random(seed + 1)
        self._flips = flips
        self._contacts = list(crowd.contacts.values())
        self._wanderers = [contact for contact in self._contacts if contact.wanders]
        self.longest = 0.0
        self.updates = 0

    def __call__(self, ended: threading.Event) -> None:
        rng, rows = self._rng, self._host.rows
        while not ended.wait(0.002):
            contact, device = rng.choice(self._contacts), rng.choice(self._crowd.devices)
            wanderer = rng.choice(self._wanderers or self._contacts)
            began = time.monotonic()
            match rng.randrange(5 if self._wanderers else 3):
                case 0:
                    rows(
                        "update user_devices set last_seen = now(), status = case when %s then %s else status end"
                        " where id = %s",
                        self._flips,
                        rng.choice(["online", "offline"]),
                        device,
                    )
                case 1:
                    rows("update leads set name = %s where id = %s", f"Name {rng.random()}", contact.lead)
                case 2:
                    rows(
                        "update sequence_contacts set contact_name = %s where id = %s",
                        f"Name {rng.random()}",
                        contact.id,
                    )
                case 3:
                    rows(
                        "update sequence_contacts set assigned_device_id = %s"
                        " where id = %s and status = 'active' and assigned_device_id is not null",
                        rng.choice(sorted(wanderer.devices)),
                        wanderer.id,
                    )
                case 4:
                    rows(
                        "update leads set device_id = %s where id = %s",
                        rng.choice(sorted(wanderer.devices)),
                        wanderer.lead,
                    )
            self.longest = max(self.longest, time.monotonic() - began)
            self.updates += 1


def foreign_processor(connection: "psycopg.Connection[Any]", seed: int) -> Callable[[threading.Event], None]:
    """Another processor, which claims a few contacts under row locks and makes them its own."""
    rng, host = random.Random(seed + 2), Host(connection)

    def loop(ended: threading.Event) -> None:
        while not ended.wait(0.02):
            with connection.transaction():
                contacts = host.rows(
                    "select id from sequence_contacts where status = 'active'"
                    f" order by md5(id::text || %s) limit 3 {LOCKED}",
                    str(rng.random()),
                )
                time.sleep(rng.uniform(0, 0.03))
                host.rows(
                    "update sequence_contacts set status = 'taken' where id = any(%s) and status = 'active'",
                    [row.id for row in contacts],
                )

    return loop


def breaker(
    connection: "psycopg.Connection[Any]", seed: int, breaks: int
) -> Callable[[threading.Event], None]:
    """An administrator who ends the sessions of ticks, whatever they are doing."""
    rng, host = random.Random(seed + 3), Host(connection)

    def loop(ended: threading.Event) -> None:
        left = breaks
        while left and not ended.wait(rng.uniform(0.05, 0.2)):
            left -= len(
                host.rows(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
                    " and application_name ~ '^seqdev tick' and state <> 'idle' order by random() limit 1"
                )
            )

    return loop


IN_FLIGHT = "m.status in ('pending', 'queued', 'processing') and m.scheduled_at <= now() at time zone 'UTC'"
SENT_WITHIN = "m.status = 'sent' and m.sent_at > now() at time zone 'UTC' - interval '%s'"
LOAD = f"""
    select d.id, d.status,
        count(*) filter (where {IN_FLIGHT}) as flying,
        count(*) filter (where {IN_FLIGHT} or {SENT_WITHIN % "60 minutes"}) as hour,
        count(*) filter (where {IN_FLIGHT} or {SENT_WITHIN % "24 hours"}) as day
    from user_devices as d left join broadcast_messages as m on m.device_id = d.id
    group by d.id
"""


@dataclass(frozen=True)
class Capacity:
    """The limits of a device, and how to make them the rule."""

    flying: int = 50
    hour: int = 80
    day: int = 800

    def rule(self, host: Host) -> None:
        host.rule("max_in_flight", self.flying)
        host.rule("max_per_hour", self.hour)
        host.rule("max_per_day", self.day)

    def exceeded(self, host: Host) -> list[Any]:
        """The devices over a limit, at this moment."""
        return [
            load
            for load in host.rows(LOAD)
            if load.flying > self.flying or load.hour > self.hour or load.day > self.day
        ]

    def room(self, load: Any) -> int:
        return int(min(self.flying - load.flying, self.hour - load.hour, self.day - load.day))


class Watcher:
    """Looks at every device all the time, and keeps what it saw over a limit."""

    def __init__(self, connection: "psycopg.Connection[Any]", capacity: Capacity) -> None:
        self._host = Host(connection)
        self._capacity = capacity
        self.seen: list[Any] = []
        self.looks = 0

    def __call__(self, ended: threading.Event) -> None:
        while True:
            last = ended.is_set()
            self.seen += self._capacity.exceeded(self._host)
            self.looks += 1
            if last:
                return
            ended.wait(0.005)


def broadcast_worker(
    connection: "psycopg.Connection[Any]", seed: int, some: int
) -> Callable[[threading.Event], None]:
    """Sends what is in the queue: some just now, some an hour ago, some a day ago, as time would have it."""
    rng, host = random.Random(seed + 4), Host(connection)

    def loop(ended: threading.Event) -> None:
        while not ended.wait(0.02):
            host.rows(
                "update broadcast_messages set status = 'sent', sent_at = now() at time zone 'UTC' - %s::interval"
                " where id in (select id from broadcast_messages where status in ('pending', 'processing')"
                " order by random() limit %s)",
                rng.choice(["0", "0", "61 minutes", "25 hours"]),
                some,
            )
            host.rows(
                "update broadcast_messages set status = 'processing' where id in (select id from broadcast_messages"
                " where status = 'pending' order by random() limit %s)",
                some,
            )

    return loop
