"""The timeline of a report as shapes: for each lane rectangles in a box of ``WIDTH`` by ``HEIGHT``.

The box is stretched to the page, so there is no text in it: what it says stands beside it, in numbers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from seqdev.report.evidence import Evidence
from seqdev.report.tables import Place

WIDTH = 960
HEIGHT = 40

_LEAST = 3
"""Width of a mark, and height of a bar, at least."""


@dataclass(frozen=True)
class Shape:
    """A rectangle, what it stands for, and its words."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    words: str


@dataclass(frozen=True)
class Lane:
    """A line of the timeline: its name, what it comes to, and its shapes."""

    name: str
    total: str
    shapes: Sequence[Shape]


@dataclass(frozen=True)
class Timeline:
    """The lanes, the length of a bar, and the instants below: from the beginning to the end."""

    lanes: Sequence[Lane]
    length: timedelta
    instants: Sequence[datetime]


_Words = Callable[[datetime], str]
_Series = tuple[str, Callable[[Place], int]]


def timeline(evidence: Evidence, words: _Words) -> Timeline:
    """The timeline of ``evidence``; ``words`` writes an instant."""
    draw = _Draw(evidence, words)
    open_, repaired = evidence.mismatches.open, evidence.mismatches.repaired
    ticks = sum(one.ticks for one in evidence.timeline)
    bad = sum(one.bad_ticks for one in evidence.timeline)
    failed = sum(one.messages for one in evidence.failures)
    gaps = len(evidence.gaps) + draw.left_out("gaps")
    paused = len(evidence.pauses) + draw.left_out("pauses")
    left = draw.left_out("runs")
    runs = f"{len(evidence.runs) + left:,}" + (f", the last {len(evidence.runs)} drawn" if left else "")
    lanes = [
        Lane(
            "Ticks",
            f"{ticks:,} good, {bad:,} not good, {_times(gaps, 'gap')}",
            [*draw.gaps(), *draw.bars(("good", lambda p: p.ticks), ("bad", lambda p: p.bad_ticks))],
        ),
        Lane("Paused", _times(paused, "pause") if paused else "never", list(draw.pauses())),
        Lane(
            "Mismatches",
            f"{open_:,} open, {repaired:,} repaired or settled",
            list(draw.bars(("open", lambda p: p.open), ("repaired", lambda p: p.repaired))),
        ),
        Lane("Failed messages", f"{failed:,}", list(draw.bars(("failed", lambda p: p.failed)))),
        Lane("Repairs and other runs", runs, list(draw.runs())),
    ]
    return Timeline(lanes, draw.length, [draw.begin + draw.lasts / 4 * quarter for quarter in range(5)])


class _Draw:
    """Places of instants, and shapes there."""

    def __init__(self, evidence: Evidence, words: _Words) -> None:
        self._evidence = evidence
        self._words = words
        self.begin = evidence.about.since
        self.lasts = evidence.about.until - self.begin
        places = evidence.timeline
        self.length = places[1].at - places[0].at if len(places) > 1 else self.lasts

    def left_out(self, table: str) -> int:
        """Rows that are not in a table of the evidence."""
        return sum(one.rows for one in self._evidence.left_out if one.table == table)

    def bars(self, *series: _Series) -> Iterator[Shape]:
        """A bar for each place, the ``series`` one on the other: what kind they are, and how many of it."""
        places = self._evidence.timeline
        highest = max((sum(count(place) for _, count in series) for place in places), default=0)
        for place in places:
            top = float(HEIGHT)
            for kind, count in series:
                if number := count(place):
                    height = max(_LEAST, number / highest * (HEIGHT - _LEAST * (len(series) - 1)))
                    top -= height
                    left = self._x(place.at)
                    width = self._x(place.at + self.length) - left - 1
                    words = f"{self._words(place.at)}: {number:,} {kind}"
                    yield Shape(left, top, max(width, 1), height, kind, words)

    def gaps(self) -> Iterator[Shape]:
        """The times in which ticks were missed."""
        for one in self._evidence.gaps:
            words = f"{self._words(one.missed_from)} to {self._words(one.missed_to)}: {one.missed:,} missed"
            yield self._span(one.missed_from, one.missed_to, "gap", words)

    def pauses(self) -> Iterator[Shape]:
        """The times in which the commands that write were paused."""
        for one in self._evidence.pauses:
            end = one.resumed_at or self._evidence.about.until
            words = f"{self._words(one.paused_at)} to {self._words(end) if one.resumed_at else 'now'}"
            yield self._span(one.paused_at, end, "paused", words)

    def runs(self) -> Iterator[Shape]:
        """A mark for each run that is no tick; those that have changed rows stand out."""
        for one in self._evidence.runs:
            kind = "repair" if one.changes else "run"
            end = one.started + (one.lasted or timedelta(0))
            yield self._span(one.started, end, kind, f"{self._words(one.started)}: {one.command}")

    def _span(self, begin: datetime, end: datetime, kind: str, words: str) -> Shape:
        left = min(self._x(begin), WIDTH - _LEAST)
        return Shape(left, 0, max(self._x(end) - left, _LEAST), HEIGHT, kind, words)

    def _x(self, at: datetime) -> float:
        return round(max(0.0, min(1.0, (at - self.begin) / self.lasts)) * WIDTH, 1)


def _times(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
