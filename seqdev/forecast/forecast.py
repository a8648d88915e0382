"""Looking ahead: what every device will have to send by day, and what would change it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from seqdev import gates
from seqdev.errors import UsageError
from seqdev.forecast.rows import INACTIVE, SENDS, SETTINGS, Ahead, Change, Day, Sends, Standing, Total
from seqdev.parameters import window
from seqdev.postgres import lookup
from seqdev.postgres.engine import Database
from seqdev.postgres.transaction import Transaction
from seqdev.settings import Policy, Settings

AS_IT_IS = "as it is"
LIMITS = {
    "max_in_flight": "in_flight_instead",
    "max_per_hour": "per_hour_instead",
    "max_per_day": "per_day_instead",
}
"""The limits of a device, and the parameter that stands in for each."""

NOT_FORETOLD = (
    "window",
    "host_columns",
    "warm_up",
    "new_chats_per_day",
    "grace",
    "return_home",
    "stop_on_reply",
    "reenrol_after",
)
"""Rules that a forecast leaves out. Of a warm-up it takes today's limit for that of every day."""

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Question:
    """What is asked, as people type it.

    ``every``: the time from tick to tick. ``enroll``: people enrolled now, by sequence. ``limits``: what
    stands in for the limits of every device. ``changes``: whether to try what would help.
    """

    days: int = 14
    every: timedelta = timedelta(minutes=1)
    user: str | None = None
    device: str | None = None
    enroll: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    changes: bool = True


@dataclass(frozen=True)
class Forecast:
    """What is ahead."""

    days: Sequence[Day]
    devices: Sequence[Ahead]
    standing: Sequence[Standing]
    changes: Sequence[Change]
    total: Total


def forecast(database: Database, question: Question) -> Forecast:
    """What is ahead, read-only. Raises UsageError and NotFound for what cannot be looked at."""
    return database.retry(lambda tx: _Look(tx, question).forecast(), read_only=True)


@dataclass
class _Group:
    """The users of one policy: their settings, and what the steps' gate says of their sequences."""

    settings: Settings
    steps: gates.Answers
    rows: list[Sends] = field(default_factory=list)


class _Look:
    """A forecast being made, in one transaction."""

    def __init__(self, tx: Transaction, question: Question) -> None:
        self._tx = tx
        self._days = question.days
        self._asks_changes = question.changes
        # In UTC: days of 24 hours, whatever the wall clock does.
        self._now = tx.now.astimezone(UTC)
        user = lookup.resolve(tx, lookup.Kind.USER, question.user) if question.user is not None else None
        device = (
            lookup.find(tx, lookup.Kind.DEVICE, question.device, user, beginning=True)
            if question.device is not None
            else None
        )
        self._user = device.user_id if device else user
        self._device = device.id if device else None
        settings = tx.settings
        self._groups = [
            _Group(own, gates.steps(tx, own)) for own in map(settings.of, settings.policies_in_use)
        ]
        self._plain = gates.steps(tx, settings)
        tx.one(SETTINGS)
        enroll = self._enrolled(question.enroll)
        self._given: dict[str, object] = {
            "now": tx.now,
            "hours": 24 * question.days,
            "every": question.every,
            "oldest": window(settings, tx.now)["oldest"],
            "max_lateness": settings.max_lateness,
            "claim_timeout": settings.claim_timeout,
            "without_lead": settings.without_lead,
            "failed": settings.failed_statuses,
            "waiting": settings.waiting_statuses,
            "enroll_sequences": list(enroll),
            "enroll_people": list(enroll.values()),
        } | {LIMITS[name]: value for name, value in question.limits.items()}
        self._people = sum(enroll.values())

    def forecast(self) -> Forecast:
        for group in self._groups:
            group.rows = self._ask(group, group.settings.policy)
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

    def _ask(self, group: _Group, policy: Policy, users: Iterable[UUID] = (), **given: object) -> list[Sends]:
        """What the users of ``group`` have ahead under ``policy``, or of these ``users`` of it."""
        asked = list(users) or ([self._user] if self._user else [])
        devices = gates.devices(self._tx, group.settings, policy, gates.Asked(users=asked))
        given = {
            **self._given,
            "users": asked,
            "moves": policy.moves,
            "reassigns": policy is Policy.REASSIGN,
            **given,
        }
        return self._tx.rows(SENDS, **given, **gates.handed_to(SENDS, group.steps, devices))

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
                room=first.room,
                waiting=row.waiting or 0 if row else 0,
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
            drained_at=drained_at,
            held_by=held[0][0] if held else None,
            helps=helps.get(first.user_id) if held else None,
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
        given = {name: self._given[name] for name in ("now", "hours")}
        found += [
            Standing("sequence_inactive", row.device_id, row.device_name, row.user_id, row.contacts)
            for row in self._tx.rows(
                INACTIVE, **given, user=self._user, **gates.handed_to(INACTIVE, self._plain)
            )
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
            policy = group.settings.policy
            moving = policy if policy.moves else Policy.FALLBACK
            also = "" if policy.moves else f"policy {moving.value}, "
            if not policy.moves:
                found += self._told(f"policy {moving.value}", self._ask(group, moving, held_by))
            found += self._told(f"{also}one more device", self._ask(group, moving, held_by, one_more=True))
            for limit in LIMITS:
                users = [user for user, limits in held_by.items() if limit in limits]
                if users:
                    found += self._told(f"{limit} doubled", self._ask(group, policy, users, doubled=limit))
        return sorted(found, key=lambda one: str(one.user_id))

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
            standing=sum(one.contacts for one in standing),
            drained_at=max(drained) if drained and not waiting else None,
            not_foretold=[name for name in NOT_FORETOLD if self._tx.settings.rules_on(name)],
        )


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
