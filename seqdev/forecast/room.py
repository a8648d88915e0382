"""The room of a device from tick to tick: what its limits leave, and when they leave more."""

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Sequence
from heapq import heappop, heappush
from math import ceil, floor

from seqdev.forecast.facts import Sender
from seqdev.forecast.hours import NEVER, Span

_WITHOUT_END = 1 << 40


class _Sent:
    """Messages by the tick in which they count first, as long as they count: so many ticks, in all."""

    def __init__(self, long: int) -> None:
        self.long = long
        self.total = 0
        self._ticks: list[int] = []
        self._number: dict[int, int] = {}

    def add(self, tick: int, messages: int) -> None:
        if tick not in self._number:
            heappush(self._ticks, tick)
            self._number[tick] = 0
        self._number[tick] += messages
        self.total += messages

    def forget(self, at: int) -> None:
        """Leave out what counts no longer ``at`` this tick."""
        while self._ticks and self._ticks[0] + self.long <= at:
            self.total -= self._number.pop(heappop(self._ticks))

    @property
    def frees(self) -> int:
        """The tick from which on the oldest count no longer."""
        return self._ticks[0] + self.long if self._ticks else NEVER

    def each(self) -> list[int]:
        return [tick for tick, messages in self._number.items() for _ in range(messages)]


