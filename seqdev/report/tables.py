"""What a report says, as rows; who was affected stands in ``affected.py``."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID


@dataclass(frozen=True)
class About:
    """What the report is about, and what made it."""

    since: datetime
    """The beginning of the time that it is about."""
    until: datetime
    """The end of that time."""
    at: datetime
    """The instant of the report: what is not counted by time is as it stood then."""
    zone: str
    """The time zone in which naive timestamps are read."""
    database: str
    """Name of the database."""
    schema: str
    """Schema of the host's tables."""
    server: str
    """Version of the PostgreSQL server."""
    seqdev: str
    """Version of seqdev."""
    python: str
    """Version of Python."""
    masked: bool
    """Whether the middle of phones is hidden."""
    tick_every: timedelta
    """How often a tick begins: the median of that time, a minute at least. By this ticks are missed."""


@dataclass(frozen=True)
class Service:
    """How far behind the service is."""

    verdict: str
    """As `seqdev audit all --nagios` judges by its usual thresholds: OK, WARNING or CRITICAL."""
    backlog: int
    """Contacts due now, but those on pause."""
    on_pause: int
    """Contacts due now who wait since their sequence, user or device is paused."""
    oldest_due: datetime | None
    """Since when the first of the backlog is due."""
    oldest_age: timedelta | None
    """The same, as an age."""
    last_tick: datetime | None
    """End of the last tick that came to a good end."""
    tick_age: timedelta | None
    """The same, as an age."""
    paused_at: datetime | None
    """Since when commands that write are paused; null: they are not."""


@dataclass(frozen=True)
class Finding:
    """How often an audit found one kind of thing."""

    audit: str
    """The audit: `seqdev audit` takes this name."""
    finding: str
    """What was found."""
    severity: str
    """critical, warning or note."""
    found: int
    """How often."""
    repair: str
    """What to do about it."""


@dataclass(frozen=True)
class Capacity:
    """A device, what waits for it and what it may still send; those in trouble first."""

    device: str
    """Its name."""
    device_id: UUID
    """The device."""
    status: str
    """As the host has it."""
    trouble: str | None
    """What is wrong with it, as `seqdev audit devices` names it; null: nothing."""
    due: int
    """Contacts due now."""
    in_flight: int
    """Messages pending, queued or processing."""
    sent_hour: int
    """Messages sent in the last 60 minutes."""
    sent_day: int
    """Messages sent in the last 24 hours."""
    room: int
    """Messages that it may still take under its limits."""
    oldest_due: datetime | None
    """Since when the first of them is due."""
    drain: timedelta | None
    """Until all of that is sent, at the pace of the last hour; null: it stands."""
    repair: str | None
    """What to do about it."""


@dataclass(frozen=True)
class Gap:
    """A time in which ticks were missed, the longest first."""

    missed_from: datetime
    """The last good tick before, or the beginning of the time looked at."""
    missed_to: datetime
    """The next good tick, or the end of that time."""
    lasted: timedelta
    """The time between them."""
    missed: int
    """Ticks that should have been there."""
    began: int
    """Ticks that began there, and did not come to a good end."""


@dataclass(frozen=True)
class Paused:
    """A time in which the commands that write were paused, the last first."""

    paused_at: datetime
    """Since when."""
    resumed_at: datetime | None
    """Until when; null: they are paused now."""
    host: str
    """Where somebody has paused them."""


@dataclass(frozen=True)
class PausedPart:
    """A sequence, device or user that is paused now."""

    scope: str
    """sequence, device or user."""
    name: str | None
    """Its name; null for a user."""
    id: UUID
    """Which."""
    since: datetime | None
    """Since when."""
    ends: str | None
    """When the pause ends by itself; null: when somebody resumes it."""


@dataclass(frozen=True)
class Ran:
    """A run that is no tick, the last first."""

    run_id: UUID
    """The run."""
    command: str
    """What was run."""
    arguments: str | None
    """The options given; … stands for a value that is not kept."""
    started: datetime
    """When it began."""
    lasted: timedelta | None
    """How long it ran, or runs; null if it was cut off."""
    state: str
    """How it ended: running, done, paused, stopped, failed, cut off."""
    exit_code: int | None
    """Of the process."""
    changes: int
    """Values of rows that it has changed, by the journal."""
    effect: str | None
    """Of its changes: in effect, partly undone, undone; null: it has none."""
    undo: str | None
    """The command that takes back what is in effect; null: nothing is."""


@dataclass(frozen=True)
class HostLine:
    """A host, and a version of seqdev that ran there, the last one first."""

    host: str | None
    """The host; null where an earlier version has not kept it."""
    version: str
    """Version of seqdev."""
    ticks: int
    """Ticks that it began."""
    others: int
    """Other runs."""
    last_at: datetime
    """When the last of these runs began."""


@dataclass(frozen=True)
class RuleLine:
    """A rule that decides."""

    name: str
    """The rule."""
    value: str
    """Its value."""
    source: str
    """rule: it is set in the database; default: it is not."""
    scope: str
    """For whom: all, user, sequence, device."""
    scope_name: str | None
    """Name of that sequence or device."""
    scope_id: UUID | None
    """Which user, sequence or device; null for all."""


@dataclass(frozen=True)
class Place:
    """A piece of the timeline."""

    at: datetime
    """When it begins; it ends where the next one begins, the last at the end of the time looked at."""
    ticks: int
    """Ticks that began in it and came to a good end."""
    bad_ticks: int
    """Ticks that began in it and did not."""
    open: int
    """Messages made in it that are mismatches, and open."""
    repaired: int
    """Messages made in it that are mismatches, and repaired or settled."""
    failed: int
    """Messages made in it that were not sent."""


@dataclass(frozen=True)
class LeftOut:
    """A table of the report that had more rows."""

    table: str
    """The table."""
    rows: int
    """Rows that are not in it."""
