"""What a forecast starts from: the rows of its statements. Instants are ticks from now."""

from dataclasses import dataclass
from uuid import UUID

from seqdev.postgres.queries import Query


@dataclass(frozen=True)
class Step:
    """A row of ``forecast/steps.sql``."""

    place: int
    user_id: UUID
    sequence_id: UUID
    step_id: UUID | None
    reason: str | None
    begins: int
    win: str | None
    next_place: int | None
    delay: int
    turn: int


@dataclass(frozen=True)
class Window:
    """A row of ``forecast/windows.sql``."""

    win: str
    zones: str
    ticks: list[int]
    opens: list[int]


@dataclass(frozen=True)
class People:
    """A row of ``forecast/people.sql``."""

    device_id: UUID | None
    device_name: str | None
    owner_id: UUID | None
    place: int
    ruled_out: str | None
    is_claimed: bool
    is_leadless: bool
    zones: str
    is_new: bool
    person: int
    home_id: UUID | None
    patience: int | None
    not_before: str | None
    dues: list[int]


@dataclass(frozen=True)
class Enrolled:
    """A row of ``forecast/enrolled.sql``."""

    user_id: UUID
    device_id: UUID
    place: int
    contacts: int


@dataclass(frozen=True)
class Sender:
    """A row of ``forecast/devices.sql``."""

    id: UUID | None
    name: str | None
    user_id: UUID
    reason: str | None
    is_limited: bool
    most_flying: int
    most_an_hour: int
    most_a_day: int
    most_new: int | None
    flying_by: str | None
    hour_by: str | None
    day_by: str | None
    new_by: str | None
    warm_by: str | None
    warm_first: int | None
    warm_more: int | None
    warm_days: int
    warm_last: int | None
    warm_used: int | None
    restricted: int
    opens: int | None
    leaves: int | None
    home_after: int | None
    gap: float | None
    gap_at: float | None
    laid_out: int


@dataclass(frozen=True)
class Messages:
    """A row of ``forecast/messages.sql``."""

    device_id: UUID
    sents: list[int]
    queueds: list[int]


@dataclass(frozen=True)
class Opened:
    """A row of ``forecast/opened.sql``."""

    device_id: UUID
    firsts: list[int]


@dataclass(frozen=True)
class Away:
    """A row of ``forecast/moved.sql``."""

    row_id: UUID
    home_id: UUID
    last: int


@dataclass(frozen=True)
class Inactive:
    """A row of ``forecast/inactive.sql``: contacts of sequences that are not active."""

    user_id: UUID
    device_id: UUID | None
    device_name: str | None
    contacts: int


@dataclass(frozen=True)
class Warmed:
    """The row of ``forecast/warmed.sql``, as parameters of ``forecast/devices.sql``."""

    warm_devices: str = "{}"
    warm_firsts: str = "{}"
    warm_mores: str = "{}"
    warm_tops: str = "{}"
    warm_by: str = "{}"
    warm_days: str = "{}"
    warm_lasts: str = "{}"
    warm_useds: str = "{}"


@dataclass(frozen=True)
class Asked:
    """The row of ``forecast/settings.sql``."""

    settings: int


SETTINGS = Query("forecast/settings.sql", Asked)
STEPS = Query("forecast/steps.sql", Step)
WINDOWS = Query("forecast/windows.sql", Window)
PEOPLE = Query("forecast/people.sql", People)
ENROLLED = Query("forecast/enrolled.sql", Enrolled)
MOVED = Query("forecast/moved.sql", Away)
WARMED = Query("forecast/warmed.sql", Warmed)
SENDERS = Query("forecast/devices.sql", Sender)
MESSAGES = Query("forecast/messages.sql", Messages)
OPENED = Query("forecast/opened.sql", Opened)
INACTIVE = Query("forecast/inactive.sql", Inactive)
