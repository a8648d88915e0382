"""The rows of a forecast: what came of each device, and what is published."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True)
class Sends:
    """A day of a device, or contacts that wait for a reason, whatever time it is.

    ``held_until``: the first tick from which on nobody waits for a limit that day.
    """

    user_id: UUID
    device_id: UUID | None
    device_name: str | None
    reason: str | None = None
    contacts: int = 0
    day: int | None = None
    sends: int = 0
    moved: int = 0
    queued: int = 0
    room: int | None = None
    waiting: int = 0
    shut: int = 0
    held_until: int | None = None
    held_by: str | None = None


@dataclass(frozen=True)
class Day:
    """A day of a device: 24 hours, the first of them from now."""

    device_id: UUID | None
    """The device; null: people who have none, whom one takes."""
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
    """Messages that its limits allow on that day, while windows are open; null: its policy asks for none."""
    waiting: int
    """Contacts that wait at the end of the day because a limit of the device has held them back."""
    shut: int
    """Contacts that wait at its end for their window, or for the end of a pause or a grace."""
    held_by: str | None
    """The limit for which contacts wait in most hours of the day, and whose rule it is; null: none."""


@dataclass(frozen=True)
class Ahead:
    """What is ahead of a device."""

    device_id: UUID | None
    """The device; null: people who have none, whom one takes."""
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
    """Messages that its limits allow on the first day; null: its policy asks for none."""
    waiting: int
    """Contacts that still wait at the end of the last day because a limit has held them back."""
    shut: int
    """Contacts that wait at that time for their window, or for the end of a pause or a grace."""
    drained_at: datetime | None
    """From when on no limit holds anybody back; null: none ever does, or some contacts still wait."""
    held_by: str | None
    """The limit for which contacts wait on most days, and whose rule it is; null: nobody waits."""
    helps: str | None
    """What lets its user's people wait least, of what was tried; null: nobody waits, or nothing helps."""
    is_exact: bool
    """Whether its days are: false, where anything of ``inexact`` or ``not_foretold`` is about its user."""


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
class WhatIf:
    """What the changes that were asked for do to a device, together."""

    device_id: UUID | None
    """The device; null: one that was added, or people who have none."""
    device_name: str | None
    """Its name."""
    user_id: UUID
    """Its user."""
    sends_as_it_is: int
    """Messages that ticks queue on it in all days, as things are."""
    sends: int
    """The same with the changes."""
    waiting_as_it_is: int
    """Contacts that still wait at the end for one of its limits, as things are."""
    waiting: int
    """The same with the changes."""
    days_as_it_is: float | None
    """Days until no limit of it holds anybody back, as things are; null: more than were looked at."""
    days: float | None
    """The same with the changes."""
    fewer_days: float | None
    """By how many days that is sooner; null: not known, since it is further than was looked."""


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
    """Contacts that still wait at the end because a limit of their device has held them back."""
    shut: int
    """Contacts that wait at the end for their window, or for the end of a pause or a grace."""
    standing: int
    """Contacts that wait for another reason until somebody does something."""
    drained_at: datetime | None
    """From when on no limit holds anybody back; null: none ever does, or some contacts still wait."""
    inexact: list[str]
    """Where the forecast is not exact to the message, in words."""
    not_foretold: list[str]
    """What could change the numbers and cannot be foreseen, by the rule that makes it matter, in words."""
