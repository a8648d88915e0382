"""A device in a forecast: who waits on it, what it sends, and when something next happens there."""

from collections import Counter
from collections.abc import Iterator
from heapq import heappop, heappush

from seqdev.forecast.facts import Sender, Step
from seqdev.forecast.hours import NEVER, Hours, Span
from seqdev.forecast.line import Kind, Line, Who
from seqdev.forecast.room import Room


class Days:
    """What came of a device, day by day."""

    def __init__(self, days: int) -> None:
        self.sends = [0] * days
        self.moved = [0] * days
        self.queued = [0] * days
        self.waiting = [0] * days
        self.shut = [0] * days
        self.warmth = [0] * days
        self.held_until: list[int | None] = [None] * days
        self.held_by: list[Counter[str]] = [Counter() for _ in range(days)]

    @property
    def are_empty(self) -> bool:
        """Whether there is nothing to tell."""
        told = (self.sends, self.queued, self.waiting, self.shut, self.held_until)
        return not any(any(days) for days in told)


class Device:
    """One that sends, or that stands for its people. ``place``: its number among its user's, from 1 on."""

    def __init__(self, place: int, sender: Sender, room: Room, span: Span, hours: Hours) -> None:
        self.place = place
        self.sender = sender
        self.room = room
        self.days = Days(span.days)
        self.next_at = NEVER
        self.lines: dict[Kind, Line] = {}
        self._span = span
        self._hours = hours
        self._arrivals: dict[int, list[tuple[Kind, Who, int]]] = {}
        self._ticks: list[int] = []
        self._day = 0
        self._held: tuple[int, str | None, int] | None = None
        self._families: dict[int, list[tuple[Kind, Who]]] = {}
        """Whom it has never written to, who have several rows on it, by their number."""
        self._known: set[int] = set()

    @property
    def is_open(self) -> bool:
        """Whether it sends at any time."""
        return self.sender.opens is not None

    @property
    def from_when(self) -> int:
        """From which tick on it sends, or else its people go elsewhere."""
        begins = self.sender.opens if self.is_open else self.sender.leaves
        return NEVER if begins is None else begins

    def arrive(self, step: Step, who: Who, contacts: int, *, zones: str, is_new: bool) -> int:
        """Contacts will be due, or when a pause of their step ends. The tick, if it comes."""
        at = max(0, who.due)
        if step.begins > at:
            a_day = self._span.a_day
            for day in range(at // a_day, min(step.begins, self._span.end) // a_day):
                self.days.shut[day] += contacts
            at = step.begins
        if at >= self._span.end:
            return NEVER
        if at not in self._arrivals:
            self._arrivals[at] = []
            heappush(self._ticks, at)
        kind = Kind(step.turn, step.win, zones if step.win else "", is_new)
        self._arrivals[at].append((kind, who, contacts))
        return at

    def absorb(self, at: int) -> None:
        """Let those join who are due by then."""
        while self._ticks and self._ticks[0] <= at:
            for kind, who, contacts in self._arrivals.pop(heappop(self._ticks)):
                self._join(kind, who, contacts)

    def ready(self, at: int) -> list[Line]:
        """The lines whose window is open, as far as the device has begun."""
        self.absorb(at)
        if at < self.from_when:
            return []
        found = []
        for line in self.lines.values():
            line.drop_late(at)
            if line.total and self._hours.opens(line.kind.win, line.kind.zones, at) == at:
                found.append(line)
        return found

    def send(self, at: int, closes: int) -> list[tuple[Kind, Who, int]]:
        """Send to its own people, as far as there is room, those first who are due the longest."""
        lines = self.ready(at)
        if not self.is_open or at < self.from_when:
            return []
        self.room.look(at, closes)
        if len(lines) == 1 and not lines[0].kind.is_new and self.room.left > 0:
            (line,) = lines
            own = line.take_first(self.room.left)
            self.count(at, sum(number for _, number in own), new=0)
            return [(line.kind, who, number) for who, number in own]
        gone = []
        while lines and self.room.left > 0:
            going = [
                line for line in lines if line.total and (not line.kind.is_new or self.room.new_left > 0)
            ]
            if not going:
                break
            line = min(going, key=lambda one: (one.kind.turn, one.first()[0])) if len(going) > 1 else going[0]
            who, number = line.first()
            number = min(number, self.room.left, self.room.new_left if line.kind.is_new else number)
            line.take(who, number)
            self.count(at, number, new=number if line.kind.is_new else 0)
            gone.append((line.kind, who, number))
            if who.person and line.kind.is_new:
                lines = self._meet(who.person, at)
        return gone

    def count(self, at: int, contacts: int, *, new: int, moved: int = 0) -> None:
        """So many messages are queued on it."""
        self.room.sent(at, contacts, new)
        day = at // self._span.a_day
        self.days.sends[day] += contacts
        self.days.moved[day] += moved

    def settle(self, at: int, *, moves: bool) -> None:
        """What is left waits, and until when nothing changes."""
        waiting = eligible = barred = 0
        until, next_at = 0, NEVER
        begun = at >= self.from_when
        for line in self.lines.values():
            if not line.total:
                continue
            opens = self._hours.opens(line.kind.win, line.kind.zones, at)
            if not begun:
                next_at = min(next_at, self.from_when)
            elif opens == at:
                line.held = line.total
                eligible += line.total
                barred += line.total if line.kind.is_new and self.room.new_left <= 0 else 0
                until = max(until, self._hours.shuts(line.kind.win, line.kind.zones, at))
            else:
                next_at = min(next_at, opens)
            waiting += line.held
        is_full = bool(eligible) and self.is_open and self.room.left <= 0
        if eligible and self.is_open:
            next_at = min(next_at, self.room.more(at) if is_full else self.room.more_new(at))
        if self._ticks and (moves or not is_full):
            next_at = min(next_at, self._ticks[0])
        self.next_at = max(next_at, at + 1)
        if waiting:
            reason = self._reason(barred == eligible) if eligible and self.is_open else None
            self._held = at, reason, until

    def spare(self, at: int) -> int:
        """How many of others it can take; whoever comes counts as a new chat."""
        if not self.is_open or at < self.from_when:
            return 0
        if self.room.left <= 0:
            return 0
        own = (
            sum(line.total for line in self.ready(at) if line.kind.is_new)
            if self.sender.most_new is not None
            else 0
        )
        return min(self.room.left, self.room.new_left - min(self.room.new_left, own))

    def pass_time(self, at: int) -> None:
        """Account for the time up to this tick, in which nothing has changed."""
        if self._held:
            begun, reason, until = self._held
            self._held = None
            self._hold(begun, min(at, self._span.end), reason, until)
        while self._day < self._span.days and (self._day + 1) * self._span.a_day <= at:
            last = (self._day + 1) * self._span.a_day - 1
            self.absorb(last)
            begun_line = last >= self.from_when
            for line in self.lines.values():
                line.drop_late(last)
                if begun_line and self._hours.opens(line.kind.win, line.kind.zones, last) == last:
                    line.held = line.total
                self.days.waiting[self._day] += line.held
                self.days.shut[self._day] += line.total - line.held
            self.days.warmth[self._day] = self.room.warmth(last)
            self._day += 1

    def wake(self, at: int) -> None:
        """Something may happen then."""
        self.next_at = min(self.next_at, at)

    def move_out(self, place: int) -> Iterator[tuple[Kind, Who, int]]:
        """All that have left the device of this place for it."""
        for line in self.lines.values():
            for who, number in line.everybody():
                if abs(who.home) == place:
                    line.take(who, number)
                    yield line.kind, who, number
        for tick, arrivals in self._arrivals.items():
            yield from (one for one in arrivals if abs(one[1].home) == place)
            self._arrivals[tick] = [one for one in arrivals if abs(one[1].home) != place]

    def _join(self, kind: Kind, who: Who, contacts: int) -> None:
        if who.person and kind.is_new:
            if who.person in self._known:
                kind = kind._replace(is_new=False)
            else:
                self._families.setdefault(who.person, []).append((kind, who))
        if kind not in self.lines:
            self.lines[kind] = Line(kind)
        self.lines[kind].add(who, contacts)

    def _meet(self, person: int, at: int) -> list[Line]:
        """A person whom it has written to is known, in every sequence."""
        self._known.add(person)
        for kind, who in self._families.pop(person, ()):
            line = self.lines[kind]
            if line.number(who):
                line.take(who, 1)
                self._join(kind, who, 1)
        return self.ready(at)

    def _reason(self, all_barred: bool) -> str:
        if all_barred and self.room.left > 0:
            return "device_restricted" if self.sender.restricted > self.room.at else "new_chats_per_day"
        return self.room.held_by()

    def _hold(self, begun: int, ends: int, reason: str | None, until: int) -> None:
        """Somebody waits from ``begun`` to ``ends``: for the ``reason`` as long as some window is open."""
        at = begun
        while at < ends:
            day = at // self._span.a_day
            rest = min(ends, (day + 1) * self._span.a_day)
            self.days.held_until[day] = rest
            if reason and at < until:
                self.days.held_by[day][reason] += min(rest, until) - at
            at = rest
