"""Values in words, as people read them: numbers, durations, instants and how long ago they were."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from seqdev.errors import UsageError

_UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
"""Seconds and names of a unit, and of the next smaller one that is said beside it."""
_EXACT = 600
"""Seconds from which on nobody asks for single ones."""
_NEAR = timedelta(days=300)
"""An instant farther away than that needs its year."""

_BARS = {True: "▁▂▃▄▅▆▇█", False: "_.:-=+*#"}
"""From the least to the most, by whether the output has more than ASCII."""


def number(value: float) -> str:
    """``1,239``."""
    return f"{value:,}"


def counted(value: int, one: str, many: str = "") -> str:
    """``1 row``, ``1,239 rows``; ``many``: the word for several, where it is not ``one`` with an s."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def are(value: int, many: str = "are") -> str:
    """The verb that goes with a number, by its plural: ``is`` for ``are``, ``waits`` for ``wait``."""
    return many if value != 1 else {"are": "is", "were": "was", "have": "has"}.get(many, many + "s")


def rate(value: float) -> str:
    """``0.6``, ``268``."""
    return f"{value:,.1f}".removesuffix(".0")


def share(value: float) -> str:
    """A part of one as ``12.5 %``."""
    return f"{value * 100:.1f}".removesuffix(".0") + " %"


def size(value: int) -> str:
    """Bytes as ``8 kB``, ``12 MB``, ``1.2 GB``: powers of a thousand."""
    amount, units = float(value), ["TB", "GB", "MB", "kB", "bytes"]
    while round(amount) >= 1000 and len(units) > 1:
        amount /= 1000
        units.pop()
    exact = round(amount, 1) < 10 and units[-1] in ("MB", "GB", "TB")
    return f"{f'{amount:.1f}'.removesuffix('.0') if exact else f'{amount:,.0f}'} {units[-1]}"


def duration(value: timedelta) -> str:
    """``684 ms``, ``6.2 s``, ``45 s``, ``4 min 5 s``, ``2 h 4 min``, ``3 d 4 h``."""
    sign, value = ("-", -value) if value < timedelta(0) else ("", value)
    seconds = value.total_seconds()
    if round(seconds, 3) < 1:
        return f"{sign}{round(seconds * 1000)} ms" if value else "0 s"
    if round(seconds, 1) < 10:
        return f"{sign}{seconds:.1f}".removesuffix(".0") + " s"
    whole = int(seconds)
    for size, unit, next_size, next_unit in _UNITS:
        if whole >= size:
            rest = 0 if next_size == 1 and whole >= _EXACT else whole % size // next_size
            return f"{sign}{whole // size:,} {unit}" + (f" {rest} {next_unit}" if rest else "")
    return f"{sign}{whole} s"


def ago(at: datetime, now: datetime) -> str:
    """``2 h 4 min ago``, ``in 5 min``, or ``now``: to the minute, but within the first one."""
    away = abs(now - at)
    if away < timedelta(seconds=1):
        return "now"
    whole = timedelta(seconds=int(away.total_seconds()))
    if whole >= timedelta(minutes=1):
        whole -= whole % timedelta(minutes=1)
    return f"{duration(whole)} ago" if at < now else f"in {duration(whole)}"


@dataclass(frozen=True)
class Clock:
    """In which zone instants are shown (None: the terminal's, as TZ has it), and what is now."""

    zone: tzinfo | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def at(self, instant: datetime) -> datetime:
        """``instant`` in the zone that is shown. What has no zone of its own stays as it is."""
        return instant.astimezone(self.zone) if instant.tzinfo else instant

    def full(self, instant: datetime) -> str:
        """``2026-11-24 23:44:05``."""
        return f"{self.at(instant):%Y-%m-%d %H:%M:%S}"

    def short(self, instant: datetime) -> str:
        """``Nov 24 23:44``; ``2025-11-24 23:44`` where the year is not plain."""
        shown = self.at(instant)
        far = instant.tzinfo is not None and abs(instant - self.now()) > _NEAR
        return f"{shown:%Y-%m-%d %H:%M}" if far else f"{shown:%b} {shown.day} {shown:%H:%M}"

    def shortest(self, instant: datetime) -> str:
        """``23:44`` today, else as ``short``."""
        shown = self.at(instant)
        return f"{shown:%H:%M}" if shown.date() == self.at(self.now()).date() else self.short(instant)

    def zone_of(self, instants: Iterable[datetime]) -> str:
        """What to call the zone of ``instants`` as they are shown: ``UTC``, ``UTC+5:30``.

        Where its offset changes between them it is the zone's name.
        """
        offsets = {self.at(one).utcoffset() for one in instants if one.tzinfo}
        if len(offsets) > 1:
            return getattr(self.zone, "key", None) or os.environ.get("TZ") or "local time"
        return next((_offset(one) for one in offsets if one is not None), "")

    def said(self, instant: datetime) -> str:
        """An instant in a sentence: ``2026-11-24 23:44 UTC+8``."""
        return f"{self.at(instant):%Y-%m-%d %H:%M} {self.zone_of([instant])}".rstrip()

    def with_age(self, instant: datetime) -> str:
        """An instant in a sentence, where its age matters: ``23:44 UTC+8, 2 h 4 min ago``."""
        zone = self.zone_of([instant])
        return f"{self.shortest(instant)} {zone}".rstrip() + f", {ago(instant, self.now())}"


def zone_named(name: str) -> tzinfo | None:
    """The zone ``name``; None, the terminal's, for an empty one. Raises UsageError where there is none."""
    if not name:
        return None
    if name.upper() == "UTC":
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError) as error:
        raise UsageError(
            f"there is no time zone {name!r}", "for example: --zone Asia/Kuala_Lumpur"
        ) from error


def _offset(offset: timedelta) -> str:
    minutes = int(offset.total_seconds() // 60)
    if not minutes:
        return "UTC"
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours}" + (f":{rest:02}" if rest else "")


def sparkline(values: Sequence[float], unicode: bool = True) -> str:
    """A bar a value, the highest for the greatest, a blank for none: ``▁▂  ▇█``; in ASCII ``_.  *#``."""
    bars, most = _BARS[unicode], max(values, default=0)
    if most <= 0:
        return " " * len(values)
    top = len(bars) - 1
    return "".join(bars[min(top, int(value / most * len(bars)))] if value > 0 else " " for value in values)
