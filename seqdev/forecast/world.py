"""From what the database says to the users of a policy as they begin, and to what came of them."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil
from uuid import UUID

from seqdev.forecast.device import Device
from seqdev.forecast.facts import Enrolled, Opened, People, Sender, Step
from seqdev.forecast.free import Begin, begun, counted
from seqdev.forecast.hours import Hours, Span
from seqdev.forecast.line import Kind, Who
from seqdev.forecast.room import Room
from seqdev.forecast.rows import Sends
from seqdev.forecast.user import Frame, User
from seqdev.settings import Policy

_HUGE = 1_000_000_000
"""A limit that is no limit."""

LIMITS = ("max_in_flight", "max_per_hour", "max_per_day", "new_chats_per_day", "warm_up")
"""The limits of a device."""


@dataclass(frozen=True)
class Otherwise:
    """What is taken to be otherwise than it is.

    ``limits``: what stands in for the limits of every device, by rule, as texts. ``window``: for every
    window; empty: always open; None: they are as they are. ``doubled``: a limit that is twice as high.
    ``one_more``: whether each user has one device more.
    """

    limits: Mapping[str, str] = field(default_factory=dict)
    window: str | None = None
    doubled: str = ""
    one_more: bool = False


@dataclass
class World:
    """All facts of a forecast that no policy changes.

    ``sents`` and ``queueds``: messages by device; ``last_moved``: when ticks last moved anybody away from it.
    """

    span: Span
    hours: Hours
    steps: Mapping[int, Step]
    patience: int
    people: Mapping[UUID, list[People]]
    enrolled: Iterable[Enrolled]
    opened: Mapping[UUID, Opened]
    sents: Mapping[UUID, list[int]]
    queueds: Mapping[UUID, list[int]]
    last_moved: Mapping[UUID, int]

    @cached_property
    def users(self) -> set[UUID]:
        """Those who have a sequence that is active."""
        return {step.user_id for step in self.steps.values()}

    def live(
        self, policy: Policy, senders: Iterable[Sender], otherwise: Otherwise, users: Iterable[UUID]
    ) -> Iterator[tuple[User, list[Sends]]]:
        """Let the days of these users pass under ``policy``: each, and the rows of what came of it."""
        own: dict[UUID, list[Sender]] = {user: [] for user in sorted(users)}
        for sender in senders:
            if sender.user_id in own:
                own[sender.user_id].append(_changed(sender, otherwise))
        world = self
        if otherwise.window == "":
            world = replace(self, hours=Hours(self.span, ()), steps=self._always_open)
        for user, devices in own.items():
            if otherwise.one_more and devices:
                devices.append(_one_more(devices))
            yield world._live(user, policy, devices)

    @cached_property
    def _always_open(self) -> dict[int, Step]:
        return {place: replace(step, win=None) for place, step in self.steps.items()}

    @cached_property
    def _wins(self) -> dict[UUID, frozenset[str | None]]:
        """The windows of each user's steps, as far as these are sent."""
        found: dict[UUID, set[str | None]] = {}
        for step in self.steps.values():
            if step.step_id is not None and step.reason is None:
                found.setdefault(step.user_id, set()).add(step.win)
        return {user: frozenset(wins) for user, wins in found.items()}

    @cached_property
    def _open_ticks(self) -> dict[frozenset[str | None], list[int]]:
        """By day, the ticks in which a user with these windows may send, where windows shut at any time."""
        if self.hours.are_none:
            return {}
        return {wins: self.hours.open_ticks(wins, self.span) for wins in set(self._wins.values())}

    def _live(self, user_id: UUID, policy: Policy, senders: list[Sender]) -> tuple[User, list[Sends]]:
        not_before: list[Mapping[int, int]] = [{}]
        frame = Frame(self.span, self.hours, self.steps, not_before, self.patience)
        devices = [self._device(place, sender) for place, sender in enumerate(senders, 1)]
        lost = _lost(user_id, policy)
        nowhere = Device(len(devices) + 1, lost, Room(lost, self.span, (), ()), self.span, self.hours)
        user = User(user_id, policy, [*devices, nowhere], frame, self._wins.get(user_id, frozenset()))
        by_id = {one.sender.id: one for one in devices if one.sender.id}
        for home_id, last in self.last_moved.items():
            if home_id in by_id:
                user.last_moved[by_id[home_id].place] = last
        standing: Counter[tuple[str, UUID | None, str | None]] = Counter()
        numbers = {"": 0}
        begins: list[Begin] = []
        for row in self.people.get(user_id, ()):
            device = by_id.get(row.device_id) if row.device_id else None
            reason = _reason(row, self.steps[row.place], user_id, device)
            if reason is not None and not _leaves(row, reason, device, user):
                standing[reason, row.device_id, row.device_name] += len(row.dues)
                continue
            if row.not_before and row.not_before not in numbers:
                numbers[row.not_before] = len(not_before)
                not_before.append({int(place): tick for place, tick in json.loads(row.not_before).items()})
            home = by_id.get(row.home_id) if row.home_id else None
            who = Who(0, row.place, 0, numbers[row.not_before or ""], row.person, home.place if home else 0)
            begins.append(self._begin(device or nowhere, row, who))
        for joins in self.enrolled:
            if joins.user_id == user_id and joins.device_id in by_id:
                begins += self._enrol(by_id[joins.device_id], joins)
        for begin in begun(begins, frame, user.moves):
            for due, contacts in begin.dues.items():
                who = begin.who._replace(due=due, last=begin.last(due))
                user.arrive(begin.device, begin.step, who, contacts, begin.kind)
        user.live()
        rows = [row for device in user.devices for row in self._days(user, device)]
        rows += [_standing(user_id, *key, contacts) for key, contacts in standing.items()]
        return user, rows

    def _device(self, place: int, sender: Sender) -> Device:
        sents, queueds = (of.get(sender.id, []) if sender.id else [] for of in (self.sents, self.queueds))
        room = Room(sender, self.span, sents, queueds)
        device = Device(place, sender, room, self.span, self.hours)
        if sender.id and _is_choosy(sender) and sender.id in self.opened:
            room.opened(self.opened[sender.id].firsts)
        for tick in queueds:
            if tick < self.span.end:
                device.days.queued[tick // self.span.a_day] += 1
        return device

    def _begin(self, device: Device, row: People, who: Who) -> Begin:
        step = self.steps[row.place]
        is_new = row.is_new and _is_choosy(device.sender)
        kind = Kind(step.turn, step.win, row.zones, is_new)
        dues = counted(row.dues, row.patience, self.span.end)
        return Begin(device, step, kind, who if is_new else who._replace(person=0), dues, row.patience)

    def _enrol(self, device: Device, joins: Enrolled) -> Iterator[Begin]:
        step = self.steps[joins.place]
        if joins.contacts and step.reason is None and device.is_open:
            kind = Kind(step.turn, step.win, "", _is_choosy(device.sender))
            who = Who(0, joins.place, 0, 0, 0, 0)
            yield Begin(device, step, kind, who, {0: joins.contacts}, self.patience or None)

    def _days(self, user: User, device: Device) -> Iterator[Sends]:
        days, sender = device.days, device.sender
        if days.are_empty:
            return
        open_ticks = self._open_ticks.get(user.windows)
        if open_ticks is None:
            open_ticks = [self.span.a_day if self.hours.are_none else 0] * self.span.days
        for day in range(self.span.days):
            held_by = days.held_by[day].most_common(1)
            yield Sends(
                user_id=user.id,
                device_id=sender.id,
                device_name=sender.name,
                day=day + 1,
                sends=days.sends[day],
                moved=days.moved[day],
                queued=days.queued[day],
                room=_room(sender, open_ticks[day], days.warmth[day], self.span),
                waiting=days.waiting[day],
                shut=days.shut[day],
                held_until=days.held_until[day],
                held_by=_named(held_by[0][0], sender) if held_by else None,
            )


def _reason(row: People, step: Step, user: UUID, device: Device | None) -> str | None:
    """Why they are not sent, whatever time it is."""
    if row.ruled_out or step.reason:
        return row.ruled_out or step.reason
    if row.is_claimed:
        return "claimed"
    if row.device_id is None:
        return "no_device"
    if row.owner_id is None:
        return "device_missing"
    if row.owner_id != user or device is None:
        return "device_of_other_user"
    return device.sender.reason or ("no_lead" if row.is_leadless else None)


def _leaves(row: People, reason: str, device: Device | None, user: User) -> bool:
    """Whether another device of the user takes them."""
    if row.is_leadless or not user.moves:
        return False
    if reason in ("no_device", "device_missing"):
        return True
    return device is not None and reason == device.sender.reason and device.sender.leaves is not None


def _is_choosy(sender: Sender) -> bool:
    """Whether it may open fewer chats than it takes."""
    return sender.is_limited and (sender.most_new is not None or sender.restricted > 0)


def _room(sender: Sender, ticks: int, warmth: int, span: Span) -> int | None:
    if sender.id is None and not sender.is_limited:
        return None
    if sender.opens is None:
        return 0
    if not sender.is_limited:
        return None
    an_hour = ceil(sender.most_an_hour * ticks / span.an_hour)
    return min(sender.most_flying * ticks, an_hour, sender.most_a_day, warmth)


def _named(limit: str, sender: Sender) -> str:
    """The limit, and whose rule it is."""
    if limit == "device_restricted":
        return limit
    by = {
        "max_in_flight": sender.flying_by,
        "max_per_hour": sender.hour_by,
        "max_per_day": sender.day_by if sender.warm_first is None else "max_per_day",
        "new_chats_per_day": sender.new_by,
        "warm_up": sender.warm_by,
    }
    return by[limit] or f"{limit} for all"


def _standing(user: UUID, reason: str, device: UUID | None, name: str | None, contacts: int) -> Sends:
    return Sends(user_id=user, device_id=device, device_name=name, reason=reason, contacts=contacts)


def _changed(sender: Sender, otherwise: Otherwise) -> Sender:
    """The device as it would be."""
    limits = otherwise.limits

    def limit(name: str, value: int) -> int:
        return min(int(limits.get(name, value)) * (2 if name == otherwise.doubled else 1), _HUGE)

    new = limits.get("new_chats_per_day", sender.most_new)
    an_hour = limit("max_per_hour", sender.most_an_hour)
    gap = sender.gap
    if gap and an_hour != sender.most_an_hour:
        # An hour by its messages, unless the host's delay is longer.
        gap = gap * max(1, sender.most_an_hour) / max(1, an_hour)
    twice = 2 if otherwise.doubled == "warm_up" else 1
    return replace(
        sender,
        most_flying=limit("max_in_flight", sender.most_flying),
        most_an_hour=an_hour,
        most_a_day=limit("max_per_day", sender.most_a_day),
        most_new=None if new in (None, "none") else limit("new_chats_per_day", int(new)),
        warm_first=None if sender.warm_first is None or not sender.is_limited else sender.warm_first * twice,
        warm_more=(sender.warm_more or 0) * twice,
        gap=gap,
    )


def _one_more(senders: list[Sender]) -> Sender:
    """One more, as the user's others are, but new."""
    news = [one.most_new for one in senders if one.most_new is not None]
    firsts = [one.warm_first for one in senders if one.warm_first is not None]
    gaps = [one.gap for one in senders if one.gap]
    return replace(
        senders[0],
        id=None,
        name=None,
        reason=None,
        is_limited=any(one.is_limited for one in senders),
        most_flying=max(one.most_flying for one in senders),
        most_an_hour=max(one.most_an_hour for one in senders),
        most_a_day=max(one.most_a_day for one in senders),
        most_new=max(news, default=None),
        flying_by=None,
        hour_by=None,
        day_by=None,
        new_by=None,
        warm_first=max(firsts, default=None),
        warm_more=max(one.warm_more or 0 for one in senders),
        warm_days=0,
        warm_last=None,
        warm_used=None,
        restricted=0,
        opens=0,
        leaves=0,
        gap=min(gaps, default=None),
        gap_at=0.0,
        laid_out=0,
    )


def _lost(user: UUID, policy: Policy) -> Sender:
    """What stands for people who have no device: it never sends, and others take them at once."""
    return Sender(
        id=None,
        name=None,
        user_id=user,
        reason="no_device",
        is_limited=False,
        most_flying=0,
        most_an_hour=0,
        most_a_day=0,
        most_new=None,
        flying_by=None,
        hour_by=None,
        day_by=None,
        new_by=None,
        warm_by=None,
        warm_first=None,
        warm_more=None,
        warm_days=0,
        warm_last=None,
        warm_used=None,
        restricted=0,
        opens=None,
        leaves=0 if policy.moves else None,
        home_after=None,
        gap=None,
        gap_at=None,
        laid_out=0,
    )
