"""What a forecast asks the database: the gates now and at the end, the calendar, and what is sent."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, timedelta
from uuid import UUID

from seqdev import gates
from seqdev.forecast.rows import CALENDAR, SENDS, WARMED, Sends, Warmed
from seqdev.parameters import window
from seqdev.phone import national
from seqdev.postgres.transaction import Transaction
from seqdev.settings import Policy, Settings

LIMITS = {
    "max_in_flight": "in_flight_instead",
    "max_per_hour": "per_hour_instead",
    "max_per_day": "per_day_instead",
    "new_chats_per_day": "new_chats_instead",
    "warm_up": "warm_up_instead",
}
"""The limits of a device, and the parameter that stands in for each."""


@dataclass(frozen=True)
class Otherwise:
    """What is taken to be otherwise than it is.

    ``limits``: what stands in for the limits of every device, by rule, as texts. ``window``: for every
    window; empty: always open; None: they are as they are. ``doubled``: a limit that is twice as high.
    ``one_more``: whether each user has one device more.
    """

    limits: Mapping[str, str] = field(default_factory=dict)
    window: str | None = None
    doubled: str = ""
    one_more: bool = False


@dataclass(frozen=True)
class Span:
    """How far to look, the time from tick to tick, and the people enrolled now, by sequence."""

    hours: int
    every: timedelta
    enroll: Mapping[UUID, int]


@dataclass
class Group:
    """The users of one policy: their settings, the steps of their sequences, and what is ahead."""

    settings: Settings
    steps: gates.Answers
    rows: list[Sends] = field(default_factory=list)


class Asking:
    """The questions of one forecast, in its transaction."""

    def __init__(self, tx: Transaction, span: Span, user: UUID | None) -> None:
        self._tx = tx
        self._users = [user] if user else []
        self._hours = timedelta(hours=span.hours)
        settings = tx.settings
        self._grid: dict[str, object] = {"now": tx.now, "hours": span.hours, "every": span.every}
        self._given: dict[str, object] = {
            **self._grid,
            "oldest": window(settings, tx.now)["oldest"],
            "max_lateness": settings.max_lateness,
            "claim_timeout": settings.claim_timeout,
            "without_lead": settings.without_lead,
            "failed": settings.failed_statuses,
            "waiting": settings.waiting_statuses,
            "enroll_sequences": list(span.enroll),
            "enroll_people": list(span.enroll.values()),
            **national(settings.region),
        }
        self._windows: dict[str | None, gates.Answers] = {}
        self.is_rounded = False
        """Whether windows and pauses were taken to change at the next five minutes."""

    def sends(
        self, group: Group, policy: Policy, otherwise: Otherwise, users: Iterable[UUID] = ()
    ) -> list[Sends]:
        """What the users of ``group`` have ahead under ``policy``, or of these ``users`` of it."""
        asked = list(users) or self._users
        settings = group.settings
        devices = gates.devices(self._tx, settings, policy, gates.Asked(users=asked))
        at_the_end = gates.Asked(
            users=asked, counted="no", told=False, at=self._tx.now.astimezone(UTC) + self._hours
        )
        later = gates.devices(self._tx, settings, policy, at_the_end)
        windows = self._windows_of(otherwise.window)
        found = self._tx.one(
            CALENDAR, **self._grid, **gates.handed_to(CALENDAR, windows, group.steps, devices)
        )
        self.is_rounded = self.is_rounded or found.rounding != "00:00:00"
        instead = {LIMITS[name]: value for name, value in otherwise.limits.items()}
        warm_up = instead.pop(LIMITS["warm_up"], "")
        answers = (
            windows,
            group.steps,
            devices,
            asdict(found),
            asdict(self._warmed(settings, devices, warm_up)),
        )
        return self._tx.rows(
            SENDS,
            **self._given,
            **instead,
            users=asked,
            moves=policy.moves,
            reassigns=policy is Policy.REASSIGN,
            doubled=otherwise.doubled,
            one_more=otherwise.one_more,
            later_devices=later["devices"],
            later_reasons=later["device_reasons"],
            **gates.handed_to(SENDS, *answers),
        )

    @property
    def has_windows(self) -> bool:
        """Whether a window is shut at any time, as things are."""
        return "f" in self._windows_of(None)["change_opens"]

    def _windows_of(self, instead: str | None) -> gates.Answers:
        if instead not in self._windows:
            self._windows[instead] = gates.windows_within(self._tx, self._tx.settings, self._hours, instead)
        return self._windows[instead]

    def _warmed(self, settings: Settings, devices: gates.Answers, instead: str) -> Warmed:
        if not instead and not settings.rules_on("warm_up"):
            return Warmed()
        return self._tx.one(
            WARMED,
            now=self._tx.now,
            failed=settings.failed_statuses,
            warm_up_instead=instead,
            **gates.handed_to(WARMED, devices),
        )
