"""A service that moves: it is ticked, its messages are sent and fail, devices are banned and come back."""

import random
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import psycopg
from psycopg.rows import namedtuple_row

from tests.world.command import ROOT, command
from tests.world.host import Host

PEOPLE = 20
"""Who become due on each device in a round."""
AWAY = "away"
"""A device that is offline all the time: its people wait for it."""


@dataclass
class Moving:
    """What was done to the service so far."""

    devices: list[UUID]
    rounds: int = 0
    bans: int = 0
    codes: list[int] = field(default_factory=list)
    """Exit codes of the ticks."""


class _Driver:
    """Everything that befalls the service, round after round, in a thread and a session of its own."""

    def __init__(self, url: str, moving: Moving, sequence: UUID, step: UUID) -> None:
        self._moving = moving
        self._at = sequence, step
        self._rng = random.Random(7)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._drive, args=(url,))
        self._failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        if self._failure:
            raise self._failure

    def _drive(self, url: str) -> None:
        try:
            with psycopg.connect(url, autocommit=True, row_factory=namedtuple_row) as connection:
                while not self._stopped.wait(2):
                    self._round(Host(connection))
        except BaseException as error:  # the test's own thread raises it
            self._failure = error

    def _round(self, host: Host) -> None:
        moving, (sequence, step) = self._moving, self._at
        moving.rounds += 1
        host.rows(
            "insert into sequence_contacts"
            " (sequence_id, sequence_stepid, contact_phone, assigned_device_id, status, next_trigger_time)"
            " select %s, %s, (%s + n)::text, d, 'active', now() at time zone 'UTC' - interval '1 minute'"
            " from unnest(%s::uuid[]) with ordinality as device (d, place),"
            " generate_series(place * 1000, place * 1000 + %s - 1) as n",
            *(sequence, step, 601_200_000_000 + moving.rounds * 100_000, moving.devices, PEOPLE),
        )
        host.make_leads()
        device = self._rng.choice(moving.devices[1:])
        if moving.rounds % 3 == 2:
            host.rows("update user_devices set status = 'banned' where id = %s", device)
            moving.bans += 1
        elif moving.rounds % 3 == 1:
            host.rows("update user_devices set status = 'online' where id = any(%s)", moving.devices)
        moving.codes.append(subprocess.run(command("tick"), cwd=ROOT, capture_output=True).returncode)
        host.rows(
            "update broadcast_messages set status = case when random() < 0.1 then 'failed' else 'sent' end,"
            " error_message = 'the other side hung up', sent_at = now() at time zone 'UTC'"
            " where status = 'pending' and random() < 0.7"
        )
        # What was sent long ago makes room for more.
        host.rows(
            "update broadcast_messages set sent_at = sent_at - interval '2 hours'"
            " where status = 'sent' and sent_at < now() at time zone 'UTC' - interval '3 minutes'"
        )


@contextmanager
def moving(host: Host, devices: int) -> Iterator[Moving]:
    """A service of so many devices that moves until the end of the block. The first device is never banned."""
    user = host.user()
    own = [host.device(user, f"device-{number:02}") for number in range(devices)]
    sequence, (step, _) = host.simple_sequence(user, steps=2)
    for number, device in enumerate(own):
        host.contact(sequence, step, f"60119{number:07}", device, timedelta(minutes=-5))
    other = host.user()
    away = host.device(other, AWAY, "offline")
    host.rule("policy", "strict", user=other)
    long, (only,) = host.simple_sequence(other, "LONG")
    for number in range(3):
        host.contact(long, only, f"60118{number:07}", away, timedelta(minutes=-50))
    host.make_leads()
    host.rule("policy", "fallback")
    for rule in ("max_in_flight", "max_per_hour", "max_per_day"):
        host.rule(rule, 100_000)
    found = Moving(own)
    driver = _Driver(host.url, found, sequence, step)
    driver.start()
    try:
        yield found
    finally:
        driver.stop()
