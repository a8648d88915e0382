"""Moments in the past as people type them: how long ago, a day, a time of the day, an instant."""

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

from seqdev.errors import UsageError
from seqdev.settings import parse_duration

EXAMPLES = "90m, 2h, 1w, today, yesterday, 14:30, 'yesterday 14:30', 2026-11-26, '2026-11-26 14:30'"
"""What can be typed. An instant may end in Z, or in its offset from UTC, such as +08:00."""

_DAYS = {"today": 0, "yesterday": 1}
_CLOCK = r"(?P<clock>[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?)"
_OF_DAY = re.compile(rf"(?:(?P<day>today|yesterday)\s+)?{_CLOCK}|(?P<alone>today|yesterday)")
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ t][0-9:.]+\s*(?:z|[+-][0-9:]+)?)?")
_SECOND = timedelta(seconds=1)
_YEARS = range(1000, 9000)
_FIRST = datetime(2009, 1, 1, tzinfo=UTC)
"""Before WhatsApp: nothing tells how anything stood then, and what there is now is not about it."""


@dataclass(frozen=True)
class Moment:
    """A moment as it was typed. Exactly one of ``age``, ``clock`` and ``instant`` is set.

    ``day``: how many days ago the ``clock`` is to show that; None: the last time that it did.
    """

    text: str
    age: timedelta | None = None
    clock: time | None = None
    day: int | None = None
    instant: datetime | None = None

    def __str__(self) -> str:
        """As it was typed."""
        return self.text

    def at(self, now: datetime, zone: tzinfo | None, *, end: bool = False) -> datetime:
        """The instant in UTC; ``now`` is that of the transaction, ``zone`` the one that people see.

        None is the zone of the machine.

        Where the clock of that zone shows the moment twice, it is the first time, and as the ``end`` of a
        window the second: the window has all of it. Where the clock leaves it out, it is when it does.
        Raises UsageError for what lies before the year 1000, or after 8999: nobody's clock can show the ends.
        """
        found = None
        # Where the zone is the machine's, what lies in no year is a ValueError.
        with suppress(OverflowError, ValueError):
            found = self._at(now.astimezone(UTC), zone, end=end).astimezone(UTC)
        if found is None or found.year not in _YEARS:
            raise UsageError(f"{self.text} is further away than dates go", "give another")
        return found

    def gone_by(self, now: datetime, zone: tzinfo | None) -> datetime:
        """The same, of the past. Raises UsageError for an instant that is still to come."""
        found = self.at(now, zone)
        if found > now:
            raise UsageError(
                f"--at {self} is still to come",
                "give an instant of the past; what is to come: seqdev forecast",
            )
        if found < _FIRST:
            raise UsageError(
                f"--at {self} is before anything was sent", f"give an instant after {_FIRST:%Y-%m-%d}"
            )
        return found

    def _at(self, now: datetime, zone: tzinfo | None, *, end: bool) -> datetime:
        if self.age is not None:
            # In UTC: Python subtracts from what the wall clock shows.
            return now - self.age
        if self.instant is not None:
            return self.instant if self.instant.tzinfo else _on_the_wall(self.instant, zone, end=end)
        assert self.clock is not None
        day = now.astimezone(zone).date() - timedelta(days=self.day or 0)
        found = _on_the_wall(datetime.combine(day, self.clock), zone, end=end)
        if self.day is None and found > now:
            found = _on_the_wall(datetime.combine(day, self.clock), zone, end=False)
        if self.day is None and found > now:
            found = _on_the_wall(datetime.combine(day - timedelta(days=1), self.clock), zone, end=end)
        return found


