"""Looking ahead: what every device will have to send by day, and what would change it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

from seqdev import gates
from seqdev.errors import UsageError
from seqdev.forecast.ask import LIMITS, Asking, Group, Otherwise, Span
from seqdev.forecast.rows import INACTIVE, SETTINGS, Ahead, Change, Day, Sends, Standing, Total, WhatIf
from seqdev.postgres import lookup
from seqdev.postgres.engine import Database
from seqdev.postgres.transaction import Transaction
from seqdev.settings import Policy

AS_IT_IS = "as it is"

NOT_FORETOLD = ("spread", "return_home", "stop_on_reply", "reenrol_after")
"""Rules that a forecast leaves out: who will write back cannot be known, nor whom somebody will enrol."""

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Question:
    """What is asked, as people type it.

    ``every``: the time from tick to tick. ``enroll``: people enrolled now, by sequence. ``otherwise``: what
    is taken to be otherwise. ``changes``: whether to try what would help.
    """

    days: int = 14
    every: timedelta = timedelta(minutes=1)
    user: str | None = None
    device: str | None = None
    enroll: Mapping[str, int] = field(default_factory=dict)
    otherwise: Otherwise = field(default_factory=Otherwise)
    changes: bool = True


@dataclass(frozen=True)
class Forecast:
    """What is ahead."""

    days: Sequence[Day]
    devices: Sequence[Ahead]
    standing: Sequence[Standing]
    changes: Sequence[Change]
    total: Total
    what_if: Sequence[WhatIf] = ()
    """What the changes that were asked for do; nothing, where none were."""


def forecast(database: Database, question: Question) -> Forecast:
    """What is ahead, read-only. Raises UsageError and NotFound for what cannot be looked at."""
    return database.retry(lambda tx: _Look(tx, question).forecast(), read_only=True)


class _Look:
    """A forecast being made, in one transaction."""

    def __init__(self, tx: Transaction, question: Question) -> None:
        self._tx = tx
        self._days = question.days
        self._asks_changes = question.changes
        # In UTC: days of 24 hours, whatever the wall clock does.
        self._now = tx.now.astimezone(UTC)
        user = (
            lookup.resolve(tx, lookup.Kind.USER, question.user, beginning=True)
            if question.user is not None
            else None
        )
        device = (
            lookup.find(tx, lookup.Kind.DEVICE, question.device, user, beginning=True)
            if question.device is not None
            else None
        )
        self._user = device.user_id if device else user
        self._device = device.id if device else None
        settings = tx.settings
        self._groups = [
            Group(own, gates.steps(tx, own)) for own in map(settings.of, settings.policies_in_use)
        ]
        self._plain = gates.steps(tx, settings)
        tx.one(SETTINGS)
        enroll = self._enrolled(question.enroll)
        self._otherwise = question.otherwise
        self._asking = Asking(tx, Span(24 * question.days, question.every, enroll), self._user)
        self._people = sum(enroll.values())

    def forecast(self) -> Forecast:
        for group in self._groups:
            group.rows = self._asking.sends(group, group.settings.policy, self._otherwise)
        changes = self._changes() if self._asks_changes else []
        helps = _best(changes)
        devices = [
            self._ahead(rows, group.settings.policy, helps)
            for group in self._groups
            for rows in _by_device(group.rows)
            if self._is_asked(rows[0].device_id)
        ]
        devices.sort(
            key=lambda one: (
                -one.waiting,
                -(one.sends + one.queued),
                one.device_name or "",
                str(one.device_id),
            )
        )
        place = {one.device_id: number for number, one in enumerate(devices)}
        days = [
            day
            for group in self._groups
            for rows in _by_device(group.rows)
            if self._is_asked(rows[0].device_id)
            for day in self._every_day(rows)
        ]
        days.sort(key=lambda day: (place[day.device_id], day.day))
        standing = self._standing()
        return Forecast(days, devices, standing, changes, self._total(devices, standing))

    def _enrolled(self, asked: Mapping[str, int]) -> dict[UUID, int]:
        people = Counter[UUID]()
        for text, number in asked.items():
            sequence = lookup.find(self._tx, lookup.Kind.SEQUENCE, text, self._user, beginning=True)
            people[sequence.id] += number
            # An array in the server's own words: of ids, it has nothing to unescape.
            active = self._plain["active_sequences"].strip("{}").split(",")
            if str(sequence.id) not in active:
                raise UsageError(
                    f"nobody can be enrolled in {text!r}: the sequence is not active",
                    "see seqdev audit sequences",
                )
        return dict(people)

    def _is_asked(self, device: UUID | None) -> bool:
        return self._device in (None, device)

    def _at(self, hours: int | None) -> datetime | None:
        return None if hours is None else self._now + timedelta(hours=hours)

    def _every_day(self, rows: Sequence[Sends]) -> Iterable[Day]:
        by_day = {row.day: row for row in rows}
        first = rows[0]
        for day in range(1, self._days + 1):
            row = by_day.get(day)
            yield Day(
                device_id=first.device_id,
                device_name=first.device_name,
                user_id=first.user_id,
                day=day,
                begins=self._now + (day - 1) * _DAY,
                sends=row.sends or 0 if row else 0,
                moved=row.moved or 0 if row else 0,
                queued=row.queued or 0 if row else 0,
                room=row.room if row else first.room,
                waiting=row.waiting or 0 if row else 0,
                shut=row.shut or 0 if row else 0,
                held_by=row.held_by if row else None,
            )

    def _ahead(self, rows: Sequence[Sends], policy: Policy, helps: Mapping[UUID, str]) -> Ahead:
        first = rows[0]
        held = Counter(row.held_by for row in rows if row.held_by).most_common(1)
        waiting, drained_at = self._drained(rows)
        return Ahead(
            device_id=first.device_id,
            device_name=first.device_name,
            user_id=first.user_id,
            policy=policy.value,
            sends=sum(row.sends or 0 for row in rows),
            moved=sum(row.moved or 0 for row in rows),
            queued=sum(row.queued or 0 for row in rows),
            room=first.room,
            waiting=waiting,
            shut=sum(row.shut or 0 for row in rows if row.day == self._days),
            drained_at=drained_at,
            held_by=held[0][0] if held else None,
            helps=helps.get(first.user_id) if held else None,
            is_exact=first.user_id not in self._moving,
        )

    def _drained(self, rows: Iterable[Sends]) -> tuple[int, datetime | None]:
        """Who still waits at the end, and from when on nobody does."""
        waiting = until = 0
        for row in rows:
            until = max(until, row.held_until or 0)
            waiting += (row.waiting or 0) if row.day == self._days else 0
        return waiting, self._at(until) if until and not waiting else None

    def _standing(self) -> list[Standing]:
        found = [
            Standing(row.reason, row.device_id, row.device_name, row.user_id, row.contacts or 0)
            for group in self._groups
            for row in group.rows
            if row.reason is not None
        ]
        given = {"now": self._tx.now, "hours": 24 * self._days}
        found += [
            Standing("sequence_inactive", row.device_id, row.device_name, row.user_id, row.contacts)
            for row in self._tx.rows(
                INACTIVE, **given, user=self._user, **gates.handed_to(INACTIVE, self._plain)
            )
        ]
        asked = [one for one in found if self._is_asked(one.device_id)]
        return sorted(asked, key=lambda one: (-one.contacts, one.reason, str(one.device_id)))

    @cached_property
    def _moving(self) -> set[UUID]:
        """Users of whom people are moved: each device has a share of what all of them send."""
        return {row.user_id for group in self._groups for row in group.rows if row.moved}

    def _changes(self) -> list[Change]:
        """What would become of the users of whom somebody waits, as things are and with one thing changed."""
        found: list[Change] = []
        for group in self._groups:
            held_by: dict[UUID, set[str]] = defaultdict(set)
            for row in group.rows:
                if row.held_until:
                    held_by[row.user_id].add((row.held_by or "").partition(" ")[0])
            if not held_by:
                continue
            found += self._told(AS_IT_IS, [row for row in group.rows if row.user_id in held_by])
            policy = group.settings.policy
            moving = policy if policy.moves else Policy.FALLBACK
            also = "" if policy.moves else f"policy {moving.value}, "
            if not policy.moves:
                found += self._tried(f"policy {moving.value}", group, held_by, policy=moving)
            found += self._tried(f"{also}one more device", group, held_by, policy=moving, one_more=True)
            if self._otherwise.window is None and self._asking.has_windows:
                found += self._tried("no window", group, held_by, window="")
            for limit in LIMITS:
                users = [user for user, limits in held_by.items() if limit in limits]
                if users:
                    found += self._tried(f"{limit} doubled", group, users, doubled=limit)
        return sorted(found, key=lambda one: str(one.user_id))

    def _tried(
        self, change: str, group: Group, users: Iterable[UUID], policy: Policy | None = None, **changed: Any
    ) -> Iterable[Change]:
        otherwise = replace(self._otherwise, **changed)
        policy = policy or group.settings.policy
        return self._told(change, self._asking.sends(group, policy, otherwise, users))

    def _told(self, change: str, rows: Iterable[Sends]) -> Iterable[Change]:
        by_user: dict[UUID, list[Sends]] = defaultdict(list)
        for row in rows:
            if row.day:
                by_user[row.user_id].append(row)
        for user, own in by_user.items():
            waiting, drained_at = self._drained(own)
            yield Change(user, change, sum(row.sends or 0 for row in own), waiting, drained_at)

    def _total(self, devices: Sequence[Ahead], standing: Sequence[Standing]) -> Total:
        waiting = sum(one.waiting for one in devices)
        drained = [one.drained_at for one in devices if one.drained_at]
        return Total(
            begins=self._now,
            ends=self._now + self._days * _DAY,
            enrolled=self._people,
            sends=sum(one.sends for one in devices),
            queued=sum(one.queued for one in devices),
            waiting=waiting,
            shut=sum(one.shut for one in devices),
            standing=sum(one.contacts for one in standing),
            drained_at=max(drained) if drained and not waiting else None,
            inexact=list(self._inexact()),
            not_foretold=[name for name in NOT_FORETOLD if self._tx.settings.rules_on(name)],
        )

    def _inexact(self) -> Iterator[str]:
        settings = self._tx.settings
        if self._moving:
            yield "each device, where people are moved: all of a user's devices together are exact"
        if self._asking.is_rounded:
            yield "windows and pauses begin and end at the next five minutes"
        if settings.max_lateness:
            yield "max_lateness counts in hours"


def compared(found: Forecast, as_it_is: Forecast) -> Forecast:
    """``found``, which takes something to be otherwise, with what that does to each device."""
    was = {(one.user_id, one.device_id): one for one in as_it_is.devices}
    now = {(one.user_id, one.device_id): one for one in found.devices}
    changed = []
    for key, known in (was | now).items():
        old, new = was.get(key), now.get(key)
        days_before, days = _days(old, as_it_is.total), _days(new, found.total)
        changed.append(
            WhatIf(
                device_id=known.device_id,
                device_name=known.device_name,
                user_id=known.user_id,
                sends_as_it_is=old.sends if old else 0,
                sends=new.sends if new else 0,
                waiting_as_it_is=old.waiting if old else 0,
                waiting=new.waiting if new else 0,
                days_as_it_is=days_before,
                days=days,
                fewer_days=None if days is None or days_before is None else round(days_before - days, 2),
            )
        )
    changed.sort(key=lambda one: (-(one.fewer_days or 0), -one.waiting_as_it_is, one.device_name or ""))
    return replace(found, what_if=changed)


def _days(one: Ahead | None, total: Total) -> float | None:
    """Days until no limit of a device holds anybody back."""
    if one is None or not (one.waiting or one.drained_at):
        return 0.0
    return round((one.drained_at - total.begins) / _DAY, 2) if one.drained_at else None


def _by_device(rows: Iterable[Sends]) -> list[list[Sends]]:
    found: dict[tuple[UUID, UUID | None], list[Sends]] = defaultdict(list)
    for row in rows:
        if row.day:
            found[row.user_id, row.device_id].append(row)
    return list(found.values())


def _best(changes: Iterable[Change]) -> dict[UUID, str]:
    """By user, the change with which fewest still wait at the end, or else the shortest time."""

    def badness(one: Change) -> tuple[int, float]:
        return one.waiting, one.drained_at.timestamp() if one.drained_at else float(
            "inf"
        ) if one.waiting else 0

    best: dict[UUID, Change] = {}
    for one in changes:
        if one.user_id not in best or badness(one) < badness(best[one.user_id]):
            best[one.user_id] = one
    return {user: one.change for user, one in best.items() if one.change != AS_IT_IS}
