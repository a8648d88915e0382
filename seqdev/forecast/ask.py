"""What a forecast asks the database, once for all that it tries: facts, and devices under a policy."""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, timedelta
from functools import cached_property
from typing import cast
from uuid import UUID

from seqdev import gates, replies
from seqdev.errors import SchemaError
from seqdev.forecast import facts
from seqdev.forecast.facts import Sender, Warmed
from seqdev.forecast.hours import Hours, Span
from seqdev.forecast.world import Otherwise, World
from seqdev.parameters import window
from seqdev.phone import national
from seqdev.postgres.queries import Query, Row
from seqdev.postgres.transaction import Transaction
from seqdev.settings import Policy


@dataclass(frozen=True)
class Grid:
    """How far to look, the time from tick to tick, and the people enrolled now, by sequence."""

    days: int
    every: timedelta
    enroll: Mapping[UUID, int]

    @property
    def span(self) -> Span:
        """The same in ticks."""
        return Span(self.days, timedelta(hours=1) // self.every)


class Asking:
    """The questions of one forecast, in its transaction. ``steps``: what their gate answers for all."""

    def __init__(
        self, tx: Transaction, grid: Grid, user: UUID | None, steps: gates.Answers, otherwise: Otherwise
    ) -> None:
        self._tx = tx
        self._grid = grid
        self._users = [user] if user else []
        self._steps = steps
        self._otherwise = otherwise
        self._given: dict[str, object] = {"now": tx.now, "every": grid.every}
        self._ahead: dict[str, object] = {**self._given, "hours": 24 * grid.days}
        self._senders: dict[Policy, list[Sender]] = {}
        self.world: World
        """All that no policy changes."""
        self.has_windows = False
        """Whether a window is shut at any time."""
        self.stopping: frozenset[UUID] = frozenset()
        """The sequences that people leave when they write back."""
        self.is_unread = False
        """Whether people may have written back, and that cannot be read."""
        self.may_enter_again = False
        """Whether people may enter a sequence again that they have finished."""

    def ask(self, policies: Iterable[Policy]) -> None:
        """Everything, of devices under these policies: afterwards nothing more is asked."""
        self._senders = {policy: self._devices(policy, self._users) for policy in set(policies)}
        self.world = self._world()
        self.has_windows = "f" in self._windows["change_opens"]
        found = replies.stops(self._tx)
        self.stopping = frozenset(found.sequences) if found else frozenset()
        self.may_enter_again = self._tx.settings.rules_on("reenrol_after")

    def _world(self) -> World:
        """All that no policy changes."""
        steps = self._tx.rows(facts.STEPS, users=self._users, **self._ahead, **self._handed(facts.STEPS))
        by_place = {step.place: step for step in steps}
        people: dict[UUID, list[facts.People]] = defaultdict(list)
        for row in self._people():
            people[by_place[row.place].user_id].append(
                replace(row, dues=cast("list[int]", array("i", row.dues)))
            )
        of = {"users": self._users, "failed": self._tx.settings.failed_statuses, "replied": self._replied[1]}
        messages = self._tx.rows(facts.MESSAGES, **self._ahead, **of)
        windows = self._tx.rows(facts.WINDOWS, **self._given, **self._handed(facts.WINDOWS))
        return World(
            span=self._grid.span,
            hours=Hours(self._grid.span, windows),
            steps=by_place,
            patience=self._patience,
            people=people,
            enrolled=self._enrolled(),
            opened=self._opened(),
            sents={row.device_id: row.sents for row in messages},
            queueds={row.device_id: row.queueds for row in messages},
            last_moved={row.home_id: row.last for row in self._moved},
        )

    def senders(self, policy: Policy) -> list[Sender]:
        """The devices under ``policy``."""
        return self._senders[policy]

    @property
    def _patience(self) -> int:
        """Ticks after which a step is too late; 0: never."""
        latest = self._tx.settings.max_lateness
        return max(1, latest // self._grid.every) if latest else 0

    def _devices(self, policy: Policy, users: list[UUID]) -> list[Sender]:
        settings = self._tx.settings
        devices = gates.devices(self._tx, settings, policy, gates.Asked(users=users))
        at_the_end = gates.Asked(
            users=users,
            counted="no",
            told=False,
            at=self._tx.now.astimezone(UTC) + timedelta(days=self._grid.days),
        )
        later = gates.devices(self._tx, settings, policy, at_the_end)
        return self._tx.rows(
            facts.SENDERS,
            **self._given,
            users=users,
            later_devices=later["devices"],
            later_reasons=later["device_reasons"],
            **gates.handed_to(facts.SENDERS, devices, asdict(self._warmed(devices))),
        )

    def _warmed(self, devices: gates.Answers) -> Warmed:
        settings = self._tx.settings
        instead = self._otherwise.limits.get("warm_up", "")
        if not instead and not settings.rules_on("warm_up"):
            return Warmed()
        return self._tx.one(
            facts.WARMED,
            now=self._tx.now,
            failed=settings.failed_statuses,
            warm_up_instead=instead,
            **gates.handed_to(facts.WARMED, devices),
        )

    @cached_property
    def _windows(self) -> gates.Answers:
        within = timedelta(days=self._grid.days)
        return gates.windows_within(self._tx, self._tx.settings, within, self._otherwise.window)

    def _handed(self, query: Query[Row]) -> gates.Answers:
        return gates.handed_to(query, self._windows, self._steps)

    def _people(self) -> Iterable[facts.People]:
        settings = self._tx.settings
        return self._tx.stream(
            facts.PEOPLE,
            users=self._users,
            oldest=window(settings, self._tx.now)["oldest"],
            max_lateness=settings.max_lateness,
            claim_timeout=settings.claim_timeout,
            without_lead=settings.without_lead,
            failed=settings.failed_statuses,
            waiting=settings.waiting_statuses,
            choosy=self._choosy,
            replied=self._replied[0],
            moved_rows=[row.row_id for row in self._moved],
            moved_homes=[row.home_id for row in self._moved],
            **self._ahead,
            **national(settings.region),
            **self._handed(facts.PEOPLE),
        )

    @cached_property
    def _choosy(self) -> list[UUID]:
        """Devices that may open only so many chats, under whatever policy is looked at."""
        found = {
            one.id
            for senders in self._senders.values()
            for one in senders
            if (one.is_limited and (one.most_new is not None or one.restricted > 0))
            or "new_chats_per_day" in self._otherwise.limits
        }
        return [one for one in found if one]

    @cached_property
    def _replied(self) -> tuple[list[UUID], list[UUID]]:
        """Contacts and messages that the next tick stops, since people have written back."""
        stopping = replies.stops(self._tx)
        if not stopping:
            return [], []
        try:
            kept = replies.inbox(self._tx, self._tx.settings)
        except SchemaError:
            self.is_unread = True
            return [], []
        if kept.trouble:
            self.is_unread = True
            return [], []
        found = replies.found(self._tx, stopping, kept)
        contacts, messages = (
            [row.row_id for row in found if row.table_name == table]
            for table in ("sequence_contacts", "broadcast_messages")
        )
        return contacts, messages

    @cached_property
    def _moved(self) -> list[facts.Away]:
        settings = self._tx.settings
        if not settings.rules_on("return_home") or Policy.REASSIGN not in self._senders:
            return []
        return self._tx.rows(facts.MOVED, **self._given, waiting=settings.waiting_statuses)

    def _enrolled(self) -> list[facts.Enrolled]:
        if not self._grid.enroll:
            return []
        return self._tx.rows(
            facts.ENROLLED,
            enroll_sequences=list(self._grid.enroll),
            enroll_people=list(self._grid.enroll.values()),
            **gates.handed_to(facts.ENROLLED, self._steps),
        )

    def _opened(self) -> dict[UUID, facts.Opened]:
        if not self._choosy:
            return {}
        found = self._tx.rows(
            facts.OPENED,
            choosy=self._choosy,
            replied=self._replied[1],
            failed=self._tx.settings.failed_statuses,
            **self._ahead,
        )
        return {row.device_id: row for row in found}