@dataclass(frozen=True)
class Window:
    """The time that a command looks at, as it was typed: from ``since`` on, up to ``until``, not included."""

    since: Moment | None = None
    until: Moment | None = None
    zone: tzinfo | None = None
    """Whose days and times these are; None: the machine's."""

    def given(self, now: datetime, default: str | None = None) -> dict[str, object]:
        """The parameters ``since`` (interval: an age) and ``until`` (timestamptz) of statements.

        ``now``: the instant of the transaction. What was not typed is not among them: the statement has its
        own; its ``default`` length, an interval as SQL has it, is counted back from ``until``. Raises
        UsageError for a window without any time in it.
        """
        # All in UTC: Python subtracts and compares what the wall clocks of one zone show.
        now = now.astimezone(UTC)
        until = self.until.at(now, self.zone, end=True) if self.until else None
        given: dict[str, object] = {} if until is None else {"until": until}
        if not self.since:
            return given | ({"since": f"{default} {interval(now - until)}"} if until and default else {})
        since = self.since.at(now, self.zone)
        if since >= min(until or now, now):
            ends = f"--until {self.until}, {_shown(until, self.zone)}" if until and until < now else "now"
            raise UsageError(
                f"--since {self.since}, {_shown(since, self.zone)}, is not before {ends}",
                "a time without a day is the last one gone by; with its day: 'yesterday 14:30'",
            )
        return given | {"since": interval(now - since)}

    def begins(self, now: datetime, length: timedelta) -> datetime:
        """When the window begins, in UTC; where that was not typed, it has this ``length``."""
        if self.since:
            return self.since.at(now, self.zone)
        return (self.until.at(now, self.zone, end=True) if self.until else now.astimezone(UTC)) - length

    @property
    def typed(self) -> dict[str, str]:
        """What was typed, by option."""
        return {name: one.text for name, one in (("since", self.since), ("until", self.until)) if one}


EVER = Window()
"""No bounds but those that a statement has of its own."""


def moment(text: str) -> Moment:
    """``text`` as a Moment. Raises ValueError, which says what can be typed."""
    typed = " ".join(text.split()).lower()
    try:
        if found := _OF_DAY.fullmatch(typed):
            name = found["day"] or found["alone"]
            clock = time.fromisoformat(found["clock"].zfill(5)) if found["clock"] else time()
            return Moment(typed, clock=clock, day=_DAYS[name] if name else None)
        if _INSTANT.fullmatch(typed):
            return Moment(typed, instant=datetime.fromisoformat(typed.upper()))
        return Moment(typed, age=parse_duration(typed))
    except ValueError:
        raise ValueError(f"{text!r} is no moment: write {EXAMPLES}") from None


def days(since: datetime, until: datetime, zone: tzinfo | None) -> list[tuple[datetime, str]]:
    """The days from ``since`` to ``until`` by the clock of ``zone``: when each begins, and its date.

    The last of them is what comes after: ``later``.
    """
    first, last = (at.astimezone(zone).date() for at in (since, until))
    dates = [first + timedelta(days=number) for number in range((last - first).days + 2)]
    names = [*(day.isoformat() for day in dates[:-1]), "later"]
    begins = [_on_the_wall(datetime.combine(day, time()), zone, end=False) for day in dates]
    return list(zip(begins, names, strict=True))


def _shown(instant: datetime, zone: tzinfo | None) -> str:
    return f"{instant.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def interval(age: timedelta) -> str:
    """``age`` as SQL's interval: in seconds, since a day of an interval may have 23 or 25 hours."""
    return f"{age / _SECOND:f} seconds"


def _on_the_wall(shown: datetime, zone: tzinfo | None, *, end: bool) -> datetime:
    """When the clock of ``zone`` shows that: see ``Moment.at``."""
    # Without a zone of its own Python takes it for the machine's.
    first, second = (shown.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first.astimezone(zone).replace(tzinfo=None) == shown:
        return second if end else first
    # The clock jumps over it, somewhere between the two.
    low, high = sorted((first, second))
    while high - low > _SECOND:
        middle = low + (high - low) // 2
        if middle.astimezone(zone).replace(tzinfo=None) < shown:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)