class Room:
    """What a device may still send, as gates/devices.sql, ramps.sql and spread.sql have it.

    A message that is sent in a tick counts in that and in as many after it as an hour or a day has: the
    worker sends at once.
    """

    def __init__(self, sender: Sender, span: Span, sents: Sequence[int], queueds: Sequence[int]) -> None:
        self.sender = sender
        self._span = span
        self._hour = _Sent(span.an_hour)
        self._day = _Sent(span.a_day)
        for tick, messages in Counter(sents if sender.is_limited else ()).items():
            self._count(tick, messages)
        self._planned = sorted(queueds)
        self._reached = 0
        self._flying = 0
        self._new: list[int] = []
        self._new_from: list[int] = []
        self._new_until: list[int] = []
        self.new_left = _WITHOUT_END
        self.left = _WITHOUT_END
        self._limits = (_WITHOUT_END, _WITHOUT_END, _WITHOUT_END)
        self._soon = self._places = 0
        self._days, self._last, self._used = sender.warm_days, sender.warm_last, sender.warm_used
        # Laid out; those whose time has come, in flight; and of the first how many are among the planned.
        self._laid = deque[float](self._planned[: sender.laid_out] if sender.gap else ())
        self._leaving = deque[float]()
        self._before = len(self._laid)
        self._newest = -float("inf")
        if sender.gap and sender.gap_at is not None:
            self._newest = sender.gap_at - (sender.laid_out + 1) * sender.gap
        self.at = -1

    @property
    def messages(self) -> Sequence[int]:
        """When the messages that it begins with were sent, or leave."""
        return [*self._day.each(), *self._planned]

    @property
    def chats(self) -> Sequence[int]:
        """When the chats were opened, or are, that it begins with."""
        return [*self._new, *(tick + self._span.a_day for tick in self._new_from)]

    def opened(self, firsts: Sequence[int]) -> None:
        """Take account of chats that it has opened, or will: what is queued counts a day before."""
        for tick in firsts:
            if tick <= 0:
                heappush(self._new, tick)
            else:
                self._new_from.append(tick - self._span.a_day)
                self._new_until.append(tick + self._span.a_day)
        self._new_from.sort()
        self._new_until.sort()

    def look(self, at: int, closes: int = NEVER) -> None:
        """See what there is ``at`` this tick. ``closes``: when the first open window of the user does."""
        if not self.sender.is_limited:
            return
        if at > self.at:
            self.at = at
            self._flying = 0
        self._reach(at)
        self._hour.forget(at)
        self._day.forget(at)
        soon = ahead = 0
        places = _WITHOUT_END
        if self.sender.gap:
            soon = bisect_right(self._planned, at + 2.25 * self._span.an_hour) - self._reached
            self._leave(at)
            ahead = len(self._laid) + len(self._leaving)
            places = self._places_until(at, closes)
        self._limits = (
            self.sender.most_flying - self._flying - ahead,
            self.sender.most_an_hour - self._hour.total - soon,
            min(self.sender.most_a_day, self.warmth(at)) - self._day.total - soon,
        )
        self._places = places
        self.left = max(0, min(*self._limits, places))
        self.new_left = self._new_room(at)

    def warmth(self, at: int) -> int:
        """What it may send in a day as far as it has warmed up."""
        first = self.sender.warm_first
        if first is None:
            return _WITHOUT_END
        days = 0
        if self._used is not None and self._used > at - 7 * self._span.a_day:
            assert self._last is not None
            # A day that has just begun does not count yet.
            days = self._days - (self._last > at - self._span.a_day)
        return first + (self.sender.warm_more or 0) * days

    def sent(self, at: int, contacts: int, new: int) -> None:
        """So many are queued at this tick, ``new`` of them new chats."""
        if not self.sender.is_limited:
            return
        self.left -= contacts
        flying, an_hour, a_day = self._limits
        self._limits = (flying - contacts, an_hour - contacts, a_day - contacts)
        if self.sender.gap:
            self._lay_out(at, contacts)
        else:
            self._flying += contacts
            self._count(at, contacts)
            self._warm(at)
        if self.sender.most_new is not None:
            self.new_left -= new
            for _ in range(new):
                heappush(self._new, at)

    def load(self) -> int:
        """Messages that are in flight, or laid out."""
        return self._flying + len(self._laid) + len(self._leaving)

    def held_by(self) -> str:
        """The limit that those who are left wait for, before what was sent in this tick."""
        flying, an_hour, a_day = self._limits
        if min(an_hour, flying) >= a_day:
            return "warm_up" if self.warmth(self.at) < self.sender.most_a_day else "max_per_day"
        return "max_per_hour" if flying >= an_hour or self._places < flying else "max_in_flight"

    def more(self, at: int) -> int:
        """The next tick in which there may be room, where there was none left in this one."""
        flying, an_hour, a_day = self._limits
        times = [at + 1]
        if an_hour <= 0:
            times.append(self._hour.frees)
        if a_day <= 0:
            frees = self._day.frees
            if self.sender.warm_first is not None and self._last is not None:
                warmer = self._last + self._span.a_day
                frees = min(frees, warmer if warmer > at else NEVER)
            times.append(frees)
        if self.sender.gap:
            begins = self._next_place(at) + self.sender.gap / 4 - 1.25 * self._span.an_hour
            times.append(ceil(begins))
        if flying <= 0 and self.sender.most_flying <= 0:
            times.append(NEVER)
        return max(times)

    def more_new(self, at: int) -> int:
        """The next tick in which it may open a chat, where it may open none in this one."""
        times = [self.sender.restricted] if self.sender.restricted > at else []
        if self._new:
            times.append(self._new[0] + self._span.a_day)
        place = bisect_right(self._new_until, at)
        times += self._new_until[place : place + 1]
        return max(at + 1, min(times, default=NEVER))

    def _new_room(self, at: int) -> int:
        if self.sender.restricted > at:
            return 0
        if self.sender.most_new is None:
            return _WITHOUT_END
        while self._new and self._new[0] + self._span.a_day <= at:
            heappop(self._new)
        queued = bisect_right(self._new_from, at) - bisect_right(self._new_until, at)
        return max(0, self.sender.most_new - len(self._new) - queued)

    def _count(self, at: int, contacts: int) -> None:
        self._hour.add(at, contacts)
        self._day.add(at, contacts)

    def _reach(self, at: int) -> None:
        """Count what was queued for a time that has come: in flight in that tick, sent after it."""
        while self._reached < len(self._planned) and self._planned[self._reached] <= at:
            tick = self._planned[self._reached]
            messages = bisect_right(self._planned, tick, self._reached) - self._reached
            self._reached += messages
            self._count(tick, messages)
            self._warm(tick)
            if tick == at:
                self._flying += messages

    def _warm(self, at: int) -> None:
        """Count the days in which it sends; who has been silent for a week begins anew."""
        if self._used is None or self._used <= at - 7 * self._span.a_day:
            self._days, self._last = 1, at
        elif self._last is None or self._last <= at - self._span.a_day:
            self._days += 1
            self._last = at
        self._used = at

    def _leave(self, at: int) -> None:
        while self._laid and self._laid[0] <= at:
            self._newest = self._laid.popleft()
            if self._before:
                self._before -= 1
            else:
                self._leaving.append(self._newest)
        while self._leaving and ceil(self._leaving[0]) < at:
            self._leaving.popleft()

    def _next_place(self, at: int) -> float:
        gap = self.sender.gap or 0
        return max(float(at), self._newest + gap) + len(self._laid) * gap

    def _places_until(self, at: int, closes: int) -> int:
        gap = self.sender.gap or 1
        until = min(at + 1.25 * self._span.an_hour, closes)
        return max(0, floor((until - self._next_place(at)) / gap + 0.75))

    def _lay_out(self, at: int, contacts: int) -> None:
        """Give each a place of its own; in the hour and the day it counts from now on."""
        place = self._next_place(at)
        for number in range(contacts):
            leaves = place + number * (self.sender.gap or 0)
            self._laid.append(leaves)
            self._count(ceil(leaves), 1)
            self._warm(max(at, ceil(leaves)))
        self._places -= contacts
