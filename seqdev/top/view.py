"""The page in words: the same for a screen, a pipe and a program."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from signal import SIGPIPE

from seqdev.audit.nagios import DEFAULTS, Threshold, tick_state
from seqdev.audit.summary import Summary
from seqdev.errors import Exit
from seqdev.output.columns import Named, Verdict
from seqdev.output.tones import Tone, Toned, toned
from seqdev.output.words import Clock, ago, duration, number, rate, sparkline
from seqdev.top.rows import Device
from seqdev.top.top import Snapshot

_ONLINE, _STANDS = "online", "stands"
_TICKED, _BROKEN, _NONE = "|", "!", "."
INDENT = 13
"""Where the words of a line of the head begin."""
_TICKS, _NOW = "ticks", " now"
_MINUTES = 60
_SIGNS = (60, 30, 15)
"""How many signs a strip of these minutes may have: the most that fit."""
_GOOD = (None, Exit.DONE, Exit.FINDINGS, 128 + SIGPIPE)
"""Exit codes of a tick whose work was done; null: it was not kept. As in sql/journal/list.sql."""


Words = Sequence[str | Toned]
"""A line, in pieces of which some mean something."""


class Level(StrEnum):
    """How bad something is."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"


_LEVELS = (Level.OK, Level.WARNING, Level.CRITICAL)
"""By the state that a threshold gives."""


@dataclass(frozen=True)
class Service:
    """The service at one instant. The thresholds are those of ``seqdev audit all --nagios``."""

    at: datetime
    """The instant."""
    database: str
    """Name of the database."""
    last_tick: datetime | None
    """End of the last tick that came to a good end."""
    tick_age: timedelta | None
    """Its age."""
    tick_level: str
    """How bad that age is: ok, warning, critical."""
    last_end: str
    """Where the last tick ran; if it came to no good end, also how, and how long ago; empty: none ran."""
    paused_at: datetime | None
    """Since when commands that write are paused; null: they are not."""
    paused_by: str | None
    """By whom."""
    paused_why: str | None
    """What for."""
    backlog: int
    """Contacts due now, but for those on pause."""
    backlog_level: str
    """How bad that number is."""
    on_pause: int
    """Contacts due now whose sequence, user or device is paused."""
    oldest_due: datetime | None
    """Since when the first of the backlog is due."""
    oldest_level: str
    """How bad that is."""
    waiting: dict[str, int] | None
    """How many the last tick left waiting, by reason; null: it did not say."""
    sent_minute: int
    """Messages sent in the last minute."""
    sent_hour: int
    """Messages sent in the last 60 minutes."""
    failed_minute: int
    """Messages that failed in the last minute."""
    failed_hour: int
    """Messages that failed in the last 60 minutes."""
    mismatches_hour: int
    """Messages of the last 60 minutes from another device than the one assigned, that need somebody."""
    mismatches_per_minute: float
    """How many from another device, repaired or not, there are a minute now: in the last five."""
    mismatches: list[int]
    """How many from another device, repaired or not, in each part of the last 60 minutes: parts of the same
    length, the latest last."""
    ticks: str
    """The last 60 minutes, a sign each, the latest last: | a tick, ! one that came to no good end, . none."""


@dataclass(frozen=True)
class DeviceLine:
    """A device on a screen: ``12 of 50`` is a number and its limit."""

    device: Named
    state: Verdict
    due: int
    overdue_for: timedelta | None
    in_flight: str
    this_hour: str
    today: str
    drained_in: Verdict
    status: str


def line(device: Device, now: datetime) -> DeviceLine:
    """``device`` as it stood ``now``."""
    # Who may send but has sent nothing for an hour has no pace to reckon with.
    stands = _STANDS if device.state != _ONLINE else "unknown"
    drained = stands if device.drain is None else duration(device.drain)
    return DeviceLine(
        device=Named(device.device, device.device_id),
        state=device.state,
        due=device.due,
        overdue_for=now - device.oldest_due if device.oldest_due else None,
        in_flight=f"{number(device.in_flight)} of {number(device.most_in_flight)}",
        this_hour=f"{number(device.sent_hour)} of {number(device.most_hour)}",
        today=f"{number(device.sent_day)} of {number(device.most_day)}",
        drained_in=drained if device.due + device.in_flight else "",
        status=device.status,
    )


def service(found: Snapshot) -> Service:
    """What ``found`` says, but for the devices."""
    health, last = found.health, found.last
    wrong = found.mismatches.summary or Summary()
    now = found.minutes[-1]
    return Service(
        at=found.at,
        database=last.database,
        last_tick=health.last_tick,
        tick_age=health.tick_age,
        tick_level=_LEVELS[tick_state(health, DEFAULTS)],
        last_end=_end(found),
        paused_at=health.paused_at,
        paused_by=health.paused_by,
        paused_why=health.paused_why,
        backlog=health.backlog,
        backlog_level=_level(DEFAULTS.backlog, health.backlog),
        on_pause=health.on_pause,
        oldest_due=health.oldest_due,
        oldest_level=_level(DEFAULTS.overdue, _seconds(health.oldest_age) or 0),
        waiting=None if last.waiting is None else {str(k): int(n) for k, n in last.waiting.items() if n},
        sent_minute=now.sent,
        sent_hour=sum(one.sent for one in found.minutes),
        failed_minute=now.failed,
        failed_hour=sum(one.failed for one in found.minutes),
        mismatches_hour=found.mismatches.to_do,
        mismatches_per_minute=wrong.per_minute,
        mismatches=wrong.buckets,
        ticks="".join(_TICKED if one.ticks else _BROKEN if one.broken else _NONE for one in found.minutes),
    )


