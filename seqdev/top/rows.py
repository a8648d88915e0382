"""The rows of the page, and the files below ``sql/top/`` that they come from."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from seqdev.output.text import Phone
from seqdev.postgres.queries import Query


@dataclass(frozen=True)
class Device:
    """A row of ``top/devices.sql``: a device, its work and its limits."""

    device: str
    device_id: UUID
    status: str
    state: str
    due: int
    in_flight: int
    most_in_flight: int
    sent_hour: int
    most_hour: int
    sent_day: int
    most_day: int
    oldest_due: datetime | None
    drain: timedelta | None
    pause: str | None
    user_id: UUID


@dataclass(frozen=True)
class Minute:
    """A row of ``top/minutes.sql``: a minute of the last 60."""

    ago: int
    ticks: int
    broken: int
    sent: int
    failed: int


@dataclass(frozen=True)
class Last:
    """The row of ``top/last.sql``: the last tick that has come to an end."""

    database: str
    ended: datetime | None
    host: str | None
    exit_code: int | None
    reason: str | None
    waiting: dict[str, Any] | None


@dataclass(frozen=True)
class Person:
    """A row of ``top/people.sql``: somebody who is due."""

    phone: Phone
    sequence: str
    step: int | None
    due: datetime | None
    reason: str | None
    user_id: UUID


DEVICES = Query("top/devices.sql", Device)
MINUTES = Query("top/minutes.sql", Minute)
LAST = Query("top/last.sql", Last)
PEOPLE = Query("top/people.sql", Person)
