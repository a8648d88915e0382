"""The rows of the statements below ``sql/report/``."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from seqdev.postgres.queries import Query


@dataclass(frozen=True)
class Window:
    """The row of ``report/window.sql``."""

    since: datetime
    until: datetime
    zone: str
    database: str
    server: str
    every: timedelta


@dataclass(frozen=True)
class Counted:
    """A row of ``report/timeline.sql``."""

    place: int | None
    ticks: int
    bad: int
    messages: int


@dataclass(frozen=True)
class Pause:
    """A row of ``report/pauses.sql``."""

    paused_at: datetime
    resumed_at: datetime | None
    host: str
    total: int


@dataclass(frozen=True)
class RunningHost:
    """A row of ``report/hosts.sql``."""

    host: str | None
    version: str
    ticks: int
    others: int
    last_at: datetime
    total: int


WINDOW = Query("report/window.sql", Window)
TIMELINE = Query("report/timeline.sql", Counted)
PAUSES = Query("report/pauses.sql", Pause)
HOSTS = Query("report/hosts.sql", RunningHost)