def head(found: Snapshot, clock: Clock, unicode: bool, width: int) -> list[Words]:
    """The lines above the devices: what each is about, what there is to say, and how bad that is.

    ``unicode``: the output has more than ASCII. ``width``: the characters that a strip of the hour may take.
    """
    one = service(found)
    lines: list[Words] = [
        [Toned(one.database, Tone.HEADING), f"  {clock.full(one.at)} {clock.zone_of([one.at])}"]
    ]
    if one.paused_by and one.paused_at:
        why = f"by {one.paused_by} {ago(one.paused_at, one.at)}: {one.paused_why}"
        lines.append(_about("paused", why, Level.CRITICAL))
    tick = one.last_end or "never"
    if one.tick_age is not None:
        tick = f"{duration(one.tick_age)} ago, {tick}"
    lines.append(_about("last tick", tick, one.tick_level))
    backlog = f"{number(one.backlog)} due"
    if one.oldest_due:
        backlog += f", the oldest for {duration(one.at - one.oldest_due)}"
    if one.on_pause:
        backlog += f"; {number(one.on_pause)} on pause"
    lines.append(_about("backlog", backlog, max(one.backlog_level, one.oldest_level, key=_bad)))
    wrong = ""
    if one.mismatches_hour:
        pace = f"{rate(one.mismatches_per_minute)} a minute now"
        wrong = f", {number(one.mismatches_hour)} from another device than the assigned ({pace})"
    most = max(each.failed for each in found.minutes)
    worst = f", at most {number(most)} in a minute" if most else ""
    lines += [
        _about("last minute", _sent(one.sent_minute, one.failed_minute)),
        _about(
            "last hour",
            _sent(one.sent_hour, one.failed_hour) + worst + wrong,
            Level.WARNING if wrong else None,
        ),
    ]
    signs = next(
        (each for each in _SIGNS if len(_about(_TICKS, "")[0]) + each + len(_NOW) <= width), _SIGNS[-1]
    )
    each = _MINUTES // signs
    lines.append(_about(_TICKS if each == 1 else f"{_TICKS}, {each} min", _ticks(one.ticks, each) + _NOW))
    for what, numbers in (
        ("failed", [each.failed for each in found.minutes]),
        ("mismatched", one.mismatches),
    ):
        if any(numbers):
            lines.append(_about(what, _strip(numbers, signs, unicode) + _NOW))
    if waits := sorted((one.waiting or {}).items(), key=lambda item: (-item[1], item[0])):
        words = ", ".join(f"{reason} {number(count)}" for reason, count in waits)
        lines.append(_about("waiting", f"{words} (as of the last tick)"))
    return lines


def _about(what: str, words: str, level: str | None = None) -> Words:
    """A line of the head. The word for the level stands there too: a colour is not enough."""
    begin = Toned(f"{what:<{INDENT - 1}} ", Tone.USUAL)
    verdict: Words = ["  ", toned(level)] if level else []
    return [begin, words, *verdict]


def _ticks(minutes: str, each: int) -> str:
    """The signs of the minutes, ``each`` so many in one: what went wrong, else whether there was a tick."""
    parts = [minutes[place : place + each] for place in range(0, len(minutes), each)]
    return "".join(next(sign for sign in (_BROKEN, _TICKED, _NONE) if sign in part) for part in parts)


def _strip(numbers: Sequence[int], signs: int, unicode: bool) -> str:
    """As many bars as ``signs``, below those of the ticks: of fewer numbers each is that of several."""
    each = max(1, len(numbers) // signs)
    sums = [sum(numbers[place : place + each]) for place in range(0, len(numbers), each)]
    bars = sparkline(sums, unicode).replace(" ", _NONE if unicode else " ")
    return "".join(bar * (signs // len(sums)) for bar in bars)


def _end(found: Snapshot) -> str:
    last = found.last
    if last.ended is None:
        return ""
    if last.exit_code in _GOOD:
        return f"on {last.host}"
    how = "was paused" if last.exit_code == Exit.PAUSED else f"ended with exit code {last.exit_code}"
    return f"the last one {how} {duration(found.at - last.ended)} ago on {last.host}"


def _sent(sent: int, failed: int) -> str:
    return f"{number(sent)} sent, {number(failed)} failed"


def _level(limits: Threshold, value: int | None) -> Level:
    return _LEVELS[limits.state(value)]


def _bad(level: str) -> int:
    return list(Level).index(Level(level))


def _seconds(age: timedelta | None) -> int | None:
    return None if age is None else max(0, int(age.total_seconds()))
