"""The page in words: the same for a screen, a pipe and a program."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from signal import SIGPIPE
from typing import ClassVar
from uuid import UUID

from seqdev.audit.nagios import DEFAULTS, Threshold
from seqdev.errors import Exit
from seqdev.output.tables import short
from seqdev.top.rows import Device
from seqdev.top.top import Snapshot

_TICKED, _BROKEN, _NONE = "|", "!", "."
_GOOD = (None, Exit.DONE, Exit.FINDINGS, 128 + SIGPIPE)
"""Exit codes of a tick whose work was done; null: it was not kept. As in sql/journal/list.sql."""


class Level(StrEnum):
    """How bad something is."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"


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
    tick_level: Level
    """How bad that age is."""
    last_end: str
    """Where the last tick ran; if it came to no good end, also how, and how long ago; empty: none ran."""
    paused: str | None
    """By whom commands that write are paused, since when and why; null: they are not."""
    backlog: int
    """Contacts due now, but for those on pause."""
    backlog_level: Level
    """How bad that number is."""
    on_pause: int
    """Contacts due now whose sequence, user or device is paused."""
    oldest_due: datetime | None
    """Since when the first of the backlog is due."""
    oldest_level: Level
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
    mismatches_minute: int
    """Messages of the last minute from another device than the one assigned, that need somebody."""
    mismatches_hour: int
    """Those of the last 60 minutes."""
    ticks: str
    """The last 60 minutes, a sign each, the latest last: | a tick, ! one that came to no good end, . none."""


@dataclass(frozen=True)
class Line:
    """A line of the head: what it is about, what there is to say, and how bad that is."""

    about: str
    words: str
    level: Level | None = None


@dataclass(frozen=True)
class DeviceLine:
    """A device on a page for people: ``12 of 50`` is a number and its limit."""

    brief: ClassVar[tuple[str, ...]] = (
        *("device", "state", "due", "oldest_due", "in_flight", "this_hour", "today", "drained_in", "status"),
    )

    device: str
    device_id: UUID
    state: str
    due: int
    oldest_due: str
    in_flight: str
    this_hour: str
    today: str
    drained_in: str
    status: str


def line(device: Device, now: datetime) -> DeviceLine:
    """``device`` as it stood ``now``."""
    drained = "stands" if device.drain is None else short(device.drain)
    return DeviceLine(
        device=device.device,
        device_id=device.device_id,
        state=device.state,
        due=device.due,
        oldest_due=short(now - device.oldest_due) if device.oldest_due else "",
        in_flight=f"{device.in_flight:,} of {device.most_in_flight:,}",
        this_hour=f"{device.sent_hour:,} of {device.most_hour:,}",
        today=f"{device.sent_day:,} of {device.most_day:,}",
        drained_in=drained if device.due + device.in_flight else "",
        status=device.status,
    )


def service(found: Snapshot) -> Service:
    """What ``found`` says, but for the devices."""
    health, last = found.health, found.last
    now = found.minutes[-1]
    return Service(
        at=found.at,
        database=last.database,
        last_tick=health.last_tick,
        tick_age=health.tick_age,
        tick_level=_level(DEFAULTS.tick, _seconds(health.tick_age)),
        last_end=_end(found),
        paused=f"by {health.paused_by} since {health.paused_at:%Y-%m-%d %H:%M %Z}: {health.paused_why}"
        if health.paused_at
        else None,
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
        mismatches_minute=found.mismatches_minute,
        mismatches_hour=found.mismatches_hour,
        ticks="".join(_TICKED if one.ticks else _BROKEN if one.broken else _NONE for one in found.minutes),
    )


def head(found: Snapshot) -> list[Line]:
    """The lines above the devices."""
    one = service(found)
    ticked = (
        f"{short(one.tick_age)} ago, " if one.tick_age is not None else "none well; " if one.last_end else ""
    )
    oldest = f", the oldest for {short(found.at - one.oldest_due)}" if one.oldest_due else ""
    pause = f"; {one.on_pause:,} on pause" if one.on_pause else ""
    waits = sorted((one.waiting or {}).items(), key=lambda item: (-item[1], item[0]))
    lines = [
        Line("last tick", f"{ticked}{one.last_end or 'never'}", one.tick_level),
        Line(
            "backlog",
            f"{one.backlog:,} due{oldest}{pause}",
            max(one.backlog_level, one.oldest_level, key=_bad),
        ),
        Line(
            "last minute",
            _rates(one.sent_minute, one.failed_minute, one.mismatches_minute),
            Level.WARNING if one.failed_minute or one.mismatches_minute else None,
        ),
        Line(
            "last hour",
            _rates(one.sent_hour, one.failed_hour, one.mismatches_hour),
            Level.WARNING if one.mismatches_hour else None,
        ),
        Line("ticks", f"{one.ticks} now"),
    ]
    if waits:
        words = ", ".join(f"{reason} {number:,}" for reason, number in waits)
        lines.append(Line("waiting", f"{words} (as of the last tick)"))
    if one.paused:
        lines.insert(0, Line("PAUSED", one.paused, Level.CRITICAL))
    return lines


def _end(found: Snapshot) -> str:
    last = found.last
    if last.ended is None:
        return ""
    if last.exit_code in _GOOD:
        return f"on {last.host}"
    how = "was paused" if last.exit_code == Exit.PAUSED else f"ended with exit code {last.exit_code}"
    return f"the last one {how} {short(found.at - last.ended)} ago on {last.host}"


def _rates(sent: int, failed: int, mismatches: int) -> str:
    return f"{sent:,} sent, {failed:,} failed, {mismatches:,} from another device than the assigned"


def _level(limits: Threshold, value: int | None) -> Level:
    return (Level.OK, Level.WARNING, Level.CRITICAL)[limits.state(value)]


def _bad(level: Level) -> int:
    return list(Level).index(level)


def _seconds(age: timedelta | None) -> int | None:
    return None if age is None else max(0, int(age.total_seconds()))
