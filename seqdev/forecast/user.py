"""The people of one user, from tick to tick: who is sent, on which device, and who waits.

From one tick in which something happens to the next: somebody is due, a window opens, a limit leaves room.
In between is nothing, so that an hour in which a full device waits for its limit costs nothing. This is no
statement in SQL: there each step of a recursion copies everybody who waits, in each part of an hour.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush, heapreplace
from uuid import UUID

from seqdev.forecast.device import Device
from seqdev.forecast.facts import Step
from seqdev.forecast.hours import NEVER, Hours, Span
from seqdev.forecast.line import Kind, Line, Who
from seqdev.settings import Policy


@dataclass(frozen=True)
class Frame:
    """What all users have in common: time, windows, steps by place, and what is known of rows that wait.

    ``patience``: ticks after which a step is too late.
    """

    span: Span
    hours: Hours
    steps: Mapping[int, Step]
    not_before: Sequence[Mapping[int, int]]
    patience: int


@dataclass
class User:
    """A user's devices, and the rules for all of them. ``lost``: stands for people who have no device."""

    id: UUID
    policy: Policy
    devices: list[Device]
    frame: Frame
    windows: frozenset[str | None] = frozenset()
    last_moved: dict[int, int] = field(default_factory=dict)
    """When a tick has last moved anybody away from a device, by its place."""
    has_moved: bool = False
    """Whether people were sent to other devices, so that each device's share is not certain."""

    def __post_init__(self) -> None:
        """Nobody has come yet."""
        self.moves = self.policy.moves and any(one.is_open for one in self.devices)
        self._comes: list[tuple[int, int]] = []
        self._strays: Counter[int] = Counter()

    def live(self) -> None:
        """Let all days pass."""
        span = self.frame.span
        for device in self.devices:
            device.settle(-1, moves=self.moves)
            self._call(device)
        if self._strays:
            self._call_home(0)
        while self._comes:
            at = self._comes[0][0]
            if at >= span.end:
                break
            called = set()
            while self._comes and self._comes[0][0] == at:
                called.add(heappop(self._comes)[1])
            self._tick(at, [one for one in self.devices if one.place in called and one.next_at <= at])
        for device in self.devices:
            device.pass_time(span.end)

    def arrive(self, device: Device, step: Step, who: Who, contacts: int, kind: Kind) -> None:
        """Contacts will be due on the device."""
        if who.home:
            self._strays[abs(who.home)] += contacts
        at = device.arrive(step, who, contacts, zones=kind.zones, is_new=kind.is_new)
        if at < device.next_at:
            device.wake(at)
            self._call(device)

    def _call(self, device: Device) -> None:
        if device.next_at < self.frame.span.end:
            heappush(self._comes, (device.next_at, device.place))

    def _tick(self, at: int, devices: list[Device]) -> None:
        if self._strays:
            devices = list({one.place: one for one in (*devices, *self._come_home(at))}.values())
        for device in devices:
            device.pass_time(at)
            device.next_at = NEVER
        closes = self._closes(at)
        for device in devices:
            for kind, who, contacts in device.send(at, closes):
                self._follow(at, device, (kind._replace(is_new=False), who, contacts))
        touched = self._move(at, closes) if self.moves else []
        for device in {one.place: one for one in (*devices, *touched)}.values():
            device.settle(at, moves=self.moves)
            self._call(device)
        if touched:
            self._wait_for_room(at)

    def _closes(self, at: int) -> int:
        """When the first of the user's open windows closes."""
        if not any(device.sender.gap for device in self.devices):
            return NEVER
        hours = self.frame.hours
        return min(
            (
                hours.shuts(win, zones, at)
                for win, zones in hours.names
                if win in self.windows and hours.opens(win, zones, at) == at
            ),
            default=NEVER,
        )

    def _follow(self, at: int, device: Device, sent: tuple[Kind, Who, int]) -> None:
        """The next step of contacts that were sent, on the device that they are on from then."""
        kind, who, contacts = sent
        step = self.frame.steps[who.place]
        following = None if step.next_place is None else self.frame.steps[step.next_place]
        if following is None or following.reason is not None:
            return
        due = max(at + step.delay, self.frame.not_before[who.not_before].get(following.place, 0))
        if due >= self.frame.span.end:
            return
        last = due + self.frame.patience if self.frame.patience else NEVER
        person = who.person if kind.is_new else 0
        after = Who(due, following.place, last, who.not_before, person, who.home)
        self.arrive(device, following, after, contacts, kind)

    def _move(self, at: int, closes: int) -> list[Device]:
        """Send those who could not go on their own device on others of the user, the least loaded first.

        The devices that it was about; nothing, where nobody is left.
        """
        for device in self.devices:
            device.pass_time(at)
        left = [
            (line.kind.turn, *line.first(), device.place, line)
            for device in self.devices
            if device.sender.leaves is not None and device.sender.leaves <= at
            for line in device.ready(at)
        ]
        if not left:
            return []
        slots: list[tuple[int, int, int]] = []
        by_place = {device.place: device for device in self.devices}
        spare: dict[int, int] = {}
        for device in self.devices:
            if device.is_open and at >= device.from_when:
                device.room.look(at, closes)
                if (places := device.spare(at)) > 0:
                    spare[device.place] = places
                    slots.append((device.room.load() + 1, _order(device), device.place))
        heapify(slots)
        lines: list[tuple[int, Who, int, int]] = []
        waiting: dict[int, Line] = {}
        for number, (turn, who, _, place, line) in enumerate(left):
            waiting[number] = line
            heappush(lines, (turn, who, place, number))
        while slots and lines:
            turn, who, place, number = lines[0]
            line = waiting[number]
            contacts = line.number(who)
            onto: Counter[int] = Counter()
            while contacts and slots:
                load, order, target = slots[0]
                onto[target] += 1
                contacts -= 1
                spare[target] -= 1
                if spare[target]:
                    heapreplace(slots, (load + 1, order, target))
                else:
                    heappop(slots)
            self._send_on(at, by_place[place], line, who, {by_place[one]: n for one, n in onto.items()})
            heappop(lines)
            if line.total:
                heappush(lines, (turn, line.first()[0], place, number))
        return list(by_place.values())

    def _send_on(self, at: int, device: Device, line: Line, who: Who, onto: Mapping[Device, int]) -> None:
        """Send people of a device on others; under reassign they stay there, and may come home."""
        self.has_moved = True
        stays = self.policy is Policy.REASSIGN
        kind = line.kind._replace(is_new=line.kind.is_new and not stays)
        home = who.home
        if stays and device.sender.id is not None:
            self.last_moved[device.place] = at
            if not home and device.sender.home_after is not None:
                home = -device.place if line.kind.is_new else device.place
                self._call_home(max(at + 1, at + device.sender.home_after))
        for target, contacts in onto.items():
            line.take(who, contacts)
            target.count(at, contacts, new=contacts, moved=contacts)
            self._follow(at, target if stays else device, (kind, who._replace(home=home), contacts))

    def _wait_for_room(self, at: int) -> None:
        """Whoever is left goes as soon as any device has room."""
        if any(
            line.total
            for device in self.devices
            if device.sender.leaves is not None and device.sender.leaves <= at
            for line in device.ready(at)
        ):
            for device in self.devices:
                if device.is_open and at >= device.from_when:
                    room = device.room
                    device.wake(room.more(at) if room.left <= 0 else room.more_new(at))
                    self._call(device)

    def _come_home(self, at: int) -> list[Device]:
        """Bring back whom ticks have moved away from a device that is there, and has kept its people."""
        found = []
        for home in self.devices:
            after = home.sender.home_after
            if not self._strays[home.place] or after is None or not home.is_open:
                continue
            due = max(self.last_moved.get(home.place, -after) + after, home.from_when)
            if due > at:
                self._call_home(due)
                continue
            self._strays[home.place] = 0
            for device in self.devices:
                if device is home:
                    continue
                device.pass_time(at)
                for kind, who, contacts in list(device.move_out(home.place)):
                    back = kind._replace(is_new=who.home < 0)
                    step = self.frame.steps[who.place]
                    self.arrive(home, step, who._replace(home=0), contacts, back)
            found.append(home)
        return found

    def _call_home(self, at: int) -> None:
        """Somebody may come home then: no device's own tick."""
        if at < self.frame.span.end:
            heappush(self._comes, (at, 0))


def _order(device: Device) -> int:
    """Among devices with the same load the one with the lower id goes first."""
    return device.sender.id.int if device.sender.id else 1 << 128
