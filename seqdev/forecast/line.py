"""People who wait on a device for the same things, in the order in which they go."""

from heapq import heappop, heappush
from typing import NamedTuple


class Who(NamedTuple):
    """What contacts have in common that goes on with them; equal ones are only counted.

    ``due``, and ``last``, the tick after which they are too late. ``not_before``: the number of what is known
    of rows that wait. ``person``: a number where it is one person with several rows; else 0. ``home``: the
    place of the device from which they were moved, from 1 on, negative where it has never written to them; 0:
    none.
    """

    due: int
    place: int
    last: int
    not_before: int
    person: int
    home: int


class Kind(NamedTuple):
    """What a line's people wait for: a window, by their zones; and whether they are new chats."""

    turn: int
    win: str | None
    zones: str
    is_new: bool


class Line:
    """Contacts of one kind on one device.

    ``held``: how many of them some limit has held back; the others wait for their window alone.
    """

    __slots__ = ("_heap", "_number", "held", "kind", "total")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.total = self.held = 0
        self._heap: list[Who] = []
        self._number: dict[Who, int] = {}

    def add(self, who: Who, contacts: int) -> None:
        """Let them join."""
        if who in self._number:
            self._number[who] += contacts
        else:
            self._number[who] = contacts
            heappush(self._heap, who)
        self.total += contacts

    def first(self) -> tuple[Who, int]:
        """Who goes next, and how many they are. The line is not empty."""
        while True:
            who = self._heap[0]
            if number := self._number[who]:
                return who, number
            del self._number[heappop(self._heap)]

    def number(self, who: Who) -> int:
        """How many of these there are."""
        return self._number.get(who, 0)

    def take(self, who: Who, contacts: int) -> None:
        """Let so many of these go."""
        self._number[who] -= contacts
        self.total -= contacts
        self.held = min(self.held, self.total)
        if not self.total:
            self._heap.clear()
            self._number.clear()

    def take_first(self, contacts: int) -> list[tuple[Who, int]]:
        """Let so many go, those first who are due the longest: who they are."""
        gone = []
        heap, number = self._heap, self._number
        left = contacts = min(contacts, self.total)
        while left:
            who = heap[0]
            there = number[who]
            if there > left:
                number[who] = there - left
                gone.append((who, left))
                break
            del number[heappop(heap)]
            if there:
                gone.append((who, there))
                left -= there
        self.total -= contacts
        self.held = min(self.held, self.total)
        return gone

    def drop_late(self, at: int) -> None:
        """Forget who would have had to go before."""
        while self.total:
            who, number = self.first()
            if who.last >= at:
                return
            self.take(who, number)

    def everybody(self) -> list[tuple[Who, int]]:
        """All of them, in no order."""
        return [(who, number) for who, number in self._number.items() if number]
