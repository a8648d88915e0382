"""The time of a forecast in ticks, and when windows are open in it."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from seqdev.forecast.facts import Window

NEVER = 1 << 40
"""A tick that does not come."""


@dataclass(frozen=True)
class Span:
    """How far a forecast looks: ``days`` of 24 hours, each of so many ticks."""

    days: int
    an_hour: int

    @cached_property
    def a_day(self) -> int:
        """Ticks of a day."""
        return 24 * self.an_hour

    @cached_property
    def end(self) -> int:
        """The first tick that is too far."""
        return self.days * self.a_day


class Hours:
    """When each window is open, by its name and the zones of recipients."""

    def __init__(self, span: Span, windows: Iterable[Window]) -> None:
        self._end = span.end
        self._opens: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
        for window in windows:
            ticks: list[int] = []
            opens: list[int] = []
            for tick, is_open in zip(window.ticks, window.opens, strict=True):
                # Of two changes between two ticks the last one counts; of the others, those that are some.
                if ticks and ticks[-1] == tick:
                    opens[-1] = is_open
                elif not opens or opens[-1] != is_open:
                    ticks.append(tick)
                    opens.append(is_open)
            self._opens[window.win, window.zones] = ticks, opens

    @property
    def are_none(self) -> bool:
        """Whether there is no window at all."""
        return not self._opens

    @property
    def names(self) -> Iterable[tuple[str, str]]:
        """Each window, and in which zones of recipients."""
        return self._opens.keys()

    def opens(self, win: str | None, zones: str, at: int) -> int:
        """The first tick from ``at`` on in which it is open."""
        return self._next(win, zones, at, 1)

    def shuts(self, win: str | None, zones: str, at: int) -> int:
        """The first tick from ``at`` on in which it is shut."""
        return NEVER if win is None else self._next(win, zones, at, 0)

    def _next(self, win: str | None, zones: str, at: int, wanted: int) -> int:
        if win is None:
            return at
        ticks, opens = self._opens.get((win, zones), ((), ()))
        place = bisect_right(ticks, at) - 1
        if place >= 0 and opens[place] == wanted:
            return at
        while (place := place + 1) < len(ticks):
            if opens[place] == wanted:
                return ticks[place]
        return NEVER

    def open_ticks(self, wins: Iterable[str | None], span: Span) -> list[int]:
        """By day, the ticks in which one of these windows is open, in whatever zone."""
        wins = set(wins)
        if None in wins:
            return [span.a_day] * span.days
        pieces = []
        for (win, zones), (ticks, _) in self._opens.items():
            if win in wins and ticks:
                at = self.opens(win, zones, 0)
                while at < span.end:
                    shuts = min(self.shuts(win, zones, at), span.end)
                    pieces.append((at, shuts))
                    at = self.opens(win, zones, shuts)
        found = [0] * span.days
        until = 0
        for begins, ends in sorted(pieces):
            at = max(begins, until)
            while at < ends:
                day = at // span.a_day
                rest = min(ends, (day + 1) * span.a_day)
                found[day] += rest - at
                at = rest
            until = max(until, ends)
        return found
