"""Looking ahead: what every device will have to send by day, and what would change it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from seqdev import gates
from seqdev.errors import UsageError
from seqdev.forecast import doubts
from seqdev.forecast.ask import Asking, Grid
from seqdev.forecast.facts import INACTIVE, SETTINGS
from seqdev.forecast.rows import Ahead, Change, Day, Sends, Standing, Total, WhatIf
from seqdev.forecast.world import LIMITS, Otherwise
from seqdev.postgres import lookup
from seqdev.postgres.engine import Database
from seqdev.postgres.transaction import Transaction
from seqdev.settings import Policy

AS_IT_IS = "as it is"

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
    # The days pass after the transaction: whoever waits in one for so long is ended by the server.
    return database.retry(lambda tx: _Look(tx, question), read_only=True).forecast()


@dataclass
class _Group:
    """The users of one policy, and what is ahead of them."""

    policy: Policy
    users: set[UUID]
    rows: list[Sends] = field(default_factory=list)


class _Look:
    """A forecast being made: all that it asks the database, in one transaction; then what comes of it."""

    def __init__(self, tx: Transaction, question: Question) -> None:
        self._days = question.days
        self._every = question.every
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
        self._plain = gates.steps(tx, tx.settings)
        tx.one(SETTINGS)
        enroll = self._enrolled(tx, question.enroll)
        self._otherwise = question.otherwise
        grid = Grid(question.days, question.every, enroll)
        self._asking = Asking(tx, grid, self._user, self._plain, question.otherwise)
        self._enroll = enroll
        self._doubts: dict[UUID, set[str]] = defaultdict(set)
        in_use = [tx.settings.of(name).policy for name in tx.settings.policies_in_use]
        # What would help is tried by what is known now.
        self._asking.ask([*in_use, Policy.FALLBACK] if question.changes else in_use)
        self._groups = list(self._divided(tx, in_use))
        self._inactive = tx.rows(
            INACTIVE,
            now=tx.now,
            hours=24 * question.days,
            user=self._user,
            **gates.handed_to(INACTIVE, self._plain),
        )

    def forecast(self) -> Forecast:
        """All of it."""
        for group in self._groups:
            group.rows = self._foreseen(group)
        changes = self._changes() if self._asks_changes else []
        helps = _best(changes)
        devices = [
            self._ahead(rows, group.policy, helps)
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
        place = {(one.user_id, one.device_id): number for number, one in enumerate(devices)}
        days = [
            day
            for group in self._groups
            for rows in _by_device(group.rows)
            if self._is_asked(rows[0].device_id)
            for day in self._every_day(rows)
        ]
        days.sort(key=lambda day: (place[day.user_id, day.device_id], day.day))
        standing = self._standing()
        return Forecast(days, devices, standing, changes, self._total(devices, standing))

    def _divided(self, tx: Transaction, policies: Sequence[Policy]) -> Iterator[_Group]:
        """The users of each policy who have an active sequence."""
        if len(policies) == 1:
            yield _Group(policies[0], self._asking.world.users)
            return
        for policy in policies:
            active = _ids(gates.steps(tx, tx.settings.of(policy))["active_sequences"])
            steps = self._asking.world.steps.values()
            yield _Group(policy, {step.user_id for step in steps if str(step.sequence_id) in active})

    def _foreseen(self, group: _Group) -> list[Sends]:
        rows: list[Sends] = []
        senders = self._asking.senders(group.policy)
        for user, own in self._asking.world.live(group.policy, senders, self._otherwise, group.users):
            rows += own
            self._doubts[user.id] |= doubts.of(user, self._asking, self._enroll)
        return rows

    def _enrolled(self, tx: Transaction, asked: Mapping[str, int]) -> dict[UUID, int]:
        people = Counter[UUID]()
        for text, number in asked.items():
            sequence = lookup.find(tx, lookup.Kind.SEQUENCE, text, self._user, beginning=True)
            people[sequence.id] += number
            if str(sequence.id) not in _ids(self._plain["active_sequences"]):
                raise UsageError(
                    f"nobody can be enrolled in {text!r}: the sequence is not active",
                    "see seqdev audit sequences",
                )
        return dict(people)

    def _is_asked(self, device: UUID | None) -> bool:
        return self._device in (None, device)

    def _every_day(self, rows: Sequence[Sends]) -> Iterable[Day]:
        for number, row in enumerate(rows):
            yield Day(
                device_id=row.device_id,
                device_name=row.device_name,
                user_id=row.user_id,
                day=number + 1,
                begins=self._now + number * _DAY,
                sends=row.sends,
                moved=row.moved,
                queued=row.queued,
                room=row.room,
                waiting=row.waiting,
                shut=row.shut,
                held_by=row.held_by,
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
            sends=sum(row.sends for row in rows),
            moved=sum(row.moved for row in rows),
            queued=sum(row.queued for row in rows),
            room=first.room,
            waiting=waiting,
            shut=sum(row.shut for row in rows if row.day == self._days),
            drained_at=drained_at,
            held_by=held[0][0] if held else None,
            helps=helps.get(first.user_id) if held else None,
            is_exact=not self._doubts[first.user_id],
        )

    def _drained(self, rows: Iterable[Sends]) -> tuple[int, datetime | None]:
        """Who still waits at the end, and from when on nobody does."""
        waiting = until = 0
        for row in rows:
            until = max(until, row.held_until or 0)
            waiting += row.waiting if row.day == self._days else 0
        return waiting, self._now + until * self._every if until and not waiting else None

    def _standing(self) -> list[Standing]:
        found = [
            Standing(row.reason, row.device_id, row.device_name, row.user_id, row.contacts)
            for group in self._groups
            for row in group.rows
            if row.reason is not None
        ]
        found += [
            Standing("sequence_inactive", row.device_id, row.device_name, row.user_id, row.contacts)
            for row in self._inactive
        ]
        asked = [one for one in found if self._is_asked(one.device_id)]
        return sorted(asked, key=lambda one: (-one.contacts, one.reason, str(one.device_id)))

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
            policy = group.policy
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
        self, change: str, group: _Group, users: Iterable[UUID], policy: Policy | None = None, **changed: Any
    ) -> Iterable[Change]:
        otherwise = replace(self._otherwise, **changed)
        policy = policy or group.policy
        lived = self._asking.world.live(policy, self._asking.senders(policy), otherwise, users)
        return self._told(change, [row for _, rows in lived for row in rows])

    def _told(self, change: str, rows: Iterable[Sends]) -> Iterable[Change]:
        by_user: dict[UUID, list[Sends]] = defaultdict(list)
        for row in rows:
            if row.day:
                by_user[row.user_id].append(row)
        for user, own in by_user.items():
            waiting, drained_at = self._drained(own)
            yield Change(user, change, sum(row.sends for row in own), waiting, drained_at)

    def _total(self, devices: Sequence[Ahead], standing: Sequence[Standing]) -> Total:
        waiting = sum(one.waiting for one in devices)
        drained = [one.drained_at for one in devices if one.drained_at]
        return Total(
            begins=self._now,
            ends=self._now + self._days * _DAY,
            enrolled=sum(self._enroll.values()),
            sends=sum(one.sends for one in devices),
            queued=sum(one.queued for one in devices),
            waiting=waiting,
            shut=sum(one.shut for one in devices),
            standing=sum(one.contacts for one in standing),
            drained_at=max(drained) if drained and not waiting else None,
            inexact=doubts.said(self._doubts.values(), doubts.INEXACT),
            not_foretold=doubts.said(self._doubts.values(), doubts.UNKNOWN),
        )


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


def _ids(array: str) -> set[str]:
    """The ids of an array in the server's own words: there is nothing to unescape."""
    return set(array.strip("{}").split(","))


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
