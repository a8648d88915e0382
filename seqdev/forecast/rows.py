"""The rows of a forecast: what the statements return, and what is published."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from seqdev.postgres.queries import Query


@dataclass(frozen=True)
class Sends:
    """A row of ``forecast/sends.sql``: a day of a device, or contacts that wait for a reason."""

    user_id: UUID
    device_id: UUID | None
    device_name: str | None
    reason: str | None
    contacts: int | None
    day: int | None
    sends: int | None
    moved: int | None
    queued: int | None
    room: int | None
    waiting: int | None
    held_until: int | None
    held_by: str | None


@dataclass(frozen=True)
class Inactive:
    """A row of ``forecast/inactive.sql``: contacts of sequences that are not active."""

    user_id: UUID
    device_id: UUID | None
    device_name: str | None
    contacts: int


@dataclass(frozen=True)
class Asked:
    """The row of ``forecast/settings.sql``."""

    settings: int


SENDS = Query("forecast/sends.sql", Sends)
INACTIVE = Query("forecast/inactive.sql", Inactive)
SETTINGS = Query("forecast/settings.sql", Asked)


@dataclass(frozen=True)
class Day:
    """A day of a device: 24 hours, the first of them from now."""

    device_id: UUID | None
    """The device; null: people whose device cannot send, whom another one takes."""
    device_name: str | None
    """Its name."""
    user_id: UUID
    """Its user."""
    day: int
    """The day, from 1."""
    begins: datetime
    """When it begins."""
    sends: int
    """Messages that ticks queue on the device that day."""
    moved: int
    """Of these: for people of other devices."""
    queued: int
    """Messages that wait in its queue already, and go out that day."""
    room: int | None
    """Messages that the device's limits allow on a day; null: its policy asks for none."""
    waiting: int
    """Contacts that wait at the end of the day because the device is full."""
    held_by: str | None
    """The limit for which contacts wait in most hours of the day, and whose rule it is; null: none."""


@dataclass(frozen=True)
class Ahead:
    """What is ahead of a device."""

    device_id: UUID | None
    """The device; null: people whose device cannot send, whom another one takes."""
    device_name: str | None
    """Its name."""
    user_id: UUID
    """Its user."""
    policy: str
    """The device policy of its user."""
    sends: int
    """Messages that ticks queue on it in all days."""
    moved: int
    """Of these: for people of other devices."""
    queued: int
    """Messages that wait in its queue already."""
    room: int | None
    """Messages that its limits allow on a day; null: its policy asks for none."""
    waiting: int
    """Contacts that still wait at the end of the last day because it is full."""
    drained_at: datetime | None
    """From when on nobody waits because it is full; null: nobody ever does, or some still do."""
    held_by: str | None
    """The limit for which contacts wait on most days, and whose rule it is; null: nobody waits."""
    helps: str | None
    """What lets its user's people wait least, of what was tried; null: nobody waits, or nothing helps."""


@dataclass(frozen=True)
class Standing:
    """Contacts that are not sent whatever time it is, until somebody does something."""

    reason: str
    """What they wait for: as in the table of reasons."""
    device_id: UUID | None
    """Their device, if they have one."""
    device_name: str | None
    """Its name."""
    user_id: UUID
    """The user of their sequence."""
    contacts: int
    """How many of them are due by the end of the last day."""


@dataclass(frozen=True)
class Change:
    """What one change would do for the people of a user, of whom some have to wait as things are."""

    user_id: UUID
    """The user."""
    change: str
    """as it is, or what was changed."""
    sends: int
    """Messages that ticks queue in all days."""
    waiting: int
    """Contacts that still wait at the end of the last day because a device is full."""
    drained_at: datetime | None
    """From when on nobody waits for that; null: nobody ever does, or some still do."""


@dataclass(frozen=True)
class Total:
    """All devices together."""

    begins: datetime
    """The instant of the forecast, from which days are counted."""
    ends: datetime
    """The end of the last day."""
    enrolled: int
    """People that it takes to be enrolled now, besides those who are."""
    sends: int
    """Messages that ticks queue in all days."""
    queued: int
    """Messages that wait in the queue already."""
    waiting: int
    """Contacts that still wait at the end because their device is full."""
    standing: int
    """Contacts that wait for another reason until somebody does something."""
    drained_at: datetime | None
    """From when on nobody waits because a device is full; null: nobody ever does, or some still do."""
    not_foretold: list[str]
    """Rules that are set, and that this leaves out: it is as if they were not."""
